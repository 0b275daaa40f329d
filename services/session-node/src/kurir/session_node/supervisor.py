"""The process of a node: starts its shards, restarts those that crash, replaces those that have served long enough,
ends them, and speaks for all of them.

Guarantees: a shard that died gives its partitions up at once, because its supervisor knows that it is dead; one that
crashes again and again is restarted with growing pauses; one that is replaced hands over to its successor, partition by
partition, and no other is replaced or restarted meanwhile; no shard outlives its supervisor (see lifeline.py).
It holds no session and reads no command. Not covered: a shard that hangs without dying keeps its leases only as long
as its loop renews them.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec
import structlog

from kurir.contracts.records import Holder
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.metrics import Metrics
from kurir.runtime.registry import RevisionConflict
from kurir.runtime.service import MISCONFIGURED
from kurir.session_node.node_metrics import merged
from kurir.session_node.recycling import AGAIN_AFTER_S, REASONS, Limits, Reason, Watch
from kurir.session_node.settings import SessionNodeSettings
from kurir.session_node.shard_process import ShardProcess

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
CALM_AFTER_S = 60.0  # a shard that ran this long crashed for another reason than the time before
LOOK_S = 5.0
LOOK_READY_S = 0.5
HAND_OVER_WITHIN_S = 300.0  # 200 devices, closed a few at a time; then the rest is handed over as at SIGTERM
RELEASE_TIMEOUT_S = 5.0
KILL_RESERVE_S = 2.0  # of the grace period: a shard that did not end by then is killed
MEGABYTE = 1024 * 1024


class Supervisor:
    """Owns the shard processes of one node. `crash` is told when there is no point in going on."""

    def __init__(self, settings: SessionNodeSettings, bus: Bus, metrics: Metrics, crash: Callable[[str], None]) -> None:
        self._settings = settings
        self._bus = bus
        self._metrics = metrics
        self._crash = crash
        self._restarts = metrics.counter("kurir_shard_restarts_total", "Shard processes started again after they ended")
        self._recycled = metrics.counter(
            "kurir_shards_recycled_total",
            "Shard processes replaced because they had served long enough",
            reason=REASONS,
        )
        self._limits = Limits(
            age_s=settings.recycle_age_s,
            closed_clients=settings.recycle_closed_clients,
            descriptors=settings.recycle_descriptors,
            memory_bytes=settings.recycle_memory_mb * MEGABYTE,
        )
        self._shards: dict[int, ShardProcess] = {}
        self._successors: dict[int, ShardProcess] = {}
        self._replacing = asyncio.Lock()
        self._keeping: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self) -> None:
        """Start every shard; returns at once."""
        self._keeping = [asyncio.create_task(self._keep(index)) for index in range(self._settings.shards)]
        for task in self._keeping:
            task.add_done_callback(self._check)

    async def stop(self) -> None:
        """Let every shard hand over and end; kill those that do not within the grace period."""
        self._is_stopping = True
        running = [shard for shard in (*self._shards.values(), *self._successors.values()) if shard.is_running]
        for shard in running:
            shard.terminate()
        ending = [asyncio.create_task(shard.ended()) for shard in running]
        if ending:
            await asyncio.wait(ending, timeout=self._shard_grace_s + KILL_RESERVE_S / 2)
        for shard in running:
            if shard.is_running:
                log.error("supervisor.shard_killed", shard=shard.index)
                shard.kill()
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, *ending, return_exceptions=True)

    async def all_ready(self) -> bool:
        """True when every shard says that it is ready."""
        if len(self._shards) < self._settings.shards:
            return False
        return all(await asyncio.gather(*(shard.is_ready() for shard in self._shards.values())))

    async def exposition(self) -> bytes:
        """The metrics of all shards that answer and our own, labelled by shard."""
        shards = dict(self._shards)
        answers = await asyncio.gather(*(shard.exposition() for shard in shards.values()))
        parts = {str(index): body for index, body in zip(shards, answers, strict=True) if body is not None}
        return merged({"supervisor": self._metrics.exposition(), **parts})

    async def _keep(self, index: int) -> None:
        """Run one shard for ever."""
        life = crashes = 0
        recycled_at = -AGAIN_AFTER_S
        while not self._is_stopping:
            shard = self._shards[index] = ShardProcess(self._settings, index, life, self._shard_grace_s)
            if not await shard.start() and not self._is_stopping:
                log.error("supervisor.shard_not_heard_of", shard=index)
            while (reason := await self._due(shard, recycled_at + AGAIN_AFTER_S)) is not None:
                recycled_at = time.monotonic()
                shard = self._shards[index] = await self._replaced(shard, reason)
                life = shard.life
            code = await shard.ended()
            if self._is_stopping:
                return
            if code == MISCONFIGURED:
                self._crash(f"shard {index} cannot start with these settings")
                return
            await self._release(shard.id)
            crashes = 1 if time.monotonic() - shard.started_at > CALM_AFTER_S else crashes + 1
            pause_s = restart_pause_s(crashes)
            log.error("supervisor.shard_ended", shard=index, code=code, crashes=crashes, pause_s=pause_s)
            self._restarts.add()
            await asyncio.sleep(pause_s)

    @property
    def _shard_grace_s(self) -> float:
        return max(1.0, self._settings.shutdown_grace_s - KILL_RESERVE_S)

    # Replacing a shard that has served long enough

    async def _due(self, shard: ShardProcess, not_before: float) -> Reason | None:
        """Wait until the shard is to be replaced, and is the one whose turn it is; None when it has ended."""
        watch, end = Watch(self._limits), asyncio.create_task(shard.ended())
        try:
            while not (await asyncio.wait([end], timeout=LOOK_S))[0]:
                vitals = await shard.vitals()
                reason = watch.look(vitals) if vitals is not None else None
                if reason is None or self._replacing.locked() or self._is_stopping or time.monotonic() < not_before:
                    continue
                if vitals is not None and await self.all_ready():  # no other is being started at the moment
                    log.info("supervisor.shard_recycled", shard=shard.index, reason=reason, **vitals._asdict())
                    return reason
        finally:
            end.cancel()
        return None

    async def _replaced(self, shard: ShardProcess, reason: Reason) -> ShardProcess:
        """Start a successor, wait until it has taken over, and end the shard; the one of the two that goes on.

        They stand for the same share of the partitions, and the newer one has it: so each device moves once.
        """
        async with self._replacing:
            index = shard.index
            successor = ShardProcess(self._settings, index, shard.life + 1, self._shard_grace_s)
            self._successors[index] = successor
            try:
                await successor.start()
                await self._taken_over(successor)
                if not successor.is_running:
                    log.error("supervisor.successor_ended", shard=index)
                    await self._release(successor.id)
                    return shard
                await self._retire(shard)
            finally:
                del self._successors[index]
        self._recycled.add(reason=reason)
        return successor

    async def _taken_over(self, successor: ShardProcess) -> None:
        """Wait until the successor has what the shard had, or has ended, or long enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_WITHIN_S):
                while successor.is_running and not await successor.is_ready():  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_READY_S)

    async def _retire(self, shard: ShardProcess) -> None:
        shard.terminate()
        try:
            async with asyncio.timeout(self._settings.shutdown_grace_s):
                await shard.ended()
        except TimeoutError:
            log.error("supervisor.shard_killed", shard=shard.index)
            shard.kill()
            await shard.ended()
        await self._release(shard.id)

    # Giving up what a dead shard held

    async def _release(self, dead_shard: str) -> None:
        """Delete what a dead shard held; if the server cannot be told now, the leases expire."""
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                held = await self._bus.last_by_subjects(keyvalue.stream_of("leases"), "$KV.leases.>")
                for lease in held:
                    if keyvalue.is_marker(lease.headers) or _holder(lease.data) != dead_shard:
                        continue
                    key = keyvalue.key_in("leases", lease.subject)
                    with contextlib.suppress(RevisionConflict):  # it expired meanwhile
                        await keyvalue.delete(self._bus, "leases", key, revision=lease.seq)
                await keyvalue.delete(self._bus, "shards", dead_shard)
        except (PublishError, TimeoutError) as error:
            log.warning("supervisor.leases_not_released", shard=dead_shard, error=repr(error))

    def _check(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash(f"a shard cannot be kept running: {error!r}")


def restart_pause_s(crashes: int) -> float:
    """How long to wait before a shard that crashed so many times in a row (from 1) is started: 0.2 s, 0.4 s … 30 s."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(crashes - 1, 20))


def _holder(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(data, type=Holder).holder
    except msgspec.DecodeError:
        return None
