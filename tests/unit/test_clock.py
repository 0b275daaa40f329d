"""The system's clock tells the time; the tests' clock stands still until it is moved."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from kurir.runtime.clock import Clock, SystemClock
from tests.support.conditions import until
from tests.support.manual_clock import ManualClock


async def test_the_system_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now().tzinfo is UTC
    assert abs(clock.time() - time.time()) < 5
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before


async def test_sleepers_wake_in_order_each_at_its_own_time() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("late", 60)), asyncio.create_task(sleeper("early", 10, 10))]
    await until("both sleep", lambda: clock.sleeping == 2)
    start = clock.now()
    await clock.advance(59)
    assert woken == [("early", 10), ("early", 20)]
    await clock.advance(1)
    assert woken[-1] == ("late", 60)
    assert clock.now() - start == timedelta(seconds=60)
    await asyncio.gather(*tasks)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(10))
    await until("it sleeps", lambda: clock.sleeping == 1)
    task.cancel()
    await asyncio.wait((task,))
    assert clock.sleeping == 0
    await clock.advance(20)
