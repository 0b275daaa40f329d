"""Whose turn it is, when more replays are wanted than are carried out at once.

A free place goes to the tenant that has fewest, and of those to whoever has waited longest. Nobody is interrupted: who
has had a turn and sees that others wait gives the place back and asks for another.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Turns:
    """So many at once; when it is closed, nobody waits any more."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._taken = Counter[str]()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._is_closed = False

    @property
    def taken(self) -> int:
        return self._taken.total()

    @property
    def are_awaited(self) -> bool:
        return bool(self._waiting)

    @contextlib.asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of this tenant and have it. Raises TurnsClosed when there will be none."""
        await self._take(tenant)
        try:
            yield
        finally:
            self._give_back(tenant)

    def close(self) -> None:
        """End the waiting; turns that were taken last on."""
        self._is_closed = True
        for _, turn in self._waiting:
            if not turn.done():
                turn.set_exception(TurnsClosed)
        self._waiting.clear()

    async def _take(self, tenant: str) -> None:
        if self._is_closed:
            raise TurnsClosed
        if self._free:
            self._free -= 1
            self._taken[tenant] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = [one for one in self._waiting if one[1] is not turn]
            elif turn.exception() is None:
                self._give_back(tenant)  # it came while we were leaving
            raise

    def _give_back(self, tenant: str) -> None:
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
        waiting = [one for one in self._waiting if not one[1].done()]  # others are leaving
        if not waiting:
            self._free += 1
            return
        following = min(waiting, key=lambda one: self._taken[one[0]])
        self._waiting.remove(following)
        self._taken[following[0]] += 1
        following[1].set_result(None)


class TurnsClosed(Exception):
    """There will be no turn any more."""
