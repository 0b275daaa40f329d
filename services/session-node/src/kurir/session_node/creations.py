"""Groups that were asked for, by the id of the asking: each is made once, and a repeat hears what became of it.

Kept in memory, for a day of a busy shard; a repeat that reaches another owner, or comes after a restart, is not
answered with a second group but with "unknown".
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from kurir.contracts.groups import Group
from kurir.session_node.engines.engine import NotConnected
from kurir.session_node.engines.requests import RequestFailed

REMEMBERED = 500  # some 10 kB each with a hundred members


class CreationUnknown(Exception):
    """It was asked for before, and what came of that is not known here."""


class Creations:
    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._begun: OrderedDict[str, asyncio.Task[Group]] = OrderedDict()

    async def once(self, key: str, make: Callable[[], Coroutine[Any, Any, Group]], *, is_repeat: bool) -> Group:
        """The group of this key. Goes on when the caller is cancelled, so that a repeat hears of it.

        Raises what `make` raises, or CreationUnknown for a repeat of what was not begun here.
        """
        task = self._begun.get(key)
        if task is None:
            if is_repeat:
                raise CreationUnknown
            task = self._begun[key] = asyncio.create_task(make(), name="create a group")
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Leave what is under way: what WhatsApp makes of it is not ours any more."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)
        self._begun.clear()

    def _ended(self, key: str, task: asyncio.Task[Group]) -> None:
        if not task.cancelled() and _was_surely_not_made(task.exception()):
            self._begun.pop(key, None)
        done = [known for known, each in self._begun.items() if each.done()]
        for known in done[: max(0, len(self._begun) - self._limit)]:
            del self._begun[known]


def _was_surely_not_made(error: BaseException | None) -> bool:
    if isinstance(error, RequestFailed):
        return error.reason != "server_unavailable"
    return isinstance(error, NotConnected)
