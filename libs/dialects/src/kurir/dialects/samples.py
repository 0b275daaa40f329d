"""A sample of each event, for trying out a webhook. Pure.

Made of the same structs as real events, so that a sample always has the fields that a real one has. `ping` is no event
that happens: it says hello.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from kurir.contracts import subjects
from kurir.contracts.content import Address, Media, Text
from kurir.contracts.events import ENDPOINT_TYPES, EVENT_TYPES, Event
from kurir.contracts.groups import GroupMember
from kurir.dialects.shapes import ALIASES


class Ping(Event, frozen=True, kw_only=True, tag="ping"):
    """Nothing happened."""

    message: str = "Webhooks from Kurir arrive here."


PING: Final = "ping"
SAMPLE_DEVICE: Final = "dev_sample"

_ALICE = Address(jid="6281234567890@s.whatsapp.net", pn="6281234567890@s.whatsapp.net", lid="123456789012345@lid")
_GROUP = Address(jid="120363025246125486@g.us")
_FILE = Media(object="", mimetype="image/jpeg", size=52_110, sha256="", missing="media_expired")
_ENDPOINT: dict[str, Any] = {"endpoint": "wh_sample", "host": "hooks.example.com"}
_MESSAGE: dict[str, Any] = {"message_id": "sample-message", "to": "6281234567890@s.whatsapp.net"}


def _fields(at: datetime) -> dict[str, dict[str, Any]]:
    """What each type says beside what all events say."""
    received = {"message_id": "sample-message", "whatsapp_id": "3EB0C767D097B7C7C8B5", "chat": _ALICE, "sender": _ALICE}
    failing_since = at - timedelta(minutes=5)
    return {
        "connection.update": {"state": "connected", "phone": "6281234567890", "push_name": "Kurir"},
        "messages.upsert": {**received, "content": Text(text="Halo!"), "sent_at": at, "push_name": "Alice"},
        "messages.media.failed": {**received, "media": _FILE, "reason": "media_expired"},
        "send.message.queued": {**_MESSAGE, "content": Text(text="Halo!")},
        "send.message.sending": _MESSAGE,
        "send.message.status": {**_MESSAGE, "status": "delivered", "whatsapp_id": "3EB0C767D097B7C7C8B5"},
        "presence.update": {"chat": _ALICE, "sender": _ALICE, "presence": "composing"},
        "call.update": {"call_id": "sample-call", "chat": _ALICE, "sender": _ALICE, "state": "missed"},
        "groups.upsert": {
            "chat": _GROUP,
            "subject": "Sample",
            "owner": _ALICE,
            "created_at": at,
            "members": (GroupMember(address=_ALICE, role="owner"),),
        },
        "groups.update": {"chat": _GROUP, "author": _ALICE, "subject": "Another sample"},
        "group-participants.update": {"chat": _GROUP, "action": "add", "participants": (_ALICE,), "author": _ALICE},
        "contacts.update": {"contact": _ALICE, "picture": "changed"},
        "endpoint.failing": {
            **_ENDPOINT,
            "failing_since": failing_since,
            "failures": 5,
            "error": "http_5xx",
            "status": 502,
        },
        "endpoint.recovered": {**_ENDPOINT, "failing_since": failing_since},
        "endpoint.exhausted": {
            **_ENDPOINT,
            "dead": 1,
            "delivery": "sample-event:wh_sample",
            "event_id": "sample-event",
            "event_type": "messages.upsert",
            "attempts": 12,
            "error": "timeout",
        },
        "endpoint.disabled": {**_ENDPOINT, "reason": "The endpoint answered 410 Gone.", "status": 410},
    }


_NATIVE = {alias: type_ for type_, alias in ALIASES.items()}
NAMES: Final = frozenset({PING, *EVENT_TYPES, *_NATIVE})
"""What may be asked for: event types, and other names of them."""


def sample(name: str, *, id: str, tenant: str, device: str | None, at: datetime) -> Event:
    """A sample of that name, of `device` or of a made-up one. Raises KeyError for a name that is not in NAMES."""
    type_ = _NATIVE.get(name, name)
    struct: Callable[..., Event] = Ping if type_ == PING else EVENT_TYPES[type_]
    if device is None:
        device = subjects.NO_DEVICE if type_ in ENDPOINT_TYPES or type_ == PING else SAMPLE_DEVICE
    given = {} if type_ == PING else _fields(at)[type_]
    return struct(id=id, tenant=tenant, device=device, at=at, **given)
