"""Counters and rate limits against a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.js.api import StreamConfig

from kurir.contracts import streams
from kurir.runtime.broker import BrokerUnavailable, Bus
from kurir.runtime.counters import Allowance, RateLimit, increment, window_start
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


@pytest.fixture
async def counters(bus: Bus) -> Bus:
    spec = streams.COUNTERS
    await bus.js.add_stream(
        StreamConfig(
            name=spec.name,
            subjects=list(spec.subjects),
            max_age=spec.max_age_s,
            duplicate_window=spec.duplicate_window_s,
            allow_msg_counter=True,
            allow_direct=True,
        )
    )
    return bus


@pytest.fixture
async def replica(nats_server: NatsServer, counters: Bus) -> AsyncIterator[Bus]:
    other = await Bus.connect(nats_server.url, name="replica")
    yield other
    await other.close()


async def test_each_increment_returns_the_new_sum_and_counters_do_not_mix(counters: Bus) -> None:
    assert [await increment(counters, "accept", "t", "d", 0) for _ in range(3)] == [1, 2, 3]
    assert await increment(counters, "accept", "t", "d", 0, by=10) == 13
    assert await increment(counters, "accept", "t", "d", 0, by=-1) == 12
    for other in (("quota", "t", "d", 0), ("accept", "u", "d", 0), ("accept", "t", "e", 0), ("accept", "t", "d", 60)):
        assert await increment(counters, *other) == 1


async def test_a_repeat_counts_once_and_gets_the_same_answer(counters: Bus) -> None:
    assert await increment(counters, "accept", "t", "d", 0, msg_id="accept-1") == 1
    assert await increment(counters, "accept", "t", "d", 0, msg_id="accept-2") == 2
    assert await increment(counters, "accept", "t", "d", 0, msg_id="accept-1") == 1
    assert await increment(counters, "accept", "t", "d", 0) == 3


async def test_a_count_survives_a_killed_server(nats_server: NatsServer, counters: Bus) -> None:
    for _ in range(5):
        await increment(counters, "accept", "t", "d", 0)
    await nats_server.kill()
    with pytest.raises(BrokerUnavailable):
        await increment(counters, "accept", "t", "d", 0)
    await nats_server.start()
    await until("the bus is back", lambda: counters.connected)
    assert await increment(counters, "accept", "t", "d", 0) == 6


async def test_two_replicas_together_allow_exactly_the_limit(counters: Bus, replica: Bus) -> None:
    limits = [RateLimit(bus, "accept", window_s=60) for bus in (counters, replica)]
    answers = await asyncio.gather(*(limits[n % 2].hit("t", "d", 30, now=125.0) for n in range(100)))
    assert sum(answer.allowed for answer in answers) == 30
    assert {answer.reset_at for answer in answers} == {180}
    assert sorted(answer.remaining for answer in answers if answer.allowed) == list(range(30))
    assert all(answer.remaining == 0 for answer in answers if not answer.allowed)


async def test_a_new_window_begins_afresh(counters: Bus) -> None:
    limit = RateLimit(counters, "accept", window_s=60)
    assert await limit.hit("t", "d", 1, now=59.9) == Allowance(allowed=True, limit=1, remaining=0, reset_at=60)
    assert not (await limit.hit("t", "d", 1, now=59.99)).allowed
    assert await limit.hit("t", "d", 1, now=60.0) == Allowance(allowed=True, limit=1, remaining=0, reset_at=120)


async def test_a_repeated_hit_is_allowed_again_though_the_limit_was_reached_since(counters: Bus) -> None:
    limit = RateLimit(counters, "accept", window_s=60)
    first = await limit.hit("t", "d", 2, msg_id="m1", now=0)
    await limit.hit("t", "d", 2, now=0)
    assert not (await limit.hit("t", "d", 2, now=0)).allowed
    assert await limit.hit("t", "d", 2, msg_id="m1", now=1) == first


@pytest.mark.parametrize(
    ("now", "size_s", "start"), [(0, 60, 0), (59.999, 60, 0), (60, 60, 60), (90_000.5, 86_400, 86_400)]
)
def test_windows_are_aligned_to_the_epoch(now: float, size_s: int, start: int) -> None:
    assert window_start(now, size_s) == start
