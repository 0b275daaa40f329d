"""Which endpoints want an event: by type pattern (`dialects.event_patterns`) in the words of its
shape, by device, and by what it says. Pure.

`interested` needs the subject alone; `hears` needs the body too, and reads it only where that matters.
"""

from collections.abc import Iterable

import msgspec

from kurir.contracts import subjects
from kurir.contracts.content import Address
from kurir.contracts.events import ENDPOINT_TYPES
from kurir.contracts.records import Endpoint, EventFilter
from kurir.dialects.event_patterns import names_wanted

_RECEIVED = frozenset({"messages.upsert", "messages.media.failed"})
_SENT_PREFIX = "send.message."


def wants(endpoint: Endpoint, device: str, type_: str) -> bool:
    """Whether `endpoint` is to hear of this event of its tenant, unless its filter says no."""
    return (
        endpoint.active
        and endpoint.device in (None, device)
        and (not endpoint.filter.devices or device in endpoint.filter.devices or device == subjects.NO_DEVICE)
        and bool(names_wanted(endpoint.payload, endpoint.events, type_))
    )


def interested(endpoints: Iterable[Endpoint], device: str, type_: str) -> list[Endpoint]:
    """Those of one tenant's endpoints that are to hear of this event, unless their filters say no."""
    return [endpoint for endpoint in endpoints if wants(endpoint, device, type_)]


def is_in_order(endpoint: Endpoint, published_at: float) -> bool:
    """Whether an event that the stream stored then (Unix seconds) goes to `endpoint` in order, and not by a delivery.

    The moment of the change decides, by the stream's clock and not by who has heard of the change: an event goes one
    way or the other, however late it is looked at.
    """
    if endpoint.order_changed_at is None:
        return endpoint.in_order
    return (published_at >= endpoint.order_changed_at.timestamp()) == endpoint.in_order


def hears(endpoint: Endpoint, type_: str, event: bytes) -> bool:
    """Whether `endpoint`, which wants events of this type, is to hear of this one."""
    if type_ in ENDPOINT_TYPES and _is_about(endpoint, event):
        return False
    filter = endpoint.filter
    is_asked = bool(filter.chats) or any(one is not None for one in (filter.direction, filter.from_me, filter.groups))
    return not is_asked or passes(filter, type_, event)


class _Said(msgspec.Struct, frozen=True):
    """What filters look at, of any event."""

    chat: Address | None = None
    to: str | None = None
    from_me: bool = False
    endpoint: str | None = None


_said_decoder = msgspec.json.Decoder(_Said)


def passes(filter: EventFilter, type_: str, event: bytes) -> bool:
    """Whether an event of that type and body gets through; one that cannot be read does: rather too much than lost."""
    try:
        said = _said_decoder.decode(event)
    except msgspec.DecodeError:
        return True
    if filter.from_me is not None and type_ == "messages.upsert" and said.from_me != filter.from_me:
        return False
    if filter.direction is not None and filter.direction != (_direction(type_, said) or filter.direction):
        return False
    if filter.groups is not None and filter.groups != (_is_of_group(said) if _names(said) else filter.groups):
        return False
    return not filter.chats or _is_of(filter.chats, said)


def _is_about(endpoint: Endpoint, event: bytes) -> bool:
    try:
        return _said_decoder.decode(event).endpoint == endpoint.id
    except msgspec.DecodeError:
        return False


def _direction(type_: str, said: _Said) -> str | None:
    if type_ in _RECEIVED:
        return "out" if said.from_me else "in"
    return "out" if type_.startswith(_SENT_PREFIX) else None


def _is_of(chats: tuple[str, ...], said: _Said) -> bool:
    known = _names(said)
    return not known or any(name in chats for name in known)


def _is_of_group(said: _Said) -> bool:
    return any(name.endswith("@g.us") for name in _names(said))


def _names(said: _Said) -> list[str]:
    """Every name of the chat that it is about."""
    names = [said.to] if said.chat is None else [said.chat.jid, said.chat.pn, said.chat.lid]
    return [name for name in names if name]
