"""What was attempted: told to the audit stream, and read back from the history when a delivery comes twice.

Recording waits for the stream's confirmation, not for MongoDB. Reading back is a courtesy that saves a repeated
request: while MongoDB is away nothing is known of the past, and a request may be repeated.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from kurir.contracts import deliveries, subjects
from kurir.contracts.deliveries import AuditFact, Delivery, DeliveryAttempt
from kurir.runtime.broker import BrokerUnavailable, Bus
from kurir.runtime.logs import get
from kurir.runtime.mongo import Mongo, MongoError

log = get("kurir.attempts")

RECORD_WITHIN_S: Final = 12.0
"""How long a fact waits for a broker that is away. With the attempt before it this stays below ack_wait."""

RECORD_AGAIN_S: Final = 0.25
LOOK_BACK_WITHIN_S: Final = 2.0
LEFT_ALONE_S: Final = 5.0  # a MongoDB that did not answer, so that not each delivery waits for it
MAX_REPEATS: Final = 100  # of one attempt; there are two when something died at the wrong moment

_encoder = msgspec.json.Encoder()


class AuditTrail:
    """Writes facts to AUDIT."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def record(self, fact: AuditFact) -> Coroutine[Any, Any, None]:
        """Return when the stream has stored `fact`; a repeat under the same id is stored once.

        An outage is waited out for RECORD_WITHIN_S. Raises PublishError.
        """
        subject = subjects.audit(fact.tenant, fact.__struct_config__.tag)  # type: ignore[arg-type]
        return publish_through_outage(self._bus, subject, _encoder.encode(fact), msg_id=fact.id)


async def publish_through_outage(
    bus: Bus, subject: str, payload: bytes, *, msg_id: str | None = None, headers: dict[str, str] | None = None
) -> None:
    """Publish what may be published twice, again and again while the broker is away. Raises PublishError."""
    give_up_at = time.monotonic() + RECORD_WITHIN_S
    while True:
        try:
            await bus.publish(subject, payload, msg_id=msg_id, headers=headers)
        except BrokerUnavailable:
            if time.monotonic() + RECORD_AGAIN_S >= give_up_at:
                raise
            await asyncio.sleep(RECORD_AGAIN_S)
        else:
            return


class AttemptHistory:
    """Reads attempts back from MongoDB."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._ask_from = 0.0

    async def find(self, delivery: Delivery, attempt: int) -> DeliveryAttempt | None:
        """Attempt number `attempt` of this delivery, when it was made before and is known.

        Of one that was made twice the request that was delivered counts. None also when nobody can say.
        """
        if time.monotonic() < self._ask_from:
            return None
        asked = {"event_id": delivery.event_id, "delivery": delivery.id}
        asked_number = {"generation": delivery.generation, "attempt": attempt}
        try:
            async with asyncio.timeout(LOOK_BACK_WITHIN_S):
                found = await self._mongo.find(
                    "attempts", {**asked, **asked_number}, limit=MAX_REPEATS, projection=["body"]
                )
            facts = [deliveries.decode_audit(document["body"]) for document in found]
        except (MongoError, TimeoutError) as error:
            self._ask_from = time.monotonic() + LEFT_ALONE_S
            log.warning("attempts.history_unavailable", delivery=delivery.id, attempt=attempt, error=str(error))
            return None
        except msgspec.DecodeError as error:
            log.error("attempts.record_unreadable", delivery=delivery.id, attempt=attempt, error=str(error))
            return None
        made = [fact for fact in facts if isinstance(fact, DeliveryAttempt)]
        return max(made, key=lambda one: (one.outcome == "delivered", one.at), default=None)
