"""Which partitions this shard owns at the moment, and how that becomes what placement wants.

Guarantees: a partition is worked on only under its lease; it is given up in the order sessions closed, events stored,
lease released, so that the next owner finds everything; a lost lease stops its sessions at once. Partitions are given
away one at a time, so a device's gap is one hand-over, not the whole rebalancing. Not guaranteed: evenness at any time.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from kurir.contracts.records import Holder, Node, Shard, node_key
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.kill_timer import KillTimer
from kurir.runtime.lease import RENEWALS_PER_TTL, Lease, LeaseKeeper
from kurir.runtime.registry import KeyExists, Registry, RevisionConflict
from kurir.session_node.meters import Meters
from kurir.session_node.placement import wanted_owners

log = structlog.get_logger(__name__)

LOOK_S = 1.0  # nobody tells when a lease merely expires
SETTLE_S = 0.5  # shards that start together see each other before they claim
CLAIMS_AT_ONCE = 16
RECORD_LASTS = 2 / 3  # of the leases: one announcement may be missed
STOP_TIMEOUT_S = 60.0  # for the sessions of one partition; longer only if the bus is away
DRAIN_RESERVE_S = 3.0  # of the grace period, to close and release what could not be handed over in order
CUT_WITHIN_S = 2.0  # of these


class Owned(Protocol):
    """A partition that is being worked on."""

    async def stop(self, *, is_lost: bool) -> None:
        """Stop working on it and return when everything is stored; with `is_lost` somebody else may own it already.

        Called with `is_lost` while it is under way without when that takes too long, or the lease is lost meanwhile.
        """
        ...


def lease_key(partition: int) -> str:
    """The key in `leases` of one partition."""
    return f"p{partition:02d}"


class Ownership:
    """`open_partition` begins the work on a partition. `on_impostor` is told when another process bears our name.

    `kill_timer` ends this process when it stood still until its leases were over.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        me: Shard,
        shards: Registry[Shard],
        leases: Registry[Holder],
        nodes: Registry[Node],
        lease_ttl_s: int,
        open_partition: Callable[[int, Lease], Awaitable[Owned]],
        session_count: Callable[[], int],
        on_impostor: Callable[[str], None],
        meters: Meters,
        kill_timer: KillTimer | None = None,
    ) -> None:
        self._me = me
        self._shards = shards
        self._leases = leases
        self._nodes = nodes
        # Gone before the leases of a dead shard, so that each partition is claimed as soon as its lease is over.
        self._record_ttl_s = math.ceil(lease_ttl_s * RECORD_LASTS)
        self._announce_every_s = lease_ttl_s / RENEWALS_PER_TTL
        self._open_partition = open_partition
        self.session_count = session_count
        self._on_impostor = on_impostor
        self._meters = meters
        self._keeper = LeaseKeeper(
            bus,
            "leases",
            holder=me.id,
            node=me.node,
            ttl_s=lease_ttl_s,
            on_lost=self._lease_lost,
            kill_timer=kill_timer,
        )
        self._owned: dict[int, Owned] = {}
        self._busy: dict[int, asyncio.Task[None]] = {}  # being claimed, given away or stopped
        self._giving: asyncio.Task[None] | None = None
        self._lost: dict[int, asyncio.Future[None]] = {}  # while one is given away: done when its lease is lost
        self._claims = asyncio.Semaphore(CLAIMS_AT_ONCE)
        self._news = asyncio.Event()
        self._is_settled = False
        self._none_open = False
        self._revision = 0
        self._announcing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._forget: list[Callable[[], None]] = []

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that are being worked on."""
        return frozenset(self._owned)

    @property
    def is_settled(self) -> bool:
        """True once this shard has everything that it should have at first."""
        return self._is_settled

    async def start(self) -> None:
        """Announce this shard and begin to claim. Waits while another process of the same name is alive."""
        await self._announce_first()
        await self._keeper.start()
        self._forget = [
            self._shards.on_change(self._shard_changed),
            self._leases.on_change(self._lease_changed),
            self._nodes.on_change(self._changed),
        ]
        self._announcing = asyncio.create_task(self._announce())
        self._looking = asyncio.create_task(self._look())

    async def stop(self, within_s: float) -> None:
        """Hand over every partition, one by one while somebody takes them, and leave the list of shards."""
        if self._announcing is None or self._looking is None:
            return
        self._looking.cancel()
        self._me = msgspec.structs.replace(self._me, draining=True)
        try:
            async with asyncio.timeout(max(0.0, within_s - DRAIN_RESERVE_S)):
                await self._drain()
        except TimeoutError:
            left = sorted({*self._owned, *self._busy})
            log.error("ownership.not_drained", left=left)
            for partition in left:
                self._begin_to_cut(partition)
            if left:
                await asyncio.wait(self._busy.values(), timeout=CUT_WITHIN_S)
        for forget in self._forget:
            forget()
        ending = [self._announcing, self._looking, *self._busy.values()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._keeper.stop()
        with contextlib.suppress(PublishError, RevisionConflict):
            await self._shards.delete(self._me.id, self._revision)

    # The loop

    def _changed(self, *_: object) -> None:
        self._news.set()

    # What is merely renewed is no news: all shards hear of each renewal of every other.

    def _lease_changed(self, _: str, old: Holder | None, new: Holder | None) -> None:
        if old is None or new is None or old.holder != new.holder:
            self._news.set()

    def _shard_changed(self, _: str, old: Shard | None, new: Shard | None) -> None:
        if old is None or new is None or msgspec.structs.replace(old, sessions=new.sessions) != new:
            self._news.set()

    async def _look(self) -> None:
        await asyncio.sleep(SETTLE_S)
        while True:
            self._news.clear()
            try:
                self._look_once()
            except Exception:
                log.exception("ownership.round_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S * random.uniform(0.8, 1.2)):
                    await self._news.wait()

    def _look_once(self) -> None:
        wanted = self._wanted()
        missing = [p for p, owner in wanted.items() if owner == self._me.id and p not in self._owned]
        for partition in missing:
            if partition not in self._busy and self._seems_free(partition):
                self._begin(partition, self._claim(partition))
        surplus = [p for p in self._owned if wanted.get(p, self._me.id) != self._me.id and p not in self._busy]
        if surplus and self._giving is None:
            self._giving = self._begin(surplus[0], self._give_away(surplus[0]))
        self._is_settled = self._is_settled or not missing
        self._meters.partitions.set(len(self._owned))
        self._note_cordon()

    def _wanted(self) -> dict[int, str]:
        # Our own record may have expired while the bus was away; we are alive all the same.
        others = [shard for _, shard in self._shards.items() if shard.id != self._me.id]
        holders = {int(key[1:]): lease.holder for key, lease in self._leases.items()}
        holders |= dict.fromkeys(self._owned, self._me.id)
        return wanted_owners([*others, self._me], nodes=[node for _, node in self._nodes.items()], holders=holders)

    def _note_cordon(self) -> None:
        """Say what operators want of this node, and when they want it of every node, which cannot be honoured."""
        states = {key: node.state for key, node in self._nodes.items()}
        mine = states.get(node_key(self._me.node), "open")
        self._meters.cordoned.set(0 if mine == "open" else 1)
        shards = [shard for _, shard in self._shards.items() if not shard.draining]
        none_open = bool(shards) and all(states.get(node_key(shard.node), "open") != "open" for shard in shards)
        if none_open and not self._none_open:
            log.error("ownership.no_node_is_open", state=mine)
        self._none_open = none_open

    def _seems_free(self, partition: int) -> bool:
        """No lease is known, or that of a shard that is not there any more; the claim decides."""
        held = self._leases.get(lease_key(partition))
        return held is None or (held.holder != self._me.id and held.holder not in self._shards)

    def _begin(self, partition: int, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = self._busy[partition] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._done(partition, task))
        return task

    def _done(self, partition: int, task: asyncio.Task[None]) -> None:
        if self._busy.get(partition) is task:
            del self._busy[partition]
        if self._giving is task:
            self._giving = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("ownership.failed", partition=partition, exc_info=error)
        self._news.set()

    # Claiming

    async def _claim(self, partition: int) -> None:
        async with self._claims:
            owned = await self._claimed(partition)
        if owned is None:
            await asyncio.sleep(LOOK_S)  # somebody was faster, it is about to expire, or it could not be opened
        elif lease_key(partition) in self._keeper.held:
            self._owned[partition] = owned
            self._meters.partitions.set(len(self._owned))
        else:
            await self._cut(partition, owned)

    async def _claimed(self, partition: int) -> Owned | None:
        try:
            lease = await self._keeper.claim(lease_key(partition))
        except PublishError as error:
            log.warning("ownership.not_claimed", partition=partition, error=str(error))
            return None
        if lease is None:
            return None
        try:
            return await self._open_partition(partition, lease)
        except Exception:
            log.exception("ownership.not_opened", partition=partition)
            await self._keeper.release(lease.key)
            return None
        except BaseException:
            await self._keeper.release(lease.key)
            raise

    # Giving up

    async def _give_away(self, partition: int) -> None:
        """Stop the sessions, then release: the next owner finds everything stored."""
        owned = self._owned.pop(partition)
        lost = self._lost[partition] = asyncio.get_running_loop().create_future()
        stopping = asyncio.create_task(owned.stop(is_lost=False))
        try:
            await asyncio.wait({stopping, lost}, timeout=STOP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            error = stopping.exception() if stopping.done() else TimeoutError("it takes too long, or the lease is lost")
            if error is not None:
                log.error("ownership.not_given_away_in_order", partition=partition, error=repr(error))
                # Whatever holds it up, its sessions must not outlive the lease.
                await self._cut(partition, owned)
        finally:
            del self._lost[partition]
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            await self._keeper.release(lease_key(partition))
        self._meters.partitions.set(len(self._owned))

    def _lease_lost(self, lease: Lease) -> None:
        partition = int(lease.key[1:])
        log.warning("ownership.partition_lost", partition=partition)
        self._meters.leases_lost.add()
        self._begin_to_cut(partition)

    def _begin_to_cut(self, partition: int) -> None:
        owned, lost = self._owned.pop(partition, None), self._lost.get(partition)
        # One that is being claimed or given away is looked after by that task.
        if owned is not None:
            self._begin(partition, self._cut(partition, owned))
        elif lost is not None and not lost.done():
            lost.set_result(None)

    async def _cut(self, partition: int, owned: Owned) -> None:
        """Close the sessions at once, whatever is under way."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await owned.stop(is_lost=True)
        except Exception as error:
            log.error("ownership.not_stopped_in_order", partition=partition, error=repr(error))

    async def _drain(self) -> None:
        with contextlib.suppress(PublishError):
            await self._renew_record()
        while self._owned or self._busy:
            self._news.clear()
            next_ones = sorted(p for p in self._owned if p not in self._busy)
            if self._has_takers():
                # One at a time keeps each gap short; with nobody to take them there is none to keep short.
                next_ones = [] if self._busy else next_ones[:1]
            for partition in next_ones:
                self._begin(partition, self._give_away(partition))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    def _has_takers(self) -> bool:
        return any(shard.id != self._me.id and not shard.draining for _, shard in self._shards.items())

    # Our record among the shards

    async def _announce_first(self) -> None:
        while True:
            try:
                self._revision = await self._shards.create(self._me.id, self._me, ttl_s=self._record_ttl_s)
                return
            except KeyExists:
                log.warning("ownership.name_taken", shard=self._me.id)  # our former life, until it expires
            except PublishError as error:
                log.warning("ownership.not_announced", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(self._announce_every_s * random.uniform(0.8, 1.0))
            self._me = msgspec.structs.replace(self._me, sessions=self.session_count())
            try:
                await self._renew_record()
            except PublishError as error:
                log.warning("ownership.not_announced", error=str(error))

    async def _renew_record(self) -> None:
        try:
            self._revision = await self._shards.update(self._me.id, self._me, self._revision, ttl_s=self._record_ttl_s)
            return
        except RevisionConflict:
            found = await self._shards.fetch(self._me.id)
        if found is None:
            with contextlib.suppress(KeyExists):
                self._revision = await self._shards.create(self._me.id, self._me, ttl_s=self._record_ttl_s)
        elif found.value.started_at == self._me.started_at:
            self._revision = found.revision  # our own write, whose confirmation got lost
        else:
            self._on_impostor(f"another process is shard {self._me.id} since {found.value.started_at}")


def a_shard(shard_id: str, slot: str, node: str, capacity: int) -> Shard:
    """The record of this process as a shard."""
    return Shard(id=shard_id, slot=slot, node=node, started_at=datetime.now(UTC), capacity=capacity)
