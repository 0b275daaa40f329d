"""What callers are told about messages: made of their facts. Pure.

Nothing stores "the status of a message": it is what its facts say when they are read together.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from kurir.contracts import content, events, states
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.events import (
    AnyEvent,
    MediaFailed,
    MessageQueued,
    MessageSending,
    MessageStatusChanged,
    MessageUpserted,
)

STATUS_WORDS: dict[states.MessageStatus, str] = {
    "scheduled": "SCHEDULED",
    "queued": "QUEUED",
    "sending": "QUEUED",
    "retrying": "QUEUED",
    "sent": "SENT",
    "undelivered": "UNDELIVERED",
    "delivered": "DELIVERED",
    "read": "READ",
    "played": "READ",
    "failed": "FAILED",
    "unknown": "UNKNOWN",
    "expired": "EXPIRED",
    "canceled": "CANCELED",
}
RECEIVED = "RECEIVED"

AboutSending = MessageQueued | MessageSending | MessageStatusChanged
AboutMessage = AboutSending | MessageUpserted | MediaFailed


class MessageError(Struct, frozen=True, kw_only=True):
    """Why a message was not sent: a code, a sentence to act on, and what the engine said."""

    code: str
    message: str
    detail: str | None = None


class MessageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A message. `id` is ours, `messageId` WhatsApp's, known from SENT on. `timestamp` is when we accepted it, in
    milliseconds. `status` is SCHEDULED, QUEUED, SENT, UNDELIVERED (no receipt in the time that was
    set), DELIVERED, READ, FAILED, UNKNOWN (it may or may not have been sent), EXPIRED or CANCELED; RECEIVED for one
    that came in."""

    id: str
    message_id: str | None
    device_id: str
    to: str | None
    status: str
    timestamp: int
    direction: Literal["outbound", "inbound"]
    chat: str
    kind: str | None = None
    content: dict[str, Any] | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    updated_at: datetime
    send_at: datetime | None = None
    error: MessageError | None = None
    metadata: dict[str, Any] | None = None


class StoryFact(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that happened to a message. `kind` is the fact's type; the rest is there where the kind has it."""

    at: datetime
    kind: str
    status: str | None = None
    attempt: int | None = None
    reason: str | None = None
    message: str | None = None
    detail: str | None = None
    message_id: str | None = None
    recipient: str | None = None
    send_at: datetime | None = None
    event: str | None = None
    webhook: str | None = None
    delivery: str | None = None
    outcome: str | None = None
    http_status: int | None = None
    error: str | None = None
    milliseconds: float | None = None
    next_at: datetime | None = None
    is_replay: bool = False
    metadata: dict[str, Any] | None = None


class Story(Struct, frozen=True, kw_only=True, rename="camel"):
    """What happened to a message, in order: accepted, sending, sent, receipts, each webhook attempt."""

    id: str
    status: str
    facts: list[StoryFact]


class Page(Struct, frozen=True, kw_only=True, rename="camel"):
    """`next` is the cursor of the next page, null on the last one."""

    messages: list[MessageView]
    next: str | None


def view_of(facts: Sequence[AnyEvent]) -> MessageView | None:
    """A message as its facts tell it; None when they tell of no message."""
    received = next((fact for fact in facts if isinstance(fact, MessageUpserted)), None)
    sending = [fact for fact in facts if isinstance(fact, AboutSending)]
    if sending:
        return _outbound(sending)
    return _inbound(received) if received is not None else None


def status_of(facts: Iterable[AboutSending]) -> states.MessageStatus:
    return states.furthest(fact.status for fact in facts)


def story_of(message_id: str, facts: Sequence[AnyEvent], attempts: Sequence[DeliveryAttempt]) -> Story | None:
    """Everything about a message by time. `facts` come in the order of the stream, which decides between equals."""
    view = view_of(facts)
    if view is None:
        return None
    told = [_told(fact) for fact in facts if isinstance(fact, AboutMessage)]
    told += [_attempted(attempt) for attempt in sorted(attempts, key=lambda a: (a.at, a.generation, a.attempt))]
    return Story(id=message_id, status=view.status, facts=sorted(told, key=lambda one: one.at))


def _outbound(facts: Sequence[AboutSending]) -> MessageView:
    status = status_of(facts)
    latest = max(facts, key=lambda fact: (states.rank(fact.status), fact.at))
    queued = next((fact for fact in facts if isinstance(fact, MessageQueued)), None)
    schedules = (f for f in facts if isinstance(f, MessageQueued) and f.send_at is not None)
    scheduled = max(schedules, key=lambda fact: fact.at, default=None)  # it may have been given another time
    whatsapp_id = next((f.whatsapp_id for f in facts if isinstance(f, MessageStatusChanged) and f.whatsapp_id), None)
    first = min(facts, key=lambda fact: fact.at)
    return MessageView(
        id=first.message_id,
        message_id=whatsapp_id,
        device_id=first.device,
        to=first.to,
        status=STATUS_WORDS[status],
        timestamp=_ms(first.at),
        direction="outbound",
        chat=first.to,
        kind=content.kind_of(queued.content) if queued else None,
        content=_shown(queued.content) if queued else None,
        updated_at=max(fact.at for fact in facts),
        send_at=scheduled.send_at if scheduled else None,
        error=_error(latest) if isinstance(latest, MessageStatusChanged) else None,
        metadata=queued.metadata if queued else None,
    )


def _inbound(fact: MessageUpserted) -> MessageView:
    return MessageView(
        id=fact.message_id,
        message_id=fact.whatsapp_id,
        device_id=fact.device,
        to=_shown_address(fact.chat) if fact.from_me else None,
        status="SENT" if fact.from_me else RECEIVED,
        timestamp=_ms(fact.sent_at),
        direction="outbound" if fact.from_me else "inbound",
        chat=_shown_address(fact.chat),
        kind=content.kind_of(fact.content),
        content=_shown(fact.content),
        from_=_shown_address(fact.sender),
        updated_at=fact.at,
    )


def _told(fact: AboutMessage) -> StoryFact:
    kind = events.type_of(fact)
    match fact:
        case MediaFailed():
            sentence = states.SENTENCES[fact.reason]
            return StoryFact(at=fact.at, kind=kind, reason=fact.reason, message=sentence, detail=fact.detail)
        case MessageUpserted():
            return StoryFact(at=fact.at, kind=kind, message_id=fact.whatsapp_id)
        case MessageQueued():
            return StoryFact(at=fact.at, kind=kind, status=fact.status, send_at=fact.send_at, metadata=fact.metadata)
        case MessageSending():
            return StoryFact(at=fact.at, kind=kind, status=fact.status, attempt=fact.attempt)
        case MessageStatusChanged():
            return StoryFact(
                at=fact.at,
                kind=kind,
                status=fact.status,
                attempt=fact.attempt,
                reason=fact.reason,
                message=states.SENTENCES[fact.reason] if fact.reason else None,
                detail=fact.detail,
                message_id=fact.whatsapp_id,
                recipient=_shown_address(fact.recipient) if fact.recipient else None,
            )


def _attempted(attempt: DeliveryAttempt) -> StoryFact:
    return StoryFact(
        at=attempt.at,
        kind="delivery.attempt",
        attempt=attempt.attempt,
        detail=attempt.detail,
        event=attempt.event_type,
        webhook=attempt.endpoint,
        delivery=attempt.delivery,
        outcome=attempt.outcome,
        http_status=attempt.status,
        error=attempt.error,
        milliseconds=attempt.milliseconds,
        next_at=attempt.next_at,
        is_replay=attempt.is_replay,
    )


def _error(fact: MessageStatusChanged) -> MessageError | None:
    if fact.reason is None and fact.status not in ("failed", "unknown", "expired"):
        return None
    sentence = states.SENTENCES[fact.reason] if fact.reason else "The message was not sent."
    return MessageError(code=fact.reason or fact.status, message=sentence, detail=fact.detail)


def _shown(what: content.Content) -> dict[str, Any]:
    """The content in this API's spelling, media named by the id under which `/media` gives them."""
    shown: dict[str, Any] = _camel(msgspec.to_builtins(what))
    if isinstance(media := shown.get("media"), dict):
        media["id"] = str(media.pop("object")).rpartition("/")[2]
    return shown


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): _camel(one) for key, one in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list | tuple) else value


def _shown_address(address: content.Address) -> str:
    return address.pn or address.jid


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
