"""Holding a device still while its keys are copied: no shard may use them before, during or after, until that is over.

Where nobody owns the device's partition we take its lease, so that a node that starts meanwhile leaves it alone. Where
a shard does, the device must be one that its tenant disconnected, and the shard must have put it away; that this stayed
so is asked again before anything counts.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from kurir.contracts.records import Device, Holder, Session
from kurir.contracts.states import Reason
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from kurir.runtime.lease import Lease, LeaseKeeper
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import KeyExists, Registry, RevisionConflict, key_of
from kurir.session_node.desired import LIVE
from kurir.session_node.ownership import lease_key

LEASE_TTL_S = 15
PUT_AWAY_WITHIN_S = 25.0  # a wanted close lets the send under way end (10 s) and the engine close (10 s)
LOOK_S = 0.2
_PUT_AWAY: frozenset[Reason | None] = frozenset({"requested", "qr_timeout", "pairing_failed", None})


class DeviceBusy(Exception):
    """The device cannot be held still; the text says why and what to do."""


class Still(Struct, frozen=True):
    """A device that is held still. `lease` is ours when no shard has it."""

    device: Device
    session: Session | None
    session_revision: int
    lease: Lease | None

    @property
    def key(self) -> str:
        return key_of(self.device.tenant, self.device.id)


class Stillness:
    """Over registries that were started."""

    def __init__(
        self,
        bus: Bus,
        devices: Registry[Device],
        sessions: Registry[Session],
        leases: Registry[Holder],
        *,
        node: str,
    ) -> None:
        self._devices = devices
        self._sessions = sessions
        self._leases = leases
        # A lease that is lost shows in `Lease.valid`, which is asked before anything counts.
        self._keeper = LeaseKeeper(
            bus, "leases", holder=f"command-line-{os.getpid()}", node=node, ttl_s=LEASE_TTL_S, on_lost=lambda _: None
        )

    async def start(self) -> None:
        await self._keeper.start()

    async def stop(self) -> None:
        await self._keeper.stop()

    @contextlib.asynccontextmanager
    async def hold(self, tenant: str, device_id: str) -> AsyncIterator[Still]:
        """Raises DeviceBusy, or PublishError while NATS is away."""
        key = key_of(tenant, device_id)
        lease = await self._keeper.claim(lease_key(partition_of(device_id, COMMAND_PARTITIONS)))
        try:
            yield await (self._read(key, lease) if lease is not None else self._put_away(key))
        finally:
            if lease is not None:
                await self._keeper.release(lease.key)

    async def confirm(self, still: Still) -> None:
        """Nobody has used the keys since. Raises DeviceBusy."""
        if still.lease is not None:
            if not still.lease.valid():
                raise DeviceBusy(
                    "the way to NATS was away for too long, and a shard may have taken the device: run this again"
                )
            return
        device = await self._devices.fetch(still.key)
        if device is None or device.value.wanted != "disconnected":
            raise DeviceBusy("it was connected or deleted meanwhile: disconnect it, and run this again")
        if device.value.connect_generation != still.device.connect_generation:
            raise DeviceBusy("it was connected meanwhile: run this again")

    async def write(self, still: Still, session: Session) -> None:
        """Write the session's record in nobody's name; who owns the device takes it over. Raises DeviceBusy."""
        await self.confirm(still)
        try:
            if still.session is None:
                await self._sessions.create(still.key, session)
            else:
                await self._sessions.update(still.key, session, still.session_revision)
        except (KeyExists, RevisionConflict):
            raise DeviceBusy("its owner wrote of it meanwhile: run this again") from None
        await self.confirm(still)

    async def _read(self, key: str, lease: Lease | None) -> Still:
        device, session = await self._devices.fetch(key), await self._sessions.fetch(key)
        if device is None:
            raise DeviceBusy("there is no such device: create it first")
        if session is None:
            return Still(device.value, None, 0, lease)
        return Still(device.value, session.value, session.revision, lease)

    async def _put_away(self, key: str) -> Still:
        """The device, once the shard that owns it has put it away."""
        held = self._leases.get(lease_key(partition_of(key.partition(".")[2], COMMAND_PARTITIONS)))
        whose = f"shard {held.holder}" if held is not None else "a shard"
        ends_at = time.monotonic() + PUT_AWAY_WITHIN_S
        while True:
            still = await self._read(key, None)
            if still.device.wanted != "disconnected":
                raise DeviceBusy(
                    f"it is wanted connected, and {whose} is there for it: disconnect it first (POST /devices/"
                    f"{still.device.id}/disconnect), or stop all session nodes"
                )
            is_over = time.monotonic() >= ends_at
            is_old = datetime.now(UTC) - still.device.updated_at > timedelta(seconds=PUT_AWAY_WITHIN_S)
            if is_put_away(still.device, still.session, is_settled=is_over or is_old):
                return still
            if is_over:
                raise DeviceBusy(f"{whose} has not put it away yet: run this again, and look into the shard's log")
            await asyncio.sleep(LOOK_S)


def is_put_away(device: Device, session: Session | None, *, is_settled: bool) -> bool:
    """Whether the owner of a device that is wanted disconnected has closed its session.

    It says so, unless there was nothing to close; `is_settled` when the time is over in which it would have said so.
    """
    if session is None:
        return is_settled or device.connect_generation == 0
    if session.state in LIVE:
        return False
    return is_settled or (session.reason in _PUT_AWAY and session.generation >= device.connect_generation)


def unsigned(session: Session | None, device: Device, **facts: Any) -> Session:
    """The record of a session that nobody holds, with these facts; what else was known of it stays."""
    now = datetime.now(UTC)
    known = session or Session(device=device.id, tenant=device.tenant, state="disconnected", at=now)
    return msgspec.structs.replace(
        known,
        state="disconnected",
        reason="requested",
        at=max(now, known.at + timedelta(milliseconds=1)),  # later than its owner's last word, by whatever clock
        qr=None,
        qr_expires_at=None,
        pairing_code=None,
        banned_until=None,
        node="",
        shard="",
        epoch=0,
        generation=device.connect_generation,
        **facts,
    )
