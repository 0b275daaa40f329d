"""Turns of replays: the tenant that has fewest is next, and who ends or leaves keeps nobody waiting."""

import asyncio

import pytest

from kurir.webhook_dispatcher.turns import Turns, TurnsClosed


class Crowd:
    """Who has had a turn, in order; each lasts until it is ended."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def ask(self, *names: str) -> None:
        """Each is called by its tenant, which is a letter, and a number."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._have(name))
        await self.settle()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)  # everybody comes as far as they can

    async def _have(self, name: str) -> None:
        async with self.turns.of(name[0]):
            self.began.append(name)
            await self._ends[name].wait()


async def test_the_tenant_that_has_fewest_is_next_and_then_whoever_waited_longest() -> None:
    crowd = Crowd(2)
    await crowd.ask("a1", "a2", "a3", "a4", "b1", "c1")
    assert crowd.began == ["a1", "a2"]
    assert (crowd.turns.taken, crowd.turns.are_awaited) == (2, True)
    await crowd.end("a1")
    assert crowd.began[2:] == ["b1"], "the other one of a goes on"
    await crowd.end("b1")
    assert crowd.began[3:] == ["c1"]
    await crowd.end("a2", "c1", "a3", "a4")
    assert crowd.began[4:] == ["a3", "a4"]
    assert (crowd.turns.taken, crowd.turns.are_awaited) == (0, False)


async def test_who_leaves_while_waiting_keeps_no_turn() -> None:
    crowd = Crowd(1)
    await crowd.ask("a1", "b1", "c1")
    crowd.tasks["b1"].cancel()
    await crowd.end("a1")
    assert crowd.began == ["a1", "c1"]


async def test_a_turn_that_comes_in_the_moment_of_leaving_goes_to_the_next() -> None:
    crowd = Crowd(1)
    await crowd.ask("a1", "b1", "c1")
    crowd.tasks["a1"].cancel()
    await asyncio.sleep(0)
    crowd.tasks["b1"].cancel()
    await crowd.settle()
    assert crowd.began == ["a1", "c1"]
    await crowd.end("c1")
    assert crowd.turns.taken == 0


async def test_no_turn_is_given_to_who_is_just_leaving() -> None:
    crowd = Crowd(1)
    await crowd.ask("a1", "b1", "c1")
    crowd.tasks["a1"].cancel()
    crowd.tasks["b1"].cancel()
    await crowd.settle()
    assert crowd.began == ["a1", "c1"]
    crowd.tasks["c1"].cancel()
    await crowd.settle()
    assert crowd.turns.taken == 0


async def test_nobody_waits_once_they_are_closed() -> None:
    crowd = Crowd(1)
    await crowd.ask("a1", "b1")
    crowd.turns.close()
    await crowd.ask("c1")
    for name in ("b1", "c1"):
        with pytest.raises(TurnsClosed):
            await crowd.tasks[name]
    await crowd.end("a1")
    assert crowd.began == ["a1"]
    assert crowd.turns.taken == 0
