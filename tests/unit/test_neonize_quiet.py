"""When a send waits for what arrives from the same chat, with time in the test's hand."""

import asyncio
from collections.abc import Callable

import pytest

from kurir.session_node.engines.neonize import quiet
from kurir.session_node.engines.neonize.quiet import Quiet

ANI, ANI_HIDDEN, BUDI = "62811@s.whatsapp.net", "101@lid", "62812@s.whatsapp.net"


class Waited:
    """A clock that `asyncio.sleep` moves, and who is heard meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.quiet = Quiet(clock=lambda: self.now)
        self.quiet.caught_up()
        self.while_asleep: Callable[[], None] = lambda: None

    async def sleep(self, delay_s: float) -> None:
        self.now += delay_s
        self.while_asleep()

    async def wait_for(self, *jids: str | None) -> float:
        """How long a send to this chat waits, in seconds."""
        began = self.now
        await self.quiet.wait(jids)
        return self.now - began


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Waited:
    made = Waited()
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


async def test_a_quiet_chat_is_written_to_at_once(waited: Waited) -> None:
    waited.quiet.heard((BUDI, None))
    assert await waited.wait_for(ANI, None) == 0


async def test_a_chat_from_which_something_came_is_left_alone_for_a_moment(waited: Waited) -> None:
    waited.quiet.heard((ANI_HIDDEN, ANI))
    waited.now += quiet.QUIET_S / 2
    assert await waited.wait_for(ANI) == pytest.approx(quiet.QUIET_S / 2)
    assert await waited.wait_for(ANI_HIDDEN) == 0


async def test_a_burst_is_waited_for_until_its_end(waited: Waited) -> None:
    left = [1, 2, 3]

    def hear() -> None:
        if left:
            left.pop()
            waited.quiet.heard((ANI,))

    hear()
    waited.while_asleep = hear
    assert await waited.wait_for(ANI) == pytest.approx(3 * quiet.QUIET_S)


async def test_who_never_stops_does_not_keep_us_from_answering(waited: Waited) -> None:
    waited.quiet.heard((ANI,))
    waited.while_asleep = lambda: waited.quiet.heard((ANI,))
    assert await waited.wait_for(ANI) == pytest.approx(quiet.LONGEST_WAIT_S)


async def test_after_a_login_sends_wait_until_what_was_missed_has_come() -> None:
    fresh = Quiet()
    sending = asyncio.create_task(fresh.wait((ANI,)))
    await asyncio.sleep(0)
    assert not sending.done()
    fresh.caught_up()
    await asyncio.wait_for(sending, 5)
    fresh.connecting()
    again = asyncio.create_task(fresh.wait((ANI,)))
    await asyncio.sleep(0)
    assert not again.done()
    fresh.caught_up()
    await asyncio.wait_for(again, 5)


async def test_a_server_that_never_says_so_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "LONGEST_CATCH_UP_S", 0.01)
    fresh = Quiet()
    await fresh.wait((ANI,))
    monkeypatch.setattr(quiet, "LONGEST_CATCH_UP_S", 60)
    await asyncio.wait_for(fresh.wait((ANI,)), 5)


async def test_memory_has_a_bound(waited: Waited) -> None:
    waited.quiet.heard(f"{n}@lid" for n in range(quiet.CHATS + 10))
    assert len(waited.quiet._heard_at) == quiet.CHATS
