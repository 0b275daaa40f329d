"""Deliveries to an endpoint that has its share waiting: given up at once, kept in DEAD until their tenant replays them.

They are stored there, and in AUDIT, before their event is acknowledged, under ids made of the delivery: an event that
comes twice within DEAD's duplicate window is there once. One that comes again when there is room once more is delivered
besides; its replay then has the same `webhook-id`.
"""

from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from kurir.contracts import headers, ids, subjects
from kurir.contracts.deliveries import Delivery, DeliveryAttempt
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Outgoing

BACKLOG_FULL: Final = "backlog_full"

_encoder = msgspec.json.Encoder()


class Overflow(NamedTuple):
    """What is to be published of one such delivery, and what is told of it."""

    endpoint: Endpoint
    fact: DeliveryAttempt
    dead_letter: Outgoing
    record: Outgoing


def overflow(delivery: Delivery, endpoint: Endpoint, event_subject: str, at: datetime) -> Overflow:
    """The end of a delivery before its first attempt; `event_subject` is where its event is stored."""
    fact = _without_attempt(delivery, endpoint, at)
    dead_letter = Outgoing(
        subjects.dead("deliveries", delivery.tenant, delivery.endpoint),
        _encoder.encode(delivery),
        f"{delivery.id}:{delivery.generation}:dead",
        {
            headers.DEAD_REASON: f"dead: {BACKLOG_FULL} before attempt {delivery.attempt}",
            headers.DEAD_SUBJECT: event_subject,
            headers.DEAD_SEQUENCE: str(delivery.stream_seq),
        },
    )
    record = Outgoing(subjects.audit(delivery.tenant, "delivery.attempt"), _encoder.encode(fact), fact.id)
    return Overflow(endpoint, fact, dead_letter, record)


def _without_attempt(delivery: Delivery, endpoint: Endpoint, at: datetime) -> DeliveryAttempt:
    """What stands on record in place of a first attempt."""
    return DeliveryAttempt(
        id=ids.attempt_id(delivery.id, delivery.generation, 0),
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=0,
        tenant=delivery.tenant,
        device=delivery.device,
        endpoint=delivery.endpoint,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        message_id=delivery.message_id,
        at=at,
        url=endpoint.url,
        outcome="dead",
        milliseconds=0.0,
        error=BACKLOG_FULL,
    )
