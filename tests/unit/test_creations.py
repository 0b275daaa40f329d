"""A group that was asked for under an id is made once, and a repeat hears what became of it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from kurir.contracts.groups import Group
from kurir.session_node.creations import Creations, CreationUnknown
from kurir.session_node.engines.engine import NotConnected
from kurir.session_node.engines.requests import RequestFailed


class Maker:
    """Makes groups, or fails as it is told; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    def __call__(self) -> Coroutine[Any, Any, Group]:
        return self._make()

    async def _make(self) -> Group:
        self.asked += 1
        number = self.asked
        await self.may_end.wait()
        if self.fails is not None:
            raise self.fails
        return Group(jid=f"{number}@g.us", subject="Office")


@pytest.fixture
async def creations() -> AsyncIterator[Creations]:
    made = Creations(limit=3)
    yield made
    await made.stop()


async def test_requests_at_the_same_time_share_one_group(creations: Creations) -> None:
    make = Maker()
    make.may_end.clear()
    asking = [asyncio.create_task(creations.once("a", make, is_repeat=n > 0)) for n in range(5)]
    await asyncio.sleep(0)
    make.may_end.set()
    assert {group.jid for group in await asyncio.gather(*asking)} == {"1@g.us"}
    assert make.asked == 1


async def test_a_caller_that_gives_up_leaves_the_group_to_its_repeat(creations: Creations) -> None:
    make = Maker()
    make.may_end.clear()
    first = asyncio.create_task(creations.once("a", make, is_repeat=False))
    await asyncio.sleep(0)
    first.cancel()
    make.may_end.set()
    assert (await creations.once("a", make, is_repeat=True)).jid == "1@g.us"


@pytest.mark.parametrize("certain", [NotConnected(), RequestFailed("not_allowed"), RequestFailed("rate_overlimit")])
async def test_what_was_surely_not_made_can_be_asked_for_again(creations: Creations, certain: Exception) -> None:
    make = Maker()
    make.fails = certain
    with pytest.raises(type(certain)):
        await creations.once("a", make, is_repeat=False)
    make.fails = None
    assert (await creations.once("a", make, is_repeat=False)).jid == "2@g.us"


@pytest.mark.parametrize("doubtful", [RequestFailed("server_unavailable"), RuntimeError("in the middle")])
async def test_what_may_have_been_made_is_never_made_again(creations: Creations, doubtful: Exception) -> None:
    make = Maker()
    make.fails = doubtful
    for is_repeat in (False, True, False):
        with pytest.raises(type(doubtful)):
            await creations.once("a", make, is_repeat=is_repeat)
    assert make.asked == 1


async def test_a_repeat_of_what_is_not_remembered_is_unknown(creations: Creations) -> None:
    make = Maker()
    with pytest.raises(CreationUnknown):
        await creations.once("a", make, is_repeat=True)
    for key in "abcde":
        await creations.once(key, make, is_repeat=False)
    with pytest.raises(CreationUnknown):  # the oldest are forgotten
        await creations.once("a", make, is_repeat=True)
    assert (await creations.once("e", make, is_repeat=True)).jid == "5@g.us"
