"""What may still happen to a partition while its owner gives it up."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from kurir.contracts.records import Holder, Node, Shard
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.lease import Lease
from kurir.runtime.metrics import Metrics
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry
from kurir.session_node import ownership
from kurir.session_node.engines.engine import Engine, Report, SessionSpec, StateChanged
from kurir.session_node.meters import Meters
from kurir.session_node.ownership import Ownership, a_shard
from tests.broker.test_session_node_session import Puppet, PuppetSession, Stage
from tests.broker.test_session_node_session import stage as stage
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import LEASE_TTL_S, Gateway, LocalShard


class SlowToLeave(Puppet):
    """Its sessions are closed when they may be."""

    def __init__(self) -> None:
        super().__init__()
        self.is_leaving, self.may_leave = asyncio.Event(), asyncio.Event()

    async def open(self, spec: SessionSpec, report: Report) -> PuppetSession:
        session = Leaving(spec, report, self)
        self.opened.append(session)
        report(StateChanged(state="connected", jid="628@s.whatsapp.net", phone="628"))
        return session


class Leaving(PuppetSession):
    def __init__(self, spec: SessionSpec, report: Report, engine: SlowToLeave) -> None:
        super().__init__(spec, report)
        self._engine = engine

    async def close(self) -> None:
        self._engine.is_leaving.set()
        await self._engine.may_leave.wait()
        await super().close()


class PuppetShard(LocalShard):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.puppet = SlowToLeave()

    def engines(self) -> dict[str, Callable[[], Engine]]:
        return {"sandbox": lambda: self.puppet}


def two_of_one_partition() -> tuple[str, str]:
    """Names of devices."""
    names = (f"d{number}" for number in itertools.count())
    first = next(names)
    partition = partition_of(first, COMMAND_PARTITIONS)
    return first, next(name for name in names if partition_of(name, COMMAND_PARTITIONS) == partition)


async def test_a_device_that_is_connected_while_its_partition_is_given_up_has_no_session_left_here(
    bus: Bus, nats_server: NatsServer
) -> None:
    """Its next owner opens one, and WhatsApp ends the earlier of two."""
    gateway = await Gateway.open(bus, nats_server.url)
    busy, resting = two_of_one_partition()
    await gateway.add_device(busy)
    at_rest = await gateway.add_device(resting, wanted="disconnected")
    shard = PuppetShard(gateway.url)
    puppet = shard.puppet
    async with shard:
        await until("it is connected", lambda: len(puppet.opened) == 1)
        stopping = asyncio.create_task(shard.stop())
        await until("the partition is given up", puppet.is_leaving.is_set)
        await gateway.put_device(msgspec.structs.replace(at_rest, wanted="connected", connect_generation=2))
        await until("the other one is opened", lambda: len(puppet.opened) == 2)
        puppet.may_leave.set()
        await stopping
        assert [(session.spec.device, session.is_closed) for session in puppet.opened] == [
            (busy, True),
            (resting, True),
        ]


class Stuck:
    """A partition on which the work does not end in order, until it may."""

    def __init__(self, lease: Lease, may_end: asyncio.Event) -> None:
        self.lease = lease
        self.is_stopping = False
        self.was_held_when_cut: bool | None = None
        self._may_end = may_end

    async def stop(self, *, is_lost: bool) -> None:
        if is_lost:
            self.was_held_when_cut = self.lease.valid()
        else:
            self.is_stopping = True
            await self._may_end.wait()


class Owner:
    """Owns all partitions; nobody takes them."""

    def __init__(self, bus: Bus) -> None:
        self.partitions: dict[int, Stuck] = {}
        self.tries = Counter[int]()
        self.fails_to_open: int | None = None
        self.may_end = asyncio.Event()
        self._registries = (
            Registry(bus, "shards", Shard),
            Registry(bus, "leases", Holder),
            Registry(bus, "nodes", Node),
        )
        shards, leases, nodes = self._registries
        self.ownership = Ownership(
            bus,
            me=a_shard("s-0", "s-0", "s", 100),
            shards=shards,
            leases=leases,
            nodes=nodes,
            lease_ttl_s=LEASE_TTL_S,
            open_partition=self._open,
            session_count=lambda: 0,
            on_impostor=lambda _: None,
            meters=Meters(Metrics()),
        )

    async def __aenter__(self) -> "Owner":
        for registry in self._registries:
            await registry.start()
        await self.ownership.start()
        wanted = COMMAND_PARTITIONS if self.fails_to_open is None else COMMAND_PARTITIONS - 1
        await until("it owns all", lambda: len(self.ownership.owned) == wanted)
        return self

    async def __aexit__(self, *_: object) -> None:
        for registry in self._registries:
            await registry.stop()

    async def _open(self, number: int, lease: Lease) -> Stuck:
        self.tries[number] += 1
        if number == self.fails_to_open:
            raise RuntimeError("its consumer is gone")
        partition = self.partitions[number] = Stuck(lease, self.may_end)
        return partition


@pytest.fixture
async def owner(bus: Bus, nats_server: NatsServer) -> AsyncIterator[Owner]:
    await Gateway.open(bus, nats_server.url)
    async with Owner(bus) as owner:
        yield owner


async def test_a_partition_that_cannot_be_opened_is_tried_again_after_a_pause(
    bus: Bus, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LOOK_S", 3600.0)
    gateway = await Gateway.open(bus, nats_server.url)
    owner = Owner(bus)
    owner.fails_to_open = 0
    owner.may_end.set()

    async def is_released() -> bool:
        return owner.tries[0] > 0 and ownership.lease_key(0) not in await gateway.holders()

    async with owner:
        await until("its lease is given back", is_released)
        assert owner.tries[0] == 1
        await owner.ownership.stop(ownership.DRAIN_RESERVE_S)


async def test_what_cannot_be_given_away_in_order_is_cut_before_the_lease_goes_on(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "STOP_TIMEOUT_S", 0.05)
    await owner.ownership.stop(60.0)
    assert [partition.was_held_when_cut for partition in owner.partitions.values()] == [True] * COMMAND_PARTITIONS
    assert not any(partition.lease.valid() for partition in owner.partitions.values())


async def test_what_the_grace_period_is_too_short_for_is_cut_before_the_lease_goes_on(owner: Owner) -> None:
    await owner.ownership.stop(ownership.DRAIN_RESERVE_S + 0.1)
    assert [partition.was_held_when_cut for partition in owner.partitions.values()] == [True] * COMMAND_PARTITIONS
    assert not any(partition.lease.valid() for partition in owner.partitions.values())


async def test_a_lease_that_is_lost_while_its_partition_is_given_away_is_known_at_once(bus: Bus, owner: Owner) -> None:
    stopping = asyncio.create_task(owner.ownership.stop(60.0))
    await until("all are given away", lambda: all(partition.is_stopping for partition in owner.partitions.values()))
    await keyvalue.delete(bus, "leases", ownership.lease_key(7))
    await until("its sessions are closed", lambda: owner.partitions[7].was_held_when_cut is False)
    assert [number for number, each in owner.partitions.items() if each.was_held_when_cut is not None] == [7]
    owner.may_end.set()
    await stopping


async def test_a_session_that_is_being_closed_when_the_lease_is_lost_says_nothing_of_it(
    bus: Bus, nats_server: NatsServer
) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    device = await gateway.add_device("d0")
    lease = ownership.lease_key(partition_of(device.id, COMMAND_PARTITIONS))
    shard = PuppetShard(gateway.url)
    puppet = shard.puppet
    async with shard:
        await until("it is connected", lambda: len(puppet.opened) == 1)
        stopping = asyncio.create_task(shard.stop())
        await until("the partition is given up", puppet.is_leaving.is_set)
        puppet.is_leaving.clear()
        await keyvalue.delete(bus, "leases", lease)
        await until("it is to be closed at once", puppet.is_leaving.is_set)
        puppet.may_leave.set()
        await stopping
        assert [session.is_closed for session in puppet.opened] == [True]
    assert await gateway.connection_states(device.id) == ["connected"]


async def test_a_device_that_is_wanted_when_the_lease_has_run_out_waits_for_what_becomes_of_it(stage: Stage) -> None:
    """To ask again and again without a pause would keep the process from hearing that the lease is lost."""
    device = await stage.gateway.add_device("d1")
    session = await stage.play(device)
    session.device_changed(msgspec.structs.replace(device, wanted="disconnected"))
    await until("it is disconnected", lambda: not session.is_open)
    session.lease.abandon()
    session.device_changed(device)
    await asyncio.wait_for(session.stop(is_lost=True), 5)
    assert len(stage.puppet.opened) == 1
