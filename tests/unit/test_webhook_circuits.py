"""Who may be tried while an endpoint fails: one probe, whose end decides for those who wait for it."""

import asyncio

import pytest

from kurir.runtime.metrics import Metrics
from kurir.runtime.settlement import Retry
from kurir.webhook_dispatcher.circuit import CircuitSettings
from kurir.webhook_dispatcher.circuits import Circuits
from kurir.webhook_dispatcher.measures import Measures
from tests.support.manual_clock import ManualClock


class Told:
    """Circuits of a clock that is moved by hand, and which endpoints were paused and resumed."""

    def __init__(self) -> None:
        self.paused: list[str] = []
        self.resumed: list[str] = []
        self.clock = ManualClock()
        self.circuits = Circuits(
            CircuitSettings(threshold=3, first_s=30, longest_s=100),
            self.clock,
            Measures(Metrics()),
            pause=self.paused.append,
            resume=self.resumed.append,
        )

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.circuits.failed("we1")


@pytest.fixture
async def told() -> Told:
    return Told()


async def test_an_endpoint_that_works_is_always_admitted(told: Told) -> None:
    told.fail(2)
    await told.circuits.admit("we1")
    await told.circuits.admit("we2")
    assert not told.paused
    assert told.circuits.open == 0


async def test_an_endpoint_that_fails_in_a_row_is_paused_and_not_admitted(told: Told) -> None:
    told.fail(3)
    assert told.paused == ["we1"]
    assert told.circuits.open == 1
    with pytest.raises(Retry):
        await told.circuits.admit("we1")
    await told.circuits.admit("we2")
    await told.circuits.stop()


async def test_after_a_probe_that_succeeds_everybody_is_admitted(told: Told) -> None:
    told.fail(3)
    await told.clock.advance(30)
    await told.circuits.admit("we1")
    waiting = asyncio.create_task(told.circuits.admit("we1"))
    await asyncio.sleep(0)
    assert not waiting.done()
    told.circuits.succeeded("we1")
    await waiting
    assert told.resumed == ["we1"]
    assert told.circuits.open == 0


async def test_after_a_probe_that_fails_those_who_waited_give_back(told: Told) -> None:
    told.fail(3)
    await told.clock.advance(30)
    await told.circuits.admit("we1")
    waiting = asyncio.create_task(told.circuits.admit("we1"))
    await asyncio.sleep(0)
    told.fail(1)
    with pytest.raises(Retry):
        await waiting
    assert told.paused == ["we1", "we1"]
    await told.circuits.stop()


async def test_an_endpoint_that_is_gone_is_let_go(told: Told) -> None:
    told.fail(3)
    told.circuits.succeeded("we1")
    assert told.resumed == ["we1"]
    await told.circuits.admit("we1")
