"""Endpoints that get their events one at a time, in the order in which the stream has them.

Each has a consumer of its own on EVENTS that hands out one event at a time, to whichever dispatcher asks; nothing is
fanned out for it. An event that fails is tried again in its place and holds up the ones behind it, but no longer than
the endpoint's `head_timeout_s`: then it goes on by the retry schedule, and they go first. That a process died is noticed
after ack_wait; its event comes again, to another.
"""

import asyncio
import contextlib
from datetime import UTC, timedelta
from typing import Final

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kurir.contracts import streams, subjects
from kurir.contracts.events import EVENT_TYPES
from kurir.contracts.records import Endpoint
from kurir.dialects.event_patterns import wants_type
from kurir.runtime.broker import Bus, ConsumerGone, Incoming, PublishError
from kurir.runtime.clock import Clock
from kurir.runtime.done_messages import DoneMessages
from kurir.runtime.logs import get
from kurir.runtime.settlement import Again, Retry, settle
from kurir.runtime.tracing import TRACEPARENT, valid_traceparent
from kurir.webhook_dispatcher.delivery import Delivering, following
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.fanout import delivery_of, head_of
from kurir.webhook_dispatcher.matching import asks_for_body, passes, wants

log = get("kurir.in_order")

AGAIN_S: Final = 1.0
LOOK_S: Final = 5.0
REMEMBERED: Final = 256  # events of one line; a server that was killed brings the newest few again
CHANGEOVER_S: Final = 10.0
"""How long after an endpoint left the order its events still come both ways: no dispatcher may miss the news longer."""


class InOrder:
    """Works all such endpoints from `start` to `stop`. Start it after `endpoints`."""

    def __init__(self, bus: Bus, endpoints: Endpoints, delivering: Delivering, clock: Clock) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._delivering = delivering
        self._clock = clock
        self._lines: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._is_stopping = asyncio.Event()

    async def start(self) -> None:
        """Take up the endpoints that are known, and from then on each that begins to want order."""
        self._endpoints.on_change(lambda _key, old, new: self._changed(old, new))
        for endpoint in self._endpoints.all():
            self._changed(None, endpoint)

    async def stop(self) -> None:
        """Finish the attempts under way and give back what waits."""
        self._is_stopping.set()
        await asyncio.gather(*self._lines.values(), return_exceptions=True)

    @property
    def lines(self) -> int:
        """Endpoints that this process works in order."""
        return len(self._lines)

    def _changed(self, old: Endpoint | None, new: Endpoint | None) -> None:
        endpoint = new or old
        if endpoint is None or self._is_stopping.is_set():
            return
        key = endpoint.tenant, endpoint.id
        # One that has left the order may still have events from before.
        if key not in self._lines and new is not None and (new.in_order or new.order_changed_at is not None):
            task = self._lines[key] = asyncio.create_task(self._work(*key), name=f"in-order {new.id}")
            task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> None:
        del self._lines[key]
        endpoint = self._endpoints.known(*key)
        if endpoint is not None and endpoint.in_order:  # it was changed back while its line ended
            self._changed(None, endpoint)

    async def _work(self, tenant: str, identifier: str) -> None:
        """One endpoint, until it is gone or has left the order and nothing from before is left."""
        done = DoneMessages(REMEMBERED)
        while not self._is_stopping.is_set():
            try:
                if await self._work_line(tenant, identifier, done):
                    return
            except (NatsError, PublishError, ConsumerGone) as error:
                log.warning("in_order.interrupted", tenant=tenant, endpoint=identifier, error=repr(error))
            except Exception:
                log.exception("in_order.failed", tenant=tenant, endpoint=identifier)
            await self._pause(AGAIN_S)

    async def _work_line(self, tenant: str, identifier: str, done: DoneMessages) -> bool:
        """True when there is nothing more to do for this endpoint."""
        name = streams.in_order_consumer(identifier)
        endpoint = self._endpoints.known(tenant, identifier)
        if endpoint is None or not await self._open_consumer(name, endpoint):
            await self._forget(name)
            return True
        filters = _filters(endpoint)
        pull = await self._bus.open_pull(streams.EVENTS.name, name, max_outstanding=1)
        try:
            while not self._is_stopping.is_set():
                batch = await pull.next_batch(LOOK_S)
                endpoint = self._endpoints.known(tenant, identifier)
                if endpoint is None:
                    break
                for message in batch:
                    if message in done:
                        message.ack()
                        continue
                    if not isinstance(await settle(self._bus, message, self._deliver), Again):
                        done.add(message)
                if self._has_changed_over(endpoint, batch):
                    break
                if _filters(endpoint) != filters:
                    return False
            else:
                return True
        finally:
            await self._bus.close_pull(pull)
        await self._forget(name)
        return True

    def _has_changed_over(self, endpoint: Endpoint, batch: list[Incoming]) -> bool:
        if endpoint.in_order or endpoint.order_changed_at is None:
            return False
        over_at = endpoint.order_changed_at + timedelta(seconds=CHANGEOVER_S)
        if batch:
            return batch[-1].published_at >= over_at.timestamp()
        return self._clock.now() >= over_at

    async def _open_consumer(self, name: str, endpoint: Endpoint) -> bool:
        """Make the consumer, or tell it what is wanted now; False when there is none and none is needed."""
        try:
            config = (await self._bus.js.consumer_info(streams.EVENTS.name, name)).config
        except NotFoundError:
            if not endpoint.in_order:
                return False
            config = ConsumerConfig(
                durable_name=name,
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=(endpoint.order_changed_at or endpoint.created_at).astimezone(UTC),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=streams.DELIVERY_ACK_WAIT_S,
                max_ack_pending=1,
                inactive_threshold=streams.EVENTS.max_age_s,  # its endpoint was deleted while nobody was there
            )
        config.filter_subjects = _filters(endpoint)
        await self._bus.js.add_consumer(streams.EVENTS.name, config)
        return True

    async def _forget(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):
            await self._bus.js.delete_consumer(streams.EVENTS.name, name)

    # --- one event ------------------------------------------------------------------------------------------

    async def _deliver(self, message: Incoming) -> None:
        """Attempt until it is delivered, given up, or has held up the others for too long."""
        subject = subjects.parse_event(message.subject)
        identifier = message.consumer.removeprefix(streams.in_order_consumer(""))
        endpoint = self._endpoints.known(subject.tenant, identifier)
        if endpoint is None or not wants(endpoint, subject.device, subject.type):
            return
        if asks_for_body(endpoint.filter) and not passes(endpoint.filter, subject.type, message.data):
            return
        delivery = delivery_of(message, head_of(message, subject), endpoint)
        if message.delivered > 1:
            delivery, ended = await self._delivering.resumed(delivery)
            if ended is not None:
                await self._delivering.follow_up(message, delivery, endpoint, ended, None)
                return
        traceparent = valid_traceparent(message.header(TRACEPARENT))
        give_way_at = self._clock.now() + timedelta(seconds=endpoint.head_timeout_s)
        reporting = asyncio.create_task(_report_progress(message))
        try:
            while True:
                attempt = await self._delivering.attempt(delivery, endpoint, traceparent, give_way_at)
                if attempt.outcome != "retry" or attempt.next_at is None or attempt.next_at > give_way_at:
                    break
                await self._pause((attempt.next_at - self._clock.now()).total_seconds())
                if self._is_stopping.is_set():
                    raise Retry(0.0, "the dispatcher ends")
                delivery = following(delivery)
                endpoint = self._endpoints.known(subject.tenant, identifier)
        finally:
            reporting.cancel()
        await self._delivering.follow_up(message, delivery, endpoint, attempt, traceparent)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), max(0.0, seconds))


def _filters(endpoint: Endpoint) -> list[str]:
    """The subjects of what the endpoint asks for: each event that it does not want would take its turn too."""
    types = [type_ for type_ in EVENT_TYPES if wants_type(endpoint.events, type_)] or [">"]
    return [subjects.event(endpoint.tenant, endpoint.device or "*", type_) for type_ in types]


async def _report_progress(message: Incoming) -> None:
    while True:
        await asyncio.sleep(streams.DELIVERY_ACK_WAIT_S / 3)
        message.in_progress()
