"""What may still happen to a partition while its owner gives it up."""

import asyncio
import itertools
from collections.abc import Callable

import msgspec

from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.session_node.engines.engine import Engine, Report, SessionSpec, StateChanged
from tests.broker.test_session_node_session import Puppet, PuppetSession
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway, LocalShard


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
