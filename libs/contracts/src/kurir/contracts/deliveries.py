"""Events on their way to endpoints, and what came of each attempt."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from kurir.contracts.records import EventFilter
from kurir.contracts.states import DeliveryOutcome

When = Annotated[datetime, Meta(tz=True)]


class Delivery(Struct, frozen=True, kw_only=True):
    """One event for one endpoint; the message in DELIVERIES stands for its attempt number `attempt` (from 1).

    `event` is the event's body byte for byte. `generation` grows with each replay. `stream_seq` is the event's
    sequence in EVENTS: where its device's events are in order. A test stands in no stream. `told_as` is what the
    endpoint's dialect calls the event, where it may tell one as several; each of these is a delivery.
    """

    id: str
    tenant: str
    device: str
    endpoint: str
    event_id: str
    event_type: str
    event: msgspec.Raw
    stream_seq: int
    attempt: int = 1
    generation: int = 0
    first_at: When
    message_id: str | None = None
    told_as: str | None = None
    is_replay: bool = False
    is_test: bool = False


class WebhookTest(Struct, frozen=True, kw_only=True):
    """Ask any dispatcher to send a sample event to an endpoint now, in whatever state it is. Answered by the attempt.

    `event` is a name of `dialects.samples`, `id` becomes the event's.
    """

    id: str
    tenant: str
    endpoint: str
    event: str


class ReplayOrder(Struct, frozen=True, kw_only=True):
    """Deliver again to one endpoint, at `per_second` deliveries: one event, what is dead, or a range of time.

    Exactly one of `event_id`, `dead` and `since` is given. `dead` is what was given up before `made_at`. A range ends
    at `until`, or `made_at`; the endpoint's own events and filter count there, `events` and `filter` narrow it down.
    One event is delivered whatever they say, unless `only_wanted`. Events behind the sequence `fanned_out` had not been
    taken by the fan-out when the order was made: they are delivered by themselves.
    """

    id: str
    tenant: str
    endpoint: str
    made_at: When
    fanned_out: int | None = None
    event_id: str | None = None
    only_wanted: bool = False
    dead: bool = False
    since: When | None = None
    until: When | None = None
    events: tuple[str, ...] = ("*",)
    filter: EventFilter = EventFilter()
    per_second: int = 50


class DeliveryAttempt(Struct, frozen=True, kw_only=True, tag_field="fact", tag="delivery.attempt"):
    """One HTTP request of a delivery, and what was decided after it. Spoken on AUDIT.

    `id` is the request's own. Attempt number `attempt` of `generation` is on record twice when it was made twice,
    because something died at a moment after which nobody could tell that it had been made.
    `status` is the HTTP status, absent when there was no answer; then `error` is a class such as `timeout`, `dns`,
    `guard`. `response` is the beginning of the answer's body. `attempt` is 0 where there was no request at all, because
    too much waited for the endpoint (`backlog_full`).
    """

    id: str
    delivery: str
    generation: int
    attempt: int
    tenant: str
    device: str
    endpoint: str
    event_id: str
    event_type: str
    message_id: str | None
    at: When
    url: str
    outcome: DeliveryOutcome
    milliseconds: float
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    address: str | None = None
    response: str = ""
    request_headers: dict[str, str] = {}
    next_at: When | None = None
    is_replay: bool = False
    is_test: bool = False


class ConfigurationChanged(Struct, frozen=True, kw_only=True, tag_field="fact", tag="configuration.changed"):
    """Somebody changed something: `what` is e.g. `device.created`, `key.rotated`, `endpoint.disabled`.

    `actor` is the id of the key that did it, or the service. `details` never holds a secret.
    """

    id: str
    tenant: str
    what: str
    at: When
    actor: str
    target: str
    device: str | None = None
    details: dict[str, str] = {}


AuditFact = DeliveryAttempt | ConfigurationChanged

_delivery_decoder = msgspec.json.Decoder(Delivery)
_test_decoder = msgspec.json.Decoder(WebhookTest)
_attempt_decoder = msgspec.json.Decoder(DeliveryAttempt)
_replay_decoder = msgspec.json.Decoder(ReplayOrder)
_audit_decoder = msgspec.json.Decoder(AuditFact)


def decode(data: bytes) -> Delivery:
    """Decode a delivery. Raises msgspec.ValidationError."""
    return _delivery_decoder.decode(data)


def decode_replay(data: bytes) -> ReplayOrder:
    """Decode the order of a replay. Raises msgspec.ValidationError."""
    return _replay_decoder.decode(data)


def decode_test(data: bytes) -> WebhookTest:
    """Decode the order of a test. Raises msgspec.ValidationError."""
    return _test_decoder.decode(data)


def decode_attempt(data: bytes | msgspec.Raw) -> DeliveryAttempt:
    """Decode an attempt. Raises msgspec.ValidationError."""
    return _attempt_decoder.decode(data)


def decode_audit(data: bytes) -> AuditFact:
    """Decode a fact of the audit stream. Raises msgspec.ValidationError."""
    fact: AuditFact = _audit_decoder.decode(data)
    return fact
