"""Delivering again what somebody asked for: one event, a range of time, or what was given up.

An order is a message that waits in DELIVERIES until it is carried out, by one dispatcher at a time; one that dies is
followed by another, which goes on where the record in `replays` says. A delivery keeps its event's id and says that it
is a replay. One whose next attempt is scheduled takes that attempt's place, in one step with the server's clock; one
that is due or being attempted at this moment, or whose event was not fanned out yet when the order was made, is passed
over: it is never sent by both. A replay ends where its endpoint has half of its share waiting, so that what happens now
has room. Tenants take turns: one that wants many slow replays delays its own.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from msgspec.structs import replace

from kurir.contracts import deliveries, events, headers, ids, streams, subjects
from kurir.contracts.deliveries import Delivery, ReplayOrder
from kurir.contracts.records import Endpoint, Replay
from kurir.dialects.event_patterns import wants_type
from kurir.runtime.broker import Bus, Incoming, Pull, Stored, WrongSequence
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.runtime.mongo import Mongo, MongoError
from kurir.runtime.partitions import partition_of
from kurir.runtime.progress import settled_seq
from kurir.runtime.registry import Registry, key_of
from kurir.runtime.settlement import Rejected, Retry, settle
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.fanout import deliveries_for, head_of
from kurir.webhook_dispatcher.matching import hears, passes, wants
from kurir.webhook_dispatcher.room import Room
from kurir.webhook_dispatcher.turns import Turns, TurnsClosed
from kurir.webhook_dispatcher.under_way import DeliveriesUnderWay

log = get("kurir.replays")

AT_ONCE: Final = 16  # replays in one process
TURN_S: Final = 1.0  # of a replay, while others wait
MOST_HELD: Final = 1000  # orders in one process, nearly all waiting for their turn
KEPT_EVERY_S: Final = 10.0  # a third of the consumer's ack_wait
PAGE: Final = 100
LOOK_EVERY_S: Final = 1.0  # how far it has come is told, and whether it is still wanted is asked
HISTORY_AGAIN_S: Final = 5.0
FANOUT_AGAIN_S: Final = 0.2
TOO_MUCH_WAITS: Final = "Too much waits for this webhook already. Order the replay again when it has taken that."

Found = AsyncIterator[tuple[int, Delivery | None]]
"""Positions that were read, in order, and what is to be delivered of them."""

_encoder = msgspec.json.Encoder()


class Replays:
    """Carries out orders from `start` to `stop`. Start it after `endpoints`."""

    def __init__(self, bus: Bus, mongo: Mongo, endpoints: Endpoints, room: Room, clock: Clock) -> None:
        self._bus = bus
        self._mongo = mongo
        self._endpoints = endpoints
        self._room = room
        self._clock = clock
        self._progress = Registry(bus, "replays", Replay)
        self._turns = Turns(AT_ONCE)
        self._pull: Pull | None = None
        self._held: dict[str, Incoming] = {}
        self._carrying_out: set[asyncio.Task[object]] = set()
        self._loops: tuple[asyncio.Task[None], ...] = ()
        self._is_stopping = asyncio.Event()

    async def start(self) -> None:
        await self._progress.start()
        self._pull = await self._bus.open_pull(
            streams.DELIVERIES.name,
            streams.REPLAY_CONSUMER,
            max_outstanding=MOST_HELD,
            room=lambda: MOST_HELD - len(self._carrying_out),
        )
        self._loops = (
            asyncio.create_task(self._take(self._pull), name="replays"),
            asyncio.create_task(self._keep(), name="replays-kept"),
        )

    async def stop(self) -> None:
        """Give back what is under way; another dispatcher goes on with it."""
        self._is_stopping.set()
        self._turns.close()
        if self._pull is not None:
            await self._bus.close_pull(self._pull)
            await asyncio.gather(*self._loops, *self._carrying_out, return_exceptions=True)
        await self._progress.stop()

    @property
    def running(self) -> int:
        """Replays that this process carries out at this moment."""
        return self._turns.taken

    async def _take(self, pull: Pull) -> None:
        async for batch in pull:
            for message in batch:
                held = self._held.get(message.subject)
                if held is not None and not held.is_settled:
                    continue  # it came again, after the server was away for long; it is answered once
                self._held[message.subject] = message
                task: asyncio.Task[object] = asyncio.create_task(settle(self._bus, message, self._carry_out))
                self._carrying_out.add(task)
                task.add_done_callback(functools.partial(self._ended, message))

    def _ended(self, message: Incoming, task: asyncio.Task[object]) -> None:
        self._carrying_out.discard(task)
        if self._held.get(message.subject) is message:
            del self._held[message.subject]
        if self._pull is not None:
            self._pull.ask_more()

    async def _keep(self) -> None:
        """Tell the server of all orders that are here, those that wait for their turn too."""
        while not self._is_stopping.is_set():
            for message in self._held.values():
                message.in_progress()
            await self._pause(KEPT_EVERY_S)

    async def _carry_out(self, message: Incoming) -> None:
        order = deliveries.decode_replay(message.data)
        key = key_of(order.tenant, order.endpoint, order.id)
        known = await self._progress.fetch(key)
        replay = known.value if known is not None else _begun(order)
        log.info("replay.begun", tenant=order.tenant, endpoint=order.endpoint, replay=order.id, again=known is not None)
        endpoint = await self._endpoints.find(order.tenant, order.endpoint)
        if endpoint is None:
            replay = replace(replay, state="failed", reason="The webhook was deleted.")
        else:
            await self._wait_for_fanout(order)
            under_way = DeliveriesUnderWay(self._bus, endpoint, order.fanned_out)
            while replay.state == "running":
                try:
                    async with self._turns.of(order.tenant):
                        replay = await self._go_on(message, order, endpoint, replay, under_way)
                except TurnsClosed:
                    raise Retry(0.0, "the dispatcher ends") from None
        await self._progress.put(key, replace(replay, at=self._clock.now()))
        log.info("replay.ended", state=replay.state, replay=order.id, replayed=replay.replayed, skipped=replay.skipped)

    async def _go_on(
        self, message: Incoming, order: ReplayOrder, endpoint: Endpoint, replay: Replay, under_way: DeliveriesUnderWay
    ) -> Replay:
        """One turn. A replay that is still running then has to have another."""
        key = key_of(order.tenant, order.endpoint, order.id)
        look_at = self._clock.monotonic()
        turn_ends_at = look_at + TURN_S
        async for position, delivery in self._found(order, endpoint, replay.position):
            if self._clock.monotonic() >= look_at:
                look_at = self._clock.monotonic() + LOOK_EVERY_S
                if await self._bus.last_by_subject(streams.DELIVERIES.name, message.subject) is None:
                    return replace(replay, state="canceled")
                await self._progress.put(key, replace(replay, at=self._clock.now()))
            if delivery is not None:
                if self._room.is_full_for_replays(endpoint.id):
                    return replace(replay, state="failed", reason=TOO_MUCH_WAITS)
                replay = await self._replayed(order, replay, delivery, position, under_way)
            replay = replace(replay, position=position)
            is_over = self._turns.are_awaited and self._clock.monotonic() >= turn_ends_at
            if self._is_stopping.is_set() or (is_over and _can_be_left(order, delivery)):
                await self._progress.put(key, replace(replay, at=self._clock.now()))
                return replay
        return _ended(order, replay)

    async def _wait_for_fanout(self, order: ReplayOrder) -> None:
        """Raise Retry while events that the fan-out had taken when the order was made are no deliveries yet."""
        if order.dead or order.fanned_out is None:
            return
        settled = await settled_seq(self._bus, streams.EVENTS.name, streams.FANOUT_CONSUMER)
        if settled is not None and settled < order.fanned_out:
            raise Retry(FANOUT_AGAIN_S, "events from before are being fanned out")

    async def _replayed(
        self, order: ReplayOrder, replay: Replay, delivery: Delivery, position: int, under_way: DeliveriesUnderWay
    ) -> Replay:
        """Deliver once more, no faster than the order says."""
        passed_over = await self._deliver(order, delivery, under_way)
        if passed_over is None:
            replay = replace(replay, replayed=replay.replayed + 1)
        else:
            replay = replace(replay, skipped=replay.skipped + 1)
        if order.dead and (passed_over is None or passed_over > delivery.generation):  # given up again it is kept anew
            await self._bus.delete_message(streams.DEAD.name, position)
        if passed_over is None:
            await self._pause(1 / order.per_second)
        return replay

    async def _deliver(self, order: ReplayOrder, delivery: Delivery, under_way: DeliveriesUnderWay) -> int | None:
        """None when it is delivered again; else the generation that is under way, or due, by itself.

        Told by what is scheduled before it looks at what is under way, and by nothing having been scheduled since.
        """
        scheduled = await self._scheduled(delivery)
        if scheduled is None:
            generation = await under_way.generation(delivery)
            if generation is not None:
                return generation
        retry = subjects.delivery_retry(delivery.endpoint, delivery.id)
        only_if = {
            headers.EXPECTED_LAST_SUBJECT_SEQUENCE: str(scheduled.seq if scheduled is not None else 0),
            headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: retry,
        }
        if scheduled is not None:
            only_if |= {headers.SCHEDULER: retry, headers.SCHEDULE_NEXT: "purge"}
        again = replace(delivery, attempt=1, generation=round(order.made_at.timestamp() * 1000), is_replay=True)
        try:
            await self._bus.publish(
                subjects.delivery(partition_of(delivery.endpoint, subjects.DELIVERY_PARTITIONS), delivery.endpoint),
                _encoder.encode(again),
                msg_id=ids.attempt_id(again.id, again.generation, again.attempt),
                headers=only_if,
            )
        except WrongSequence:
            return delivery.generation  # it was scheduled, or became due, this very moment
        return None

    async def _scheduled(self, delivery: Delivery) -> Stored | None:
        retry = subjects.delivery_retry(delivery.endpoint, delivery.id)
        return await self._bus.last_by_subject(streams.DELIVERIES.name, retry)

    # --- what is to be delivered ------------------------------------------------------------------------------

    def _found(self, order: ReplayOrder, endpoint: Endpoint, position: int) -> Found:
        if order.event_id is not None:
            return self._one_event(order.event_id, endpoint, order.only_wanted)
        return self._dead(order, position) if order.dead else self._range(order, endpoint, position)

    async def _one_event(self, event_id: str, endpoint: Endpoint, only_wanted: bool) -> Found:
        try:
            found = await self._mongo.find_one("events", {"_id": event_id.partition("~")[0]})
        except MongoError as error:
            raise Retry(HISTORY_AGAIN_S, str(error)) from error
        if found is None or found["tenant"] != endpoint.tenant or endpoint.device not in (None, found["device"]):
            return
        body, stream_seq = found["body"].encode(), int(found["stream_seq"])
        head = events.decode_head(body)
        if only_wanted and not (wants(endpoint, head.device, head.type) and hears(endpoint, head.type, body)):
            return
        at = head.at.timestamp()
        for delivery in deliveries_for(head, body, stream_seq, at, endpoint, unasked=not only_wanted):
            if "~" not in event_id or ids.webhook_id(delivery.id) == event_id:
                yield stream_seq, delivery

    async def _range(self, order: ReplayOrder, endpoint: Endpoint, position: int) -> Found:
        assert order.since is not None
        until = (order.until or order.made_at).timestamp()
        subject = subjects.events_of_device(order.tenant, endpoint.device or "*")
        since: float | None = order.since.timestamp() if not position else None
        while True:
            stored = await self._bus.read_from(streams.EVENTS.name, subject, position + 1, PAGE, since=since)
            within = [one for one in stored if one.published_at <= until]
            for one in within:
                named = subjects.parse_event(one.subject)
                is_wanted = (
                    wants(endpoint, named.device, named.type)
                    and wants_type(order.events, named.type)
                    and (not order.filter.devices or named.device in order.filter.devices)
                    and hears(endpoint, named.type, one.data)
                    and passes(order.filter, named.type, one.data)
                )
                if is_wanted:
                    with contextlib.suppress(Rejected):  # it is no event, and was given up when it came
                        head = head_of(one.data, named)
                        for delivery in deliveries_for(head, one.data, one.seq, one.published_at, endpoint):
                            yield one.seq - 1, delivery
                yield one.seq, None
            if len(within) < PAGE:
                return
            position, since = within[-1].seq, None

    async def _dead(self, order: ReplayOrder, position: int) -> Found:
        """What was given up before the order was made: what is given up again is for another order."""
        subject = subjects.dead("deliveries", order.tenant, order.endpoint)
        made_at = order.made_at.timestamp()
        while True:
            stored = await self._bus.read_from(streams.DEAD.name, subject, position + 1, PAGE)
            within = [one for one in stored if one.published_at <= made_at]
            for one in within:
                delivery = None
                with contextlib.suppress(msgspec.DecodeError):
                    delivery = deliveries.decode(one.data)
                yield one.seq, delivery
            if len(within) < PAGE:
                return
            position = within[-1].seq

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), seconds)


def _can_be_left(order: ReplayOrder, delivery: Delivery | None) -> bool:
    """Whether nothing that was counted is found again behind this position."""
    return order.dead or (order.event_id is None and delivery is None)


def _ended(order: ReplayOrder, replay: Replay) -> Replay:
    if order.event_id is not None and not replay.replayed + replay.skipped:
        return replace(replay, state="failed", reason="There is no such event that this webhook may hear.")
    return replace(replay, state="done")


def _begun(order: ReplayOrder) -> Replay:
    return Replay(
        id=order.id,
        tenant=order.tenant,
        endpoint=order.endpoint,
        state="running",
        made_at=order.made_at,
        at=order.made_at,
    )
