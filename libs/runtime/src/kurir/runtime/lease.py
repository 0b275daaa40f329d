"""Leases: one holder at a time for a key of a KV bucket, and a way to know in time that one is not the holder.

A lease is an entry with a TTL; claiming creates it, renewing writes over its revision, so the server decides every
race. `valid()` counts from the moment *before* the last confirmed renewal was sent, on a clock that also runs while the
process is frozen, and stops a margin short of the TTL: it turns False before anybody else can claim. Check it before
each act that needs the lease; an act that takes longer than the margin is what the fencing `token` is for. A process
that cannot look, because it is frozen or stuck, is ended by its `KillTimer` before its first lease can be claimed.
Not covered: a server whose own clock jumps ahead by more than the margin.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec
import structlog

from kurir.contracts.records import Holder
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.keyvalue import KeyExists, RevisionConflict
from kurir.runtime.kill_timer import KillTimer

log = structlog.get_logger(__name__)

RENEWALS_PER_TTL = 3
RETRY_S = 0.5  # after a renewal that failed
TICK_S = 0.1
TOGETHER = 0.25  # of the time between two renewals
END_BEFORE = 0.25  # of the margin: for the kernel to end the process before anybody can claim

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # counts suspended time too, where there is such a clock


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class LeaseLost(Exception):
    """The lease is not ours any more; whatever it covered must stop."""


class Lease:
    """The claim of one process on one key. `ttl_s` are whole seconds; the margin defaults to a fifth of them.

    `token` is the revision of the claim: it grows with each new holder, and never while the holder stays.
    `revision` is the one of the last renewal.
    """

    def __init__(
        self, bus: Bus, bucket: str, key: str, *, holder: str, node: str, ttl_s: int, margin_s: float | None = None
    ) -> None:
        self.key = key
        self.token = 0
        self.revision = 0
        self.ttl_s = ttl_s
        self.margin_s = ttl_s / 5 if margin_s is None else margin_s
        if not 0 <= self.margin_s < ttl_s - ttl_s / RENEWALS_PER_TTL:
            raise ValueError("a margin this long leaves no time to renew")
        self._bus = bus
        self._bucket = bucket
        self._holder = holder
        self._node = node
        self._record: Holder | None = None
        self._renewed_at = 0.0
        self._is_held = False
        self._lock = asyncio.Lock()

    def valid(self) -> bool:
        """True while nobody else can have the lease."""
        return self.remaining_s() > 0

    def remaining_s(self) -> float:
        """Seconds for which the lease is certain without another renewal; 0 when it is not held."""
        if not self._is_held:
            return 0.0
        return max(0.0, self._renewed_at + self.ttl_s - self.margin_s - _now())

    @property
    def ends_at(self) -> float:
        """When another could claim it if it is not renewed again, on CLOCK_BOOTTIME."""
        return self._renewed_at + self.ttl_s

    def age_s(self) -> float:
        """Seconds since the last confirmed renewal was sent."""
        return _now() - self._renewed_at

    async def claim(self) -> bool:
        """Take the lease if it is free, or if it is our own from a claim or renewal that was never confirmed.

        Returns whether it is ours. Raises PublishError when the server cannot be asked.
        """
        async with self._lock:
            mine, record = self._record, Holder(holder=self._holder, node=self._node, since=datetime.now(UTC))
            self._record = record
            sent_at = _now()
            try:
                revision = await keyvalue.create(
                    self._bus,
                    self._bucket,
                    self.key,
                    msgspec.json.encode(record),
                    ttl_s=self.ttl_s,
                    timeout_s=self._timeout_s,
                )
            except KeyExists:
                self._record = mine
                written = await self._written_by_us()
                if written is None:
                    return False
                try:
                    sent_at, revision = await self._write(written)
                except RevisionConflict:
                    return False
            self.token = revision
            self._hold(revision, sent_at)
            return self.valid()

    async def renew(self) -> None:
        """Start the TTL afresh. Raises LeaseLost, or PublishError when it is unknown (until `valid()` says no)."""
        async with self._lock:
            if not self._is_held:
                raise LeaseLost(self.key)
            try:
                try:
                    sent_at, revision = await self._write(self.revision)
                except RevisionConflict:
                    # A renewal whose confirmation got lost has moved the revision: then the lease is still ours.
                    written = await self._written_by_us()
                    if written is None:
                        raise
                    sent_at, revision = await self._write(written)
            except RevisionConflict as conflict:
                self._is_held = False
                raise LeaseLost(self.key) from conflict
            if not self._is_held:  # given up while the renewal was on its way
                raise LeaseLost(self.key)
            self._hold(revision, sent_at)

    async def release(self) -> None:
        """Give the lease up, so that others can claim at once. If the server cannot be told, the TTL tells it."""
        self._is_held = False  # before anything else: from here on `valid()` is False
        async with self._lock:
            if self._record is None:
                return
            with contextlib.suppress(PublishError, RevisionConflict):
                written = await self._written_by_us()
                if written is not None:
                    await keyvalue.delete(
                        self._bus, self._bucket, self.key, revision=written, timeout_s=self._timeout_s
                    )
            self._record = None

    def abandon(self) -> None:
        """Hold it no longer without telling the server; `valid()` is False from here on."""
        self._is_held = False

    @property
    def _timeout_s(self) -> float:
        # Two unanswered renewals and a third one fit into one TTL.
        return self.ttl_s / (2 * RENEWALS_PER_TTL)

    async def _write(self, over: int) -> tuple[float, int]:
        sent_at = _now()
        revision = await keyvalue.put(
            self._bus,
            self._bucket,
            self.key,
            msgspec.json.encode(self._record),
            revision=over,
            ttl_s=self.ttl_s,
            timeout_s=self._timeout_s,
        )
        return sent_at, revision

    async def _written_by_us(self) -> int | None:
        """The revision of the entry if it is what this lease wrote."""
        stored = await keyvalue.read(self._bus, self._bucket, self.key)
        if stored is None or keyvalue.is_marker(stored.headers) or self._record is None:
            return None
        try:
            is_ours = msgspec.json.decode(stored.data, type=Holder) == self._record
        except msgspec.DecodeError:
            return None
        return stored.seq if is_ours else None

    def _hold(self, revision: int, sent_at: float) -> None:
        self.revision = revision
        self._renewed_at = sent_at
        self._is_held = True


class LeaseKeeper:
    """Holds many leases of one process: renews each at a third of its TTL and says when one is gone.

    `on_lost` is called once per loss, before anybody else can claim if the process runs at all, and must begin to stop
    what the lease covered at once (it has the margin for it). It is not called for leases that were released.
    `kill_timer` ends a process that did neither renew its leases nor give them up in three quarters of the margin.
    """

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        *,
        holder: str,
        node: str,
        ttl_s: int,
        on_lost: Callable[[Lease], None],
        margin_s: float | None = None,
        kill_timer: KillTimer | None = None,
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._holder = holder
        self._node = node
        self._ttl_s = ttl_s
        self._margin_s = margin_s
        self._on_lost = on_lost
        self._kill_timer = kill_timer
        self._leases: dict[str, Lease] = {}  # every key ever tried: a lease knows its own unconfirmed writes
        self._held: dict[str, Lease] = {}
        self._due_at: dict[str, float] = {}
        self._fences: dict[str, asyncio.TimerHandle] = {}
        self._renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> Mapping[str, Lease]:
        """The leases that are ours, by key; read-only."""
        return MappingProxyType(self._held)

    async def start(self) -> None:
        self._renewing = asyncio.create_task(self._renew_in_time())

    async def stop(self) -> None:
        """Release everything and end. Stop what the leases cover first."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None
        await asyncio.gather(*(self.release(key) for key in list(self._held)))

    async def claim(self, key: str) -> Lease | None:
        """The lease if it is free or already ours, else None. Raises PublishError when the server cannot be asked."""
        if key in self._held:
            return self._held[key]
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease(
                self._bus,
                self._bucket,
                key,
                holder=self._holder,
                node=self._node,
                ttl_s=self._ttl_s,
                margin_s=self._margin_s,
            )
        if not await lease.claim():
            return None
        self._held[key] = lease
        self._plan(lease)
        self._fence(lease)
        log.info("lease.claimed", bucket=self._bucket, lease=key, epoch=lease.token)
        return lease

    async def release(self, key: str) -> None:
        """Give one lease up; others can claim it at once."""
        lease = self._forget(key)
        if lease is not None:
            await lease.release()
            log.info("lease.released", bucket=self._bucket, lease=key, epoch=lease.token)

    async def _renew_in_time(self) -> None:
        while True:
            now = _now()
            due = [self._held[key] for key, at in self._due_at.items() if at <= now]
            if due:
                # Those that are nearly due go along: everybody who watches leases is woken once and not for each.
                soon = now + self._ttl_s / RENEWALS_PER_TTL * TOGETHER
                due = [self._held[key] for key, at in self._due_at.items() if at <= soon]
            await asyncio.gather(*(self._renew(lease) for lease in due))
            await asyncio.sleep(TICK_S)

    async def _renew(self, lease: Lease) -> None:
        try:
            await lease.renew()
        except LeaseLost:
            self._lose(lease, "taken or expired")
        except PublishError as error:
            if lease.key in self._held:
                self._due_at[lease.key] = _now() + RETRY_S
            log.warning("lease.not_renewed", lease=lease.key, remaining_s=lease.remaining_s(), error=str(error))
        except Exception:
            log.exception("lease.renewal_failed", key=lease.key)
            if lease.key in self._held:
                self._due_at[lease.key] = _now() + RETRY_S
        else:
            self._plan(lease)

    def _plan(self, lease: Lease) -> None:
        if self._held.get(lease.key) is lease:
            # Spread, so that processes that started together do not renew together for ever.
            self._due_at[lease.key] = _now() + lease.ttl_s / RENEWALS_PER_TTL * random.uniform(0.8, 1.0)
            self._put_off_the_end()

    def _put_off_the_end(self) -> None:
        if self._kill_timer is not None:
            ends = (lease.ends_at - lease.margin_s * END_BEFORE for lease in self._held.values())
            self._kill_timer.set(min(ends, default=None))

    def _fence(self, lease: Lease) -> None:
        """Look again when the lease would run out; by then it has been renewed, or it is lost."""
        if self._held.get(lease.key) is not lease:
            return
        if lease.valid():
            self._fences[lease.key] = asyncio.get_running_loop().call_later(lease.remaining_s(), self._fence, lease)
        else:
            self._lose(lease, "not renewed in time")

    def _lose(self, lease: Lease, reason: str) -> None:
        if self._held.get(lease.key) is not lease:
            return
        self._forget(lease.key)
        lease.abandon()
        log.warning("lease.lost", bucket=self._bucket, lease=lease.key, epoch=lease.token, reason=reason)
        try:
            self._on_lost(lease)
        except Exception:
            log.exception("lease.on_lost_failed", key=lease.key)

    def _forget(self, key: str) -> Lease | None:
        self._due_at.pop(key, None)
        fence = self._fences.pop(key, None)
        if fence is not None:
            fence.cancel()
        lease = self._held.pop(key, None)
        self._put_off_the_end()
        return lease


class Leadership:
    """One leader for a job among all processes that run this with the same key.

    `lead` is called with the lease when this process becomes the leader and is cancelled when it must not be any more;
    it should end within the margin. If it returns or raises, the lease is released and claimed again later.
    """

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        key: str,
        *,
        holder: str,
        node: str,
        ttl_s: int,
        lead: Callable[[Lease], Awaitable[None]],
        margin_s: float | None = None,
    ) -> None:
        self._key = key
        self._lead = lead
        self._lost = asyncio.Event()
        self._keeper = LeaseKeeper(
            bus,
            bucket,
            holder=holder,
            node=node,
            ttl_s=ttl_s,
            margin_s=margin_s,
            on_lost=lambda _: self._lost.set(),
        )
        self._again_after_s = ttl_s / RENEWALS_PER_TTL
        self._task: asyncio.Task[None] | None = None

    @property
    def is_leader(self) -> bool:
        lease = self._keeper.held.get(self._key)
        return lease is not None and lease.valid()

    async def start(self) -> None:
        """Begin to stand for election; returns at once."""
        await self._keeper.start()
        self._task = asyncio.create_task(self._stand())

    async def stop(self) -> None:
        """End the work if we lead, and let another lead at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._keeper.stop()

    async def _stand(self) -> None:
        while True:
            try:
                lease = await self._keeper.claim(self._key)
            except PublishError as error:
                log.warning("leadership.not_claimed", lease=self._key, error=str(error))
                lease = None
            if lease is not None:
                await self._work(lease)
            await asyncio.sleep(self._again_after_s * random.uniform(0.8, 1.0))

    async def _work(self, lease: Lease) -> None:
        self._lost.clear()
        work = asyncio.ensure_future(self._lead(lease))
        lost = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait([work, lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            work.cancel()
            _, late = await asyncio.wait([work], timeout=lease.margin_s)
            if late:
                log.critical("leadership.work_did_not_end", lease=self._key, margin_s=lease.margin_s)
            elif not work.cancelled() and work.exception() is not None:
                log.error("leadership.work_failed", lease=self._key, exc_info=work.exception())
            await self._keeper.release(self._key)
