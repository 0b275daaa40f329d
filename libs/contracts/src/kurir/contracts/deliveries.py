"""Events on their way to endpoints, and what came of each attempt."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from kurir.contracts.states import DeliveryOutcome

When = Annotated[datetime, Meta(tz=True)]


class Delivery(Struct, frozen=True, kw_only=True):
    """One event for one endpoint; the message in DELIVERIES stands for its attempt number `attempt` (from 1).

    `event` is the event's body byte for byte. `generation` grows with each replay. `stream_seq` is the event's
    sequence in EVENTS: where its device's events are in order.
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
    is_replay: bool = False


class DeliveryAttempt(Struct, frozen=True, kw_only=True, tag_field="fact", tag="delivery.attempt"):
    """One HTTP request of a delivery, and what was decided after it. Spoken on AUDIT.

    `id` is the request's own. Attempt number `attempt` of `generation` is on record twice when it was made twice,
    because something died at a moment after which nobody could tell that it had been made.
    `status` is the HTTP status, absent when there was no answer; then `error` is a class such as `timeout`, `dns`,
    `guard`. `response` is the beginning of the answer's body.
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
_audit_decoder = msgspec.json.Decoder(AuditFact)


def decode(data: bytes) -> Delivery:
    """Decode a delivery. Raises msgspec.ValidationError."""
    return _delivery_decoder.decode(data)


def decode_audit(data: bytes) -> AuditFact:
    """Decode a fact of the audit stream. Raises msgspec.ValidationError."""
    fact: AuditFact = _audit_decoder.decode(data)
    return fact
