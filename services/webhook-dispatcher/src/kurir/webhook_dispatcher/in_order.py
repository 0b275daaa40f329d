"""Endpoints that get their events one at a time, in the order in which the stream has them.

Each has a consumer of its own on EVENTS that hands out one event at a time, to whichever dispatcher asks; nothing is
fanned out for it. An event that fails is tried again in its place and holds up the ones behind it, but no longer than
the endpoint's `head_timeout_s`: then it goes on by the retry schedule, and they go first. That a process died is
noticed after ack_wait; its event comes again, to another.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

from kurir.contracts import streams, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.events import EVENT_TYPES
from kurir.contracts.records import Endpoint
from kurir.dialects.event_patterns import names_wanted
from kurir.runtime import consumers
from kurir.runtime.broker import Bus, ConsumerGone, Incoming, PublishError, Pull
from kurir.runtime.clock import Clock
from kurir.runtime.done_messages import DoneMessages
from kurir.runtime.logs import get
from kurir.runtime.settlement import Again, Retry, settle
from kurir.runtime.tracing import TRACEPARENT, valid_traceparent
from kurir.webhook_dispatcher.delivery import Delivering, following
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.fanout import deliveries_for, head_of
from kurir.webhook_dispatcher.matching import hears, wants

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
        self._lines: dict[tuple[str, str], tuple[_Line, asyncio.Task[None]]] = {}
        self._is_stopping = False

    async def start(self) -> None:
        """Take up the endpoints that are known, and from then on each that begins to want order."""
        self._endpoints.on_change(lambda _key, old, new: self._changed(new or old))
        for endpoint in self._endpoints.all():
            self._changed(endpoint)

    async def stop(self) -> None:
        """Finish the attempts under way and give back what waits."""
        self._is_stopping = True
        for line, _ in self._lines.values():
            line.stop()
        await asyncio.gather(*(task for _, task in self._lines.values()), return_exceptions=True)

    @property
    def lines(self) -> int:
        """Endpoints that this process works in order."""
        return len(self._lines)

    @property
    def oldest_s(self) -> float:
        """Age of the oldest event at the head of a line here; 0 when no line has one."""
        heads = [line.head_at for line, _ in self._lines.values() if line.head_at is not None]
        return max(0.0, self._clock.time() - min(heads)) if heads else 0.0

    def _changed(self, endpoint: Endpoint | None) -> None:
        if endpoint is None or self._is_stopping:
            return
        key = endpoint.tenant, endpoint.id
        if key in self._lines:
            self._lines[key][0].look()
        # One that has left the order may still have events from before.
        elif endpoint.in_order or endpoint.order_changed_at is not None:
            line = _Line(self._bus, self._endpoints, self._delivering, self._clock, *key)
            task = asyncio.create_task(line.work(), name=f"in-order {endpoint.id}")
            self._lines[key] = line, task
            task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> None:
        del self._lines[key]
        endpoint = self._endpoints.known(*key)
        if endpoint is not None and endpoint.in_order:  # it was changed back while its line ended
            self._changed(endpoint)


class _Line:
    """The events of one endpoint, one after the other."""

    def __init__(
        self, bus: Bus, endpoints: Endpoints, delivering: Delivering, clock: Clock, tenant: str, identifier: str
    ) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._delivering = delivering
        self._clock = clock
        self._tenant, self._identifier = tenant, identifier
        self._consumer = streams.in_order_consumer(identifier)
        self._done = DoneMessages(REMEMBERED)
        self._pull: Pull | None = None
        self._is_stopping = asyncio.Event()
        self.head_at: float | None = None
        """When the event in work was stored, in Unix seconds."""

    def look(self) -> None:
        """The endpoint was changed."""
        if self._pull is not None:
            self._pull.wake()

    def stop(self) -> None:
        """Let `work` end after the attempt under way."""
        self._is_stopping.set()
        self.look()

    async def work(self) -> None:
        """Until the endpoint is gone, or has left the order and nothing from before is left."""
        while not self._is_stopping.is_set():
            try:
                if not await self._open_consumer() or await self._follow():
                    return
            except (PublishError, ConsumerGone) as error:
                log.warning("in_order.interrupted", endpoint=self._identifier, error=repr(error))
                await self._pause(AGAIN_S)
            except Exception:
                log.exception("in_order.failed", tenant=self._tenant, endpoint=self._identifier)
                await self._pause(AGAIN_S)

    @property
    def _endpoint(self) -> Endpoint | None:
        return self._endpoints.known(self._tenant, self._identifier)

    async def _open_consumer(self) -> bool:
        """Make the consumer, or tell it what is wanted now; False when there is nothing to work."""
        endpoint = self._endpoint
        if endpoint is None:
            await consumers.delete(self._bus, streams.EVENTS.name, self._consumer)
            return False
        return await consumers.open_one_by_one(
            self._bus,
            streams.EVENTS.name,
            self._consumer,
            _filters(endpoint),
            since=(endpoint.order_changed_at or endpoint.created_at) if endpoint.in_order else None,
            ack_wait_s=streams.IN_ORDER_ACK_WAIT_S,
            idle_s=streams.EVENTS.max_age_s,  # its endpoint was deleted while nobody was there
        )

    async def _follow(self) -> bool:
        """Work what comes; True when that was all there will be, False when the consumer has to be told of a change."""
        endpoint = self._endpoint
        filters = _filters(endpoint) if endpoint is not None else []
        self._pull = pull = await self._bus.open_pull(streams.EVENTS.name, self._consumer, max_outstanding=1)
        try:
            while not self._is_stopping.is_set():
                batch = await pull.next_batch(LOOK_S)
                for message in batch:
                    await self._take(message)
                endpoint = self._endpoint
                if endpoint is None or self._has_changed_over(endpoint, batch):
                    break
                if _filters(endpoint) != filters:
                    return False
            else:
                return True
        finally:
            self._pull = None
            await self._bus.close_pull(pull)
        await consumers.delete(self._bus, streams.EVENTS.name, self._consumer)
        return True

    def _has_changed_over(self, endpoint: Endpoint, batch: list[Incoming]) -> bool:
        if endpoint.in_order or endpoint.order_changed_at is None:
            return False
        over_at = endpoint.order_changed_at + timedelta(seconds=CHANGEOVER_S)
        if batch:
            return batch[-1].published_at >= over_at.timestamp()
        return self._clock.now() >= over_at

    async def _take(self, message: Incoming) -> None:
        if message in self._done:
            message.ack()
            return
        self.head_at = message.published_at
        try:
            if not isinstance(await settle(self._bus, message, self._deliver), Again):
                self._done.add(message)
        finally:
            self.head_at = None

    async def _deliver(self, message: Incoming) -> None:
        """Attempt until it is delivered, given up, or has held up the others for too long."""
        subject = subjects.parse_event(message.subject)
        await self._endpoints.catch_up()
        endpoint = self._endpoint
        if endpoint is None or not wants(endpoint, subject.device, subject.type):
            return
        if not hears(endpoint, subject.type, message.data):
            return
        head = head_of(message.data, subject)
        for delivery in deliveries_for(head, message.data, message.stream_seq, message.published_at, endpoint):
            await self._deliver_one(message, delivery, endpoint)

    async def _deliver_one(self, message: Incoming, delivery: Delivery, endpoint: Endpoint) -> None:
        if message.delivered > 1:
            delivery, ended = await self._delivering.resumed(delivery)
            if ended is not None:
                await self._delivering.follow_up(message, delivery, endpoint, ended, None)
                return
        traceparent = valid_traceparent(message.header(TRACEPARENT))
        give_way_at = self._clock.now() + timedelta(seconds=endpoint.head_timeout_s)
        known: Endpoint | None = endpoint
        reporting = asyncio.create_task(_report_progress(message))
        try:
            while True:
                attempt = await self._delivering.attempt(delivery, known, traceparent, give_way_at)
                if attempt.outcome != "retry" or attempt.next_at is None or attempt.next_at > give_way_at:
                    break
                await self._pause((attempt.next_at - self._clock.now()).total_seconds())
                if self._is_stopping.is_set():
                    raise Retry(0.0, "the dispatcher ends")
                delivery = following(delivery)
                known = self._endpoint
        finally:
            reporting.cancel()
        await self._delivering.follow_up(message, delivery, known, attempt, traceparent)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), max(0.0, seconds))


def _filters(endpoint: Endpoint) -> list[str]:
    """The subjects of what the endpoint asks for: each event that it does not want would take its turn too."""
    types = [type_ for type_ in EVENT_TYPES if names_wanted(endpoint.payload, endpoint.events, type_)] or [">"]
    return [subjects.event(endpoint.tenant, endpoint.device or "*", type_) for type_ in types]


async def _report_progress(message: Incoming) -> None:
    while True:
        await asyncio.sleep(streams.IN_ORDER_ACK_WAIT_S / 3)
        message.in_progress()
