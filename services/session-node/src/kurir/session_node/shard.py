"""One shard: a process that holds the sessions of the partitions it owns. Read it and you know everything that exists.

Parts are started in the order below and stopped in reverse; partitions are handed over first of all.
"""

import asyncio
import gc
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from kurir.contracts.records import Device, Holder, Node, Session
from kurir.contracts.records import Shard as ShardRecord
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.broker import Bus
from kurir.runtime.kill_timer import KillTimer
from kurir.runtime.lease import Lease
from kurir.runtime.metrics import Metrics
from kurir.runtime.objects import ObjectStore
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey
from kurir.runtime.service import Lifetime
from kurir.session_node.admission import Admission, Limits
from kurir.session_node.engine_room import EngineRoom
from kurir.session_node.engines.engine import Engine
from kurir.session_node.engines.neonize.device_store import DeviceStore
from kurir.session_node.engines.neonize.postgres_store import PostgresStore
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from kurir.session_node.lifeline import follow_supervisor, report_health_port
from kurir.session_node.link_preview import LinkPreviews, Web
from kurir.session_node.memory_room import MemoryRoom
from kurir.session_node.meters import FLUSH_S, Meters
from kurir.session_node.ownership import Ownership, a_shard
from kurir.session_node.partition import Partition
from kurir.session_node.rpc import Rpc
from kurir.session_node.session import DeviceSession
from kurir.session_node.settings import SessionNodeSettings
from kurir.session_node.shared import Shared

GC_THRESHOLDS = (20_000, 20, 50)
STOP_RESERVE_S = 2.0  # of the grace period, for what is stopped after the partitions


async def start_shard(life: Lifetime, settings: SessionNodeSettings, *, supervised: int | None = None) -> None:
    """Compose a shard process. `supervised` is the file descriptor on which a supervisor waits for our health port."""
    structlog.contextvars.bind_contextvars(shard=settings.shard_id)
    if supervised is not None:
        report_health_port(supervised, life.health_url)
        follow_supervisor(life.stop, settings.shutdown_grace_s)
    creds = str(settings.nats_creds) if settings.nats_creds else None
    bus = await Bus.connect(settings.nats_url, name=f"kurir-{settings.shard_id}", creds=creds)
    life.on_stop("bus", bus.close)
    # The engine's threads would go on after a freeze, and log in anew: only the kernel stops them in time. One that
    # nobody would start again has to do without.
    kill_timer = KillTimer() if supervised is not None else None
    shard = Shard(bus, settings, life.metrics, engine_builders(settings), on_impostor=life.crash, kill_timer=kill_timer)
    life.on_stop("shard", shard.stop)
    await shard.start()
    # What lives now lives for long, and commands leave no cycles behind: the collector cost a third of the CPU time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    life.health.ready_when("broker", lambda: bus.connected)
    life.health.ready_when("partitions", lambda: shard.is_settled)


def engine_builders(settings: SessionNodeSettings) -> dict[str, Callable[[], Engine]]:
    """How each engine is made, on the first device that needs it."""

    def sandbox() -> Engine:
        from kurir.session_node.engines.sandbox.client import SandboxEngine

        return SandboxEngine(_folder(settings, "sandbox"))

    def neonize() -> Engine:
        from kurir.session_node.engines.neonize.engine import NeonizeEngine  # 70 MB, and its import has side effects

        return NeonizeEngine(
            device_store(settings),
            proxy=settings.whatsapp_proxy,
            proxy_guard=AddressGuard.parse(settings.egress_allowed, require_https=False),
            max_sessions=settings.shard_max_sessions,
            ack_timeout_s=settings.send_timeout_s,
        )

    return {"sandbox": sandbox, "neonize": neonize}


def _master_key(settings: SessionNodeSettings) -> MasterKey | None:
    is_given = settings.master_key is not None or settings.master_key_file is not None
    return MasterKey.load(settings) if is_given else None


def device_store(settings: SessionNodeSettings) -> DeviceStore:
    """Where the neonize engine keeps devices' keys: in the database of DEVICE_STORE_URL, or else in files."""
    if settings.device_store_url is not None:
        return PostgresStore(settings.device_store_url.get_secret_value())
    return SqliteStore(_folder(settings, "neonize"))


def open_web(settings: SessionNodeSettings) -> Web:
    """What previews of links are read with."""
    from kurir.session_node.web_pages import WebPages  # 6 MB that most shards never need

    return WebPages(settings.egress_allowed, proxy=settings.egress_proxy, ca_file=settings.egress_ca_file)


def _folder(settings: SessionNodeSettings, engine: str) -> Path:
    return settings.device_store_dir / engine


class Shard:
    """The parts of a shard on a bus that its owner opens and closes."""

    def __init__(
        self,
        bus: Bus,
        settings: SessionNodeSettings,
        metrics: Metrics,
        engines: Mapping[str, Callable[[], Engine]],
        *,
        on_impostor: Callable[[str], None],
        kill_timer: KillTimer | None = None,
    ) -> None:
        self._settings = settings
        self._devices = Registry(bus, "devices", Device)
        self._sessions = Registry(bus, "sessions", Session)
        self._shards = Registry(bus, "shards", ShardRecord)
        self._leases = Registry(bus, "leases", Holder)
        self._nodes = Registry(bus, "nodes", Node)
        self._engines = EngineRoom(engines)
        limits = Limits(settings.shard_max_sessions, settings.logins_per_s)
        self._admission = Admission({"neonize": limits}, MemoryRoom(settings.memory_reserve_mb).shortage)
        self._meters = Meters(metrics)
        self._shared = Shared(
            bus=bus,
            media=ObjectStore(bus, MEDIA_BUCKET),
            sessions=self._sessions,
            engines=self._engines,
            admission=self._admission,
            meters=self._meters,
            previews=LinkPreviews(partial(open_web, settings)),
            node=settings.node_name,
            shard=settings.shard_id,
            inbound_media_max_bytes=settings.inbound_media_max_bytes,
            master_key=_master_key(settings),
            silent_after_s=settings.silent_after_s,
        )
        self.partitions: dict[int, Partition] = {}
        self._keys_of: dict[int, set[str]] = defaultdict(set)  # partition -> keys of devices and of their sessions
        self._devices.on_change(self._device_changed)
        self._sessions.on_change(self._session_changed)
        creds = str(settings.nats_creds) if settings.nats_creds else None
        self._rpc = Rpc(
            settings.nats_url,
            name=f"kurir-{settings.shard_id}-rpc",
            creds=creds,
            find=self._find,
            media=self._shared.media,
            meters=self._meters,
        )
        self._ownership = Ownership(
            bus,
            me=a_shard(settings.shard_id, settings.shard_slot, settings.node_name, settings.shard_capacity),
            shards=self._shards,
            leases=self._leases,
            nodes=self._nodes,
            lease_ttl_s=settings.lease_ttl_s,
            open_partition=self._open_partition,
            session_count=lambda: sum(partition.open_sessions for partition in self.partitions.values()),
            on_impostor=on_impostor,
            meters=self._meters,
            kill_timer=kill_timer,
        )
        self._flushing: asyncio.Task[None] | None = None
        metrics.gauge_from("kurir_sessions", "Sessions that are open at the engine", self._ownership.session_count)
        metrics.gauge_from(
            "kurir_sessions_without_room",
            "Devices that wait until this shard has room for their sessions",
            lambda: float(self._admission.refused),
        )

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this shard works on."""
        return self._ownership.owned

    @property
    def is_settled(self) -> bool:
        """True once this shard has everything that it should have at first."""
        return self._ownership.is_settled

    async def start(self) -> None:
        """Read the registries, then begin to claim partitions."""
        for registry in (self._devices, self._sessions, self._shards, self._leases, self._nodes):
            await registry.start()
        self._flushing = asyncio.create_task(self._flush_meters(), name="meters")
        await self._rpc.start()
        await self._ownership.start()

    async def stop(self) -> None:
        """Hand over all partitions, then stop the rest. Harmless when it was not started to the end."""
        await self._ownership.stop(self._settings.shutdown_grace_s - STOP_RESERVE_S)
        if self._flushing is not None:
            self._flushing.cancel()
        await self._rpc.stop()
        await self._shared.previews.close()
        await self._engines.stop()
        for registry in (self._nodes, self._leases, self._shards, self._sessions, self._devices):
            await registry.stop()

    async def _flush_meters(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._meters.flush()
            self._admission.look()

    async def _open_partition(self, number: int, lease: Lease) -> Partition:
        partition = Partition(
            number, lease, self._shared, self._devices, closed=partial(self._partition_closed, number)
        )
        self.partitions[number] = partition
        try:
            await partition.start(sorted(self._keys_of[number]))
            await self._rpc.open(number, lease)
        except BaseException:
            await partition.stop(is_lost=True)
            raise
        return partition

    async def _partition_closed(self, number: int) -> None:
        self.partitions.pop(number, None)
        await self._rpc.close(number)

    def _find(self, number: int, tenant: str, device: str) -> DeviceSession | None:
        partition = self.partitions.get(number)
        return partition.session(tenant, device) if partition is not None else None

    def _device_changed(self, key: str, former: Device | None, device: Device | None) -> None:
        number = self._number_of(key)
        if device is not None:
            self._keys_of[number].add(key)
        elif self._sessions.get(key) is None:
            self._keys_of[number].discard(key)
        partition = self.partitions.get(number)
        if partition is not None:
            partition.device_changed(key, former, device)

    def _session_changed(self, key: str, _: Session | None, session: Session | None) -> None:
        if session is not None:
            number = self._number_of(key)
            self._keys_of[number].add(key)
            if number in self.partitions:
                self.partitions[number].record_written(key, session)
        elif self._devices.get(key) is None:
            self._keys_of[self._number_of(key)].discard(key)

    @staticmethod
    def _number_of(key: str) -> int:
        return partition_of(key.partition(".")[2], COMMAND_PARTITIONS)
