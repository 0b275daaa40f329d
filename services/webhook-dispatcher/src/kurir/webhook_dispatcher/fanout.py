"""From one event to one delivery for each endpoint that wants it.

Deliveries are stored before the event is acknowledged, under an id made of event and endpoint, so an event that comes
twice makes no second delivery while the stream or this process remembers the first. An event finds every endpoint that
the api had confirmed before the event was stored: news of endpoints are waited for. What is for an endpoint that has
its share waiting goes to DEAD instead (see room). While too much waits in all no more events are taken: they are safe
in EVENTS, and DELIVERIES must never meet a limit.
"""

import asyncio
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from kurir.contracts import events, ids, streams, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint
from kurir.dialects.event_patterns import tellings
from kurir.runtime.broker import (
    BrokerUnavailable,
    Bus,
    Incoming,
    Outgoing,
    PublishError,
    PublishRefused,
    Pull,
)
from kurir.runtime.clock import Clock
from kurir.runtime.done_messages import DoneMessages
from kurir.runtime.logs import get
from kurir.runtime.partitions import partition_of
from kurir.runtime.settlement import GivenUp, Rejected, conclude
from kurir.runtime.tracing import TRACEPARENT
from kurir.webhook_dispatcher.endpoint_events import ExhaustedDeliveries
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.matching import hears, is_in_order
from kurir.webhook_dispatcher.measures import Measures
from kurir.webhook_dispatcher.overflow import Overflow, overflow
from kurir.webhook_dispatcher.room import Room

log = get("kurir.fanout")

MAX_OUTSTANDING: Final = 1_024
TOGETHER: Final = 256
"""Deliveries after which their events are acknowledged, however many more there are: the first of them may be made by
then, and are made again if this process dies before and the broker before the events come again."""
AGAIN_S: Final = 1.0  # an event whose deliveries could not be stored comes back after this

_EVENT_ID = re.compile(r"[A-Za-z0-9_:=@+~-]{1,200}")
"""An event's id becomes a token of subjects and a webhook-id, neither of which may hold a dot."""

_encoder = msgspec.json.Encoder()


class Fanned(NamedTuple):
    """What an event becomes: deliveries to publish, and those for which there is no room."""

    deliveries: list[Outgoing]
    overflow: list[Overflow]

    @property
    def outgoing(self) -> Iterable[Outgoing]:
        """Everything that has to be stored before the event may be acknowledged."""
        yield from self.deliveries
        for one in self.overflow:
            yield one.dead_letter
            yield one.record


_FOR_NOBODY: Final = Fanned([], [])


def fanned(message: Incoming, endpoints: Endpoints, room: Room, now: datetime) -> Fanned:
    """What one event becomes. Raises Rejected for what is no event, or says that it is another tenant's."""
    subject = subjects.parse_event(message.subject)
    interested = [
        endpoint
        for endpoint in endpoints.interested(subject.tenant, subject.device, subject.type)
        if not is_in_order(endpoint, message.published_at) and hears(endpoint, subject.type, message.data)
    ]
    if not interested:
        return _FOR_NOBODY
    head = head_of(message.data, subject)
    traceparent = message.header(TRACEPARENT)
    body, seq, at = message.data, message.stream_seq, message.published_at
    result = Fanned([], [])
    for endpoint in interested:
        deliveries = deliveries_for(head, body, seq, at, endpoint)
        if room.is_full(endpoint.id):
            result.overflow.extend(overflow(delivery, endpoint, message.subject, now) for delivery in deliveries)
        else:
            result.deliveries.extend(_outgoing(delivery, traceparent) for delivery in deliveries)
    return result


def _outgoing(delivery: Delivery, traceparent: str | None) -> Outgoing:
    return Outgoing(
        subjects.delivery(partition_of(delivery.endpoint, subjects.DELIVERY_PARTITIONS), delivery.endpoint),
        _encoder.encode(delivery),
        ids.attempt_id(delivery.id, delivery.generation, delivery.attempt),
        {TRACEPARENT: traceparent} if traceparent else None,
    )


def head_of(body: bytes, subject: subjects.EventSubject) -> events.EventHead:
    """The head of an event. Raises Rejected for what is no event, or says that it is another tenant's."""
    try:
        head = events.decode_head(body)
    except msgspec.DecodeError as error:
        raise Rejected("VALIDATION_ERROR", str(error)) from error
    if (head.tenant, head.device, head.type) != subject:
        raise Rejected("VALIDATION_ERROR", "subject and body name different tenants, devices or types")
    if _EVENT_ID.fullmatch(head.id) is None:
        raise Rejected("VALIDATION_ERROR", f"no event id: {head.id[:100]!r}")
    return head


def deliveries_for(
    head: events.EventHead,
    body: bytes,
    stream_seq: int,
    published_at: float,
    endpoint: Endpoint,
    *,
    unasked: bool = False,
) -> list[Delivery]:
    """The first attempts of one event at one endpoint: one for each thing that it is told as, of what is asked for.

    `published_at` is in Unix seconds. `unasked`: whatever the endpoint asks for.
    """
    try:
        names = tellings(endpoint.payload, (head.type,) if unasked else endpoint.events, head.type, body)
    except msgspec.DecodeError:
        names = (None,)  # given up as a delivery; other endpoints may be told of it as it is
    return [_delivery_of(head, body, stream_seq, published_at, endpoint, name) for name in names]


def _delivery_of(
    head: events.EventHead,
    body: bytes,
    stream_seq: int,
    published_at: float,
    endpoint: Endpoint,
    told_as: str | None,
) -> Delivery:
    """The first attempt of one event at one endpoint. `published_at` is in Unix seconds."""
    return Delivery(
        id=ids.delivery_id(head.id, endpoint.id, told_as),
        tenant=head.tenant,
        device=head.device,
        endpoint=endpoint.id,
        event_id=head.id,
        event_type=head.type,
        event=msgspec.Raw(body),
        stream_seq=stream_seq,
        first_at=datetime.fromtimestamp(published_at, UTC),
        message_id=head.message_id,
        told_as=told_as,
    )


class FanOut:
    """Pulls events for as long as there is room for their deliveries."""

    def __init__(
        self,
        bus: Bus,
        endpoints: Endpoints,
        room: Room,
        exhausted: ExhaustedDeliveries,
        measures: Measures,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._room = room
        self._exhausted = exhausted
        self._measures = measures
        self._clock = clock
        self._done = DoneMessages()
        self._pull: Pull | None = None
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Ask for events; `run` works them."""
        self._pull = await self._bus.open_pull(
            streams.EVENTS.name,
            streams.FANOUT_CONSUMER,
            max_outstanding=MAX_OUTSTANDING,
            room=lambda: MAX_OUTSTANDING if self._room.has_room else 0,
        )
        self._room.on_look(self._pull.ask_more)

    async def run(self) -> None:
        """Work until `stop`."""
        assert self._pull is not None, "run comes after start"
        try:
            async for batch in self._pull:
                await self._fan_out(batch)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Finish the batch at hand and give back the rest."""
        if self._pull is not None:
            await self._bus.close_pull(self._pull)
            await self._ended.wait()

    async def _fan_out(self, batch: list[Incoming]) -> None:
        try:
            await self._endpoints.catch_up()
        except BrokerUnavailable as error:
            log.warning("fanout.endpoints_unknown", events=len(batch), error=str(error))
            for message in batch:
                message.nak(AGAIN_S)
            return
        outgoing: list[Outgoing] = []
        taken: list[tuple[Incoming, Fanned]] = []
        now = self._clock.now()
        for message in batch:
            if message in self._done:
                message.ack()
                continue
            try:
                result = fanned(message, self._endpoints, self._room, now)
            except (Rejected, ValueError) as unusable:
                await self._give_up(message, unusable)
                continue
            outgoing += result.outgoing
            taken.append((message, result))
            if len(outgoing) >= TOGETHER:
                await self._store(outgoing, taken)
                outgoing, taken = [], []
        await self._store(outgoing, taken)

    async def _store(self, outgoing: list[Outgoing], taken: list[tuple[Incoming, Fanned]]) -> None:
        """Publish what events became, then settle them; `outgoing` has what each became, in order."""
        results = await self._bus.publish_many(outgoing) if outgoing else []
        at = 0
        for message, result in taken:
            count = len(result.deliveries) + 2 * len(result.overflow)
            failures = [stored for stored in results[at : at + count] if isinstance(stored, PublishError)]
            at += count
            refusals = [failure for failure in failures if type(failure) is PublishRefused]
            if refusals:  # it will be refused the next time too: an event so large that no delivery can hold it
                await self._give_up(message, refusals[0])
            elif failures:
                log.warning("fanout.not_stored", seq=message.stream_seq, error=str(failures[0]))
                message.nak(AGAIN_S)
            else:
                message.ack()
                self._done.add(message)
                for one in result.overflow:
                    self._measures.backlog_full()
                    self._exhausted.note_soon(one.endpoint, one.fact)
        self._measures.fanned_out(len(taken), sum(len(result.deliveries) for _, result in taken))

    async def _give_up(self, message: Incoming, error: Exception) -> None:
        rejected = error if isinstance(error, Rejected) else Rejected("VALIDATION_ERROR", str(error))
        await conclude(self._bus, message, GivenUp(rejected))
        self._measures.gave_up("events")
