"""Whole numbers for messages, given out by several replicas at once."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from kurir.api.legacy.fonnte import numbers as giving
from kurir.api.legacy.fonnte.numbers import MessageNumbers
from kurir.contracts import ids
from kurir.dialects.fonnte import numbers
from kurir.runtime import topology
from kurir.runtime.broker import Bus
from kurir.runtime.clock import SystemClock
from tests.support.nats_server import NatsServer


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_server.url, name="numbers")
    try:
        await topology.apply(bus)
        yield bus
    finally:
        await bus.close()


async def test_no_number_is_given_twice_and_each_leads_back_to_its_id(bus: Bus) -> None:
    replicas = [MessageNumbers(bus, SystemClock()) for _ in range(3)]
    counts = [1, 1, 5, 40, 1, 17]
    taken = await asyncio.gather(*(replica.take(count) for replica in replicas for count in counts * 5))
    assert [len(one) for one in taken] == counts * 5 * 3
    identifiers = [identifier for one in taken for identifier in one]
    found = [numbers.number_of(identifier) for identifier in identifiers]
    assert len(set(found)) == len(set(identifiers)) == sum(counts) * 15
    for identifier, number in list(zip(identifiers, found, strict=True))[::10]:
        assert number is not None
        assert await replicas[0].message_id(number) == identifier
        made = ids.created_at_ms(identifier)
        assert made is not None
        assert abs(made / 1000 - time.time()) < 60


async def test_numbers_of_one_replica_go_up(bus: Bus) -> None:
    replica = MessageNumbers(bus, SystemClock())
    found = [numbers.number_of(identifier) or 0 for _ in range(50) for identifier in await replica.take(1)]
    assert found == sorted(set(found))


async def test_what_was_never_given_out_leads_nowhere(bus: Bus) -> None:
    replica = MessageNumbers(bus, SystemClock())
    await replica.take(1)
    for number in (0, 1, 15, 10_000, numbers.MAX_NUMBER, 2**70):
        assert await replica.message_id(number) is None


async def test_an_id_is_never_older_than_a_moment(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = MessageNumbers(bus, SystemClock())
    first = numbers.number_of((await replica.take(1))[0])
    monkeypatch.setattr(giving, "FRESH_S", 0.0)
    second = numbers.number_of((await replica.take(1))[0])
    assert first is not None
    assert second is not None
    assert second // numbers.BLOCK > first // numbers.BLOCK, "what was left of a block that grew old is not given out"
