"""Sample events that somebody wants to see arrive: sent at once, by whichever dispatcher is asked, which answers how it
went.

The request is made as every other is, signed and guarded, and put on record. Nothing is stored and nothing is tried
again: a test that dies with its process is asked for again by whoever waits for it.
"""

from typing import Final

import msgspec

from kurir.contracts import deliveries, events, ids, subjects
from kurir.contracts.deliveries import Delivery, DeliveryAttempt, WebhookTest
from kurir.contracts.queries import Answer, Refused, Reply
from kurir.dialects import samples
from kurir.dialects.event_patterns import tellings
from kurir.runtime.answering import Answering
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.runtime.settlement import Retry
from kurir.webhook_dispatcher.delivery import Delivering
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.places import Places

log = get("kurir.webhook_tests")

AT_ONCE: Final = 32
AT_ONCE_OF_TENANT: Final = 4  # each lasts as long as an endpoint may take to answer
TRY_AGAIN_S: Final = 2.0

_encoder = msgspec.json.Encoder()
_TOO_MANY: Final = Refused(code="TOO_MANY_REQUESTS", retry_after_s=TRY_AGAIN_S)


class WebhookTests:
    """Answers from `start` to `stop`."""

    def __init__(self, bus: Bus, endpoints: Endpoints, delivering: Delivering, clock: Clock) -> None:
        self._endpoints = endpoints
        self._delivering = delivering
        self._clock = clock
        self._answering = Answering(
            bus,
            subjects.WEBHOOK_TEST,
            queue="webhook-dispatcher",
            answer=self._answer,
            at_once=AT_ONCE,
            too_many=_encoder.encode(_TOO_MANY),
        )
        self._places = Places(AT_ONCE, AT_ONCE_OF_TENANT)

    async def start(self) -> None:
        await self._answering.start()

    async def stop(self) -> None:
        """Finish those under way: each takes as long as an attempt at most."""
        await self._answering.stop()

    async def _answer(self, data: bytes) -> bytes:
        reply: Reply
        try:
            reply = await self._if_there_is_a_place(deliveries.decode_test(data))
        except msgspec.DecodeError as error:
            reply = Refused(code="VALIDATION_ERROR", detail=str(error))
        except KeyError as unknown:
            reply = Refused(code="NOT_SUPPORTED", detail=f"There is no sample of {unknown}.")
        except (Retry, PublishError) as error:
            log.warning("webhook_test.not_made", error=str(error))
            reply = Refused(code="SERVICE_UNAVAILABLE", retry_after_s=TRY_AGAIN_S)
        except Exception:
            log.exception("webhook_test.failed")
            reply = Refused(code="INTERNAL_ERROR")
        return _encoder.encode(reply)

    async def _if_there_is_a_place(self, asked: WebhookTest) -> Reply:
        if not self._places.take_now(asked.tenant):
            return _TOO_MANY
        try:
            attempt = await self._made(asked)
        finally:
            self._places.give_back(asked.tenant)
        return Answer(body=msgspec.Raw(_encoder.encode(attempt))) if attempt else Refused(code="WEBHOOK_NOT_FOUND")

    async def _made(self, asked: WebhookTest) -> DeliveryAttempt | None:
        """None when there is no such endpoint. Raises KeyError for an event of which there is no sample."""
        endpoint = await self._endpoints.find(asked.tenant, asked.endpoint)
        if endpoint is None:
            return None
        now = self._clock.now()
        event = samples.sample(asked.event, id=asked.id, tenant=asked.tenant, device=endpoint.device, at=now)
        type_, body = events.type_of(event), events.encode(event)
        told_as = next(iter(tellings(endpoint.payload, (type_,), type_, body)), None)
        delivery = Delivery(
            id=ids.delivery_id(event.id, endpoint.id, told_as),
            tenant=endpoint.tenant,
            device=event.device,
            endpoint=endpoint.id,
            event_id=event.id,
            event_type=type_,
            event=msgspec.Raw(body),
            stream_seq=0,
            first_at=now,
            told_as=told_as,
            is_test=True,
        )
        return await self._delivering.test(delivery, endpoint)
