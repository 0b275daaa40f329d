"""Work by key from one partition consumer, so that a key which falls behind holds up no other.

The partition's messages go into one queue per key. A key whose queue is full, or which is paused, opens its
lane: its messages move to a subject of its own, in order, and are worked from there by a consumer that exists
only meanwhile. With one message at a time per key, the messages of a key are handled in the order in which they
were published, through lanes, restarts and changes of owner; a repeat of the newest ones is possible after the
process died. Not guaranteed: exactly once. Strict order needs that one process at a time owns the partition.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from kurir.contracts import headers
from kurir.runtime.broker import Bus, ConsumerGone, Incoming, PublishError, Pull
from kurir.runtime.done_messages import DoneMessages
from kurir.runtime.keyed_work import Held, KeyWork, Lane
from kurir.runtime.lane_spill import Spill
from kurir.runtime.leftovers import clear_acknowledged
from kurir.runtime.logs import get
from kurir.runtime.settlement import (
    Again,
    Fate,
    Handler,
    Rejected,
    call,
    conclude,
    settle,
)

log = get("kurir.lanes")

LANE_PREFETCH: Final = 8  # deep enough to hide the round trip, shallow enough to give back at once
LANE_IDLE_S: Final = 600.0  # the server removes the consumer of a lane nobody worked for that long
LANE_LOOK_S: Final = 0.2  # how long a lane that looks empty is watched before it is closed
AGAIN_S: Final = 0.5
LOOK_FOR_LANES_EVERY_S: Final = 60.0
LOOK_FOR_LEFTOVERS_EVERY_S: Final = 10.0
OPEN_LANES_AT_ONCE: Final = 64


class KeyedConsumer:
    """`start`, then it works until `stop`. `pause` and `resume` keys as they cannot, or can, be worked.

    `key_of` finds the key in a subject, of the partition or of a lane; `lane_filter` matches all lanes of the
    partition. `handle` returns or raises as in `settlement`; with `concurrency_per_key` of one, a message to be
    tried again keeps its place and later ones of its key wait. A function instead of a number is asked for each key,
    often, and promises no order. `overflow` is called for a message whose lane is
    full too (without it such messages go to DEAD). `is_exclusive`: nobody else pulls from the consumer, so at
    the start it is reset, and what a former owner held comes again at once and in order.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        stream: str,
        consumer: str,
        key_of: Callable[[str], str],
        lane_subject: Callable[[str], str],
        lane_filter: str,
        lane_consumer_name: Callable[[str], str],
        handle: Handler,
        ack_wait_s: float,
        concurrency_per_key: int | Callable[[str], int] = 1,
        queue_per_key: int = 32,
        max_held: int = 1024,
        is_exclusive: bool = True,
        overflow: Handler | None = None,
    ) -> None:
        self._bus = bus
        self._stream, self._consumer = stream, consumer
        self._key_of, self._lane_subject = key_of, lane_subject
        self._lane_filter, self._lane_consumer_name = lane_filter, lane_consumer_name
        self._handle, self._overflow = handle, overflow or _refuse
        self._ack_wait_s = ack_wait_s
        self._concurrency_per_key, self._queue_per_key, self._max_held = concurrency_per_key, queue_per_key, max_held
        self._is_ordered = concurrency_per_key == 1
        self._is_exclusive = is_exclusive
        self._is_stopping = False
        self._keys: dict[str, KeyWork] = {}
        self._held: dict[int, Held] = {}
        self._held_from_lanes = 0
        self._done = DoneMessages()
        self._gated: dict[str, Lane] = {}
        self._spill = Spill(bus, lane_subject, self._release_spilled, self._refuse_spilled)
        self._pull: Pull | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    @property
    def held(self) -> int:
        """Messages delivered to this process and not settled yet."""
        return len(self._held)

    @property
    def open_lanes(self) -> list[str]:
        """Keys that are behind and worked from their lanes."""
        return [work.key for work in self._keys.values() if work.lane is not None]

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the partition: what a former owner held, then the lanes it left, then what is new.

        Raises nats errors or BrokerUnavailable when the server does not answer.
        """
        backlog = 1
        if self._is_exclusive:
            reset = await self._bus.js.reset_consumer(self._stream, self._consumer)
            backlog = (reset.info.num_pending or 0) if reset.info is not None else 1
        await self._find_lanes()
        if not backlog:
            self._open_gates(None)
        self._loops = [
            asyncio.create_task(self._spill.run()),
            asyncio.create_task(self._pull_partition()),
            asyncio.create_task(self._report_progress()),
            asyncio.create_task(self._look_for_forgotten_lanes()),
        ]
        for work in list(self._keys.values()):
            self._look_at(work)

    async def stop(self, within_s: float = 10.0) -> None:
        """Give back at once what waits, let what is in work finish within the limit, cancel and give back the rest."""
        self._is_stopping = True
        for loop in self._loops:
            loop.cancel()
        pumps = [work.lane.pump for work in self._keys.values() if work.lane and work.lane.pump]
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*self._loops, *pumps, return_exceptions=True)
        in_work = {held for work in self._keys.values() for held in work.in_work}
        for held in list(self._held.values()):
            if held not in in_work:
                held.message.nak()
                self._held.pop(held.seq)
        for work in self._keys.values():
            work.changed.set()
        running = {task for work in self._keys.values() for task in work.running} | self._tasks
        if running:
            _, late = await asyncio.wait(running, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for held in self._held.values():
            held.message.nak()
        self._held.clear()
        self._keys.clear()

    def pause(self, key: str) -> None:
        """Do not begin another message of this key. What it has and gets waits in its lane and costs nothing."""
        work = self._work_of(key)
        work.is_paused = True
        work.changed.set()
        if work.lane is None:
            waiting = [held for held in work.queue if held not in work.in_work]
            if waiting:
                work.lane = Lane()
                for held in waiting:
                    work.queue.remove(held)
                    self._spill.add(work, held)
        elif work.lane.pull is not None:
            work.lane.pull.wake()

    def resume(self, key: str) -> None:
        """Go on with this key where it stopped."""
        work = self._keys.get(key)
        if work is not None and work.is_paused:
            work.is_paused = False
            self._look_at(work)

    def following(self, message: Incoming) -> Incoming | None:
        """What is handled next of the key of a message in work, if it is here already; for keys in order."""
        work = self._keys.get(self._key_of(message.subject))
        if work is None or work.is_paused or self._is_stopping or len(work.queue) < 2:
            return None
        return work.queue[1].message

    # --- from the partition into the keys -----------------------------------------------------------------

    async def _pull_partition(self) -> None:
        while True:
            self._pull = await self._bus.open_pull(
                self._stream, self._consumer, max_outstanding=min(256, self._max_held), room=self._room
            )
            try:
                async for batch in self._pull:
                    for message in batch:
                        self._take(message)
                    self._open_gates(batch[-1])
            except ConsumerGone:
                log.error("partition.consumer_gone", stream=self._stream, consumer=self._consumer)
            finally:
                pull, self._pull = self._pull, None
                await self._bus.close_pull(pull)
            await asyncio.sleep(AGAIN_S)

    def _room(self) -> int:
        return self._max_held - (len(self._held) - self._held_from_lanes)

    def _take(self, message: Incoming) -> None:
        """Put a message of the partition where it belongs: its key's queue, or the end of its lane."""
        if self._is_redelivery(message):
            return
        try:
            key = self._key_of(message.subject)
        except (ValueError, IndexError) as error:
            self._spawn(self._settle(message, Rejected("VALIDATION_ERROR", f"no key in the subject: {error}")))
            return
        work = self._keys.get(key) or self._work_of(key)
        held = Held(message, is_from_lane=False)
        self._held[held.seq] = held
        if work.lane is None and (work.is_paused or (work.queue and len(work.queue) >= self._allowance())):
            work.lane = Lane()
            log.info("lane.opened", key=key, is_paused=work.is_paused)
        if work.lane is None or (work.lane.oldest is not None and held.seq < work.lane.oldest):
            work.queue.append(held)
        else:
            self._spill.add(work, held)
        self._look_at(work)

    def _is_redelivery(self, message: Incoming) -> bool:
        """Whether we hold it or are done with it: the server delivers again what it heard nothing of."""
        held = self._held.get(message.stream_seq)
        if held is not None:
            held.message = message
        elif message in self._done:
            message.ack()
        else:
            return False
        return True

    def _allowance(self) -> int:
        # When much is held, nobody may hold more than one: so the last places go to keys that have none.
        return self._queue_per_key if self._room() > self._max_held // 2 else 1

    def _work_of(self, key: str) -> KeyWork:
        work = self._keys.get(key)
        if work is None:
            work = self._keys[key] = KeyWork(key)
        return work

    def _look_at(self, work: KeyWork) -> None:
        """Start what can be started for this key, or forget it."""
        if self._is_stopping or work.is_paused:
            return
        if work.queue:
            if self._is_ordered:
                if not work.running:
                    self._run(work, self._work_in_order(work))
            else:
                starting = len(work.running) - len(work.in_work)  # each takes one from the queue when its turn comes
                for _ in range(min(len(work.queue) - starting, self._concurrency(work.key) - len(work.running))):
                    self._run(work, self._work_through(work))
        elif work.running:
            return
        elif work.lane is None:
            self._keys.pop(work.key, None)  # until it has something again
        elif work.lane.pump is None and not work.lane.is_gated:
            work.lane.pump = asyncio.create_task(self._work_lane(work, work.lane))

    def _concurrency(self, key: str) -> int:
        limit = self._concurrency_per_key
        return limit if isinstance(limit, int) else max(1, limit(key))

    def _run(self, work: KeyWork, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        work.running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            work.running.discard(task)
            if task.cancelled() or task.exception() is None:
                self._look_at(work)
            else:
                log.error("key.failed", key=work.key, exc_info=task.exception())
                asyncio.get_running_loop().call_later(AGAIN_S, self._look_at, work)

        task.add_done_callback(ended)

    # --- working the messages of a key ----------------------------------------------------------------------

    async def _work_in_order(self, work: KeyWork) -> None:
        """One after the other; a message that has to be tried again keeps its place at the head."""
        while work.queue and not work.is_paused and not self._is_stopping:
            held = work.queue[0]
            held.attempts += 1
            work.in_work.add(held)
            try:
                fate = await call(self._handle, held.message, held.attempts + held.message.delivered - 1)
                if not isinstance(fate, Again):
                    fate = await conclude(self._bus, held.message, fate, keeps_place=True)
            finally:
                work.in_work.discard(held)
            if isinstance(fate, Again):
                log.info("message.again", key=work.key, seq=held.seq, delay_s=fate.delay_s, reason=fate.reason)
                if work.is_paused:
                    self.pause(work.key)  # it was not to be moved while it was in work
                else:
                    await self._wait(work, fate.delay_s)
            else:
                work.queue.popleft()
                self._finish(work, held)

    async def _wait(self, work: KeyWork, delay_s: float) -> None:
        work.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await work.changed.wait()

    async def _work_through(self, work: KeyWork) -> None:
        """Any order, several at a time; a message that has to be tried again is given back with a delay."""
        while work.queue and not work.is_paused and not self._is_stopping:
            held = work.queue.popleft()
            work.in_work.add(held)
            fate: Fate | None = None
            try:
                fate = await settle(self._bus, held.message, self._handle)
            finally:
                work.in_work.discard(held)
                if fate is None or isinstance(fate, Again):
                    self._release(work, held)
                else:
                    self._finish(work, held)

    def _finish(self, work: KeyWork, held: Held) -> None:
        self._done.add(held.message)
        self._release(work, held)

    def _release(self, work: KeyWork, held: Held) -> None:
        """No longer ours to hold: there is room for another."""
        if self._held.pop(held.seq, None) is None:
            return
        pull = self._pull
        if held.is_from_lane:
            self._held_from_lanes -= 1
            pull = work.lane.pull if work.lane is not None else None
        if pull is not None:
            pull.ask_soon()

    def _release_spilled(self, work: KeyWork, held: Held) -> None:
        held.message.ack()
        self._finish(work, held)
        self._look_at(work)

    def _refuse_spilled(self, work: KeyWork, held: Held) -> None:
        log.warning("lane.full", key=work.key, seq=held.seq)
        self._spawn(self._settle(held.message, None))
        self._release(work, held)

    async def _settle(self, message: Incoming, rejected: Rejected | None) -> None:
        async def refuse(_: Incoming) -> None:
            assert rejected is not None
            raise rejected

        await settle(self._bus, message, self._overflow if rejected is None else refuse)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report_progress(self) -> None:
        """Keep the server from delivering again what waits here."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            for held in list(self._held.values()):
                held.message.in_progress()

    # --- lanes ------------------------------------------------------------------------------------------------

    async def _find_lanes(self) -> None:
        found = list(await self._bus.subjects(self._stream, self._lane_filter))
        for start in range(0, len(found), OPEN_LANES_AT_ONCE):
            await asyncio.gather(*map(self._find_lane, found[start : start + OPEN_LANES_AT_ONCE]))
        if found:
            log.info("lanes.found", count=len(found), consumer=self._consumer)

    async def _find_lane(self, subject: str) -> None:
        first = await self._bus.read_from(self._stream, subject, 1, 1)
        if not first:
            return
        oldest = int(first[0].headers.get(headers.ORIGIN_SEQUENCE, "0"))
        work = self._work_of(self._key_of(subject))
        work.lane = Lane(oldest if self._is_exclusive else None)
        if work.lane.is_gated:
            self._gated[work.key] = work.lane

    async def _look_for_forgotten_lanes(self) -> None:
        """Work also what reached a lane behind our back, such as the last words of a former owner."""
        while True:
            await asyncio.sleep(LOOK_FOR_LANES_EVERY_S)
            try:
                stored = await self._bus.subjects(self._stream, self._lane_filter)
            except PublishError:
                continue
            for key in map(self._key_of, stored):
                work = self._work_of(key)
                if work.lane is None:
                    log.warning("lane.was_forgotten", key=key)
                    work.lane = Lane()
                    self._look_at(work)

    def _open_gates(self, seen: Incoming | None) -> None:
        """Open the lanes whose predecessors have all come: after a reset the partition delivers in order."""
        if not self._gated:
            return
        everything = seen is None or seen.pending == 0
        for key, lane in list(self._gated.items()):
            if everything or (seen is not None and lane.oldest is not None and seen.stream_seq >= lane.oldest):
                del self._gated[key]
                lane.is_gated = False
                self._look_at(self._work_of(key))

    async def _work_lane(self, work: KeyWork, lane: Lane) -> None:
        """Work one lane until it is drained (then the key's messages come straight again), paused or stopped."""
        name = self._lane_consumer_name(work.key)
        try:
            while not work.is_paused:
                try:
                    await self._open_lane_consumer(name, work)
                    if await self._pump(name, work, lane):
                        log.info("lane.drained", key=work.key)
                        work.lane = None
                        return
                except (NatsError, ConsumerGone, PublishError) as error:
                    log.warning("lane.interrupted", key=work.key, error=repr(error))
                    await asyncio.sleep(AGAIN_S)
                except Exception:
                    log.exception("lane.failed", key=work.key)
                    await asyncio.sleep(AGAIN_S)
        finally:
            lane.pump = None
            if not self._is_stopping:
                self._look_at(work)

    async def _open_lane_consumer(self, name: str, work: KeyWork) -> None:
        info: ConsumerInfo = await self._bus.js.add_consumer(
            self._stream,
            ConsumerConfig(
                durable_name=name,
                filter_subject=self._lane_subject(work.key),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait_s,
                max_ack_pending=max(LANE_PREFETCH, self._concurrency(work.key)),
                inactive_threshold=LANE_IDLE_S,
            ),
        )
        if info.num_ack_pending and self._is_exclusive:
            # Given back by a pause or held by a former owner: all of it comes again at once and in order.
            await self._bus.js.reset_consumer(self._stream, name)

    async def _pump(self, name: str, work: KeyWork, lane: Lane) -> bool:
        """Feed the key from its lane; True when the lane is empty and its consumer gone, False when it was paused."""
        limit = max(LANE_PREFETCH, self._concurrency(work.key))
        pull = await self._bus.open_pull(
            self._stream, name, max_outstanding=limit, room=lambda: limit - len(work.queue) - len(work.in_work)
        )
        lane.pull = pull
        is_drained = False
        try:
            while not work.is_paused and not is_drained:
                batch = await pull.next_batch(LANE_LOOK_S)
                for message in batch:
                    if not self._is_redelivery(message):
                        held = Held(message, is_from_lane=True)
                        self._held[held.seq] = held
                        self._held_from_lanes += 1
                        work.queue.append(held)
                self._look_at(work)
                is_drained = not batch and await self._is_drained(work, lane)
        finally:
            lane.pull = None
            await self._bus.close_pull(pull)
            self._give_back_lane_messages(work)
        if not is_drained or work.is_paused:
            return False  # a pause that is over by now: what was just given back comes again
        arrived = lane.spilled
        if self._is_exclusive:
            with contextlib.suppress(NotFoundError):
                await self._bus.js.delete_consumer(self._stream, name)
        # A shared one may have handed out messages to another process by now, which would be given again as new ones by
        # its successor: the server removes it when nobody has asked it for LANE_IDLE_S.
        # What was moved into the lane meanwhile begins another round.
        return lane.spilled == arrived and not lane.unspilled and work.is_idle

    async def _is_drained(self, work: KeyWork, lane: Lane) -> bool:
        if not work.is_idle or lane.unspilled:
            return False
        arrived = lane.spilled
        # The stream itself is asked: what a consumer says it has pending lags behind what was confirmed as stored.
        stored = await self._bus.subjects(self._stream, self._lane_subject(work.key))
        if stored:
            await self._clear_leftovers(work, lane)
        return not stored and work.is_idle and not lane.unspilled and lane.spilled == arrived

    async def _clear_leftovers(self, work: KeyWork, lane: Lane) -> None:
        """What stands in a lane that gives us nothing is another's work, or tried again later, or is left over."""
        now = self._loop.time()
        if now >= lane.leftovers_at:
            lane.leftovers_at = now + LOOK_FOR_LEFTOVERS_EVERY_S
            name, subject = self._lane_consumer_name(work.key), self._lane_subject(work.key)
            await clear_acknowledged(self._bus, self._stream, name, subject)

    def _give_back_lane_messages(self, work: KeyWork) -> None:
        """What waits here and came from the lane goes back to it: it is worked when the lane is."""
        for held in [held for held in work.queue if held.is_from_lane and held not in work.in_work]:
            work.queue.remove(held)
            held.message.nak()
            self._release(work, held)


async def _refuse(message: Incoming) -> None:
    raise Rejected("BACKLOG_FULL", "the lane of this key is full")
