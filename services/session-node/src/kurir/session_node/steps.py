"""One step after another while there is news: never two at once, none forgotten, and again after one that failed."""

import asyncio
from collections.abc import Awaitable, Callable

from kurir.session_node.tasks import ended


class Steps:
    """`step` takes the next one. `failed` is told when it raised, and says in how many seconds to try again."""

    def __init__(self, step: Callable[[], Awaitable[None]], failed: Callable[[], float]) -> None:
        self.alone = asyncio.Lock()
        """Held during each step, and by whatever must not meet one."""
        self.stopping = asyncio.Event()
        """No step is begun any more."""
        self._step = step
        self._failed = failed
        self._has_news = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def kick(self) -> None:
        """There is news: a step is due, now or after the one that is under way."""
        self._has_news = True
        if self._task is None and not self.stopping.is_set():
            self._task = asyncio.create_task(self._take())

    def kick_in(self, seconds: float) -> None:
        """There will be news, instead of when it was said before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.kick)

    def stop(self) -> None:
        """Begin no more; `ended` waits for the one that is under way."""
        self.stopping.set()
        if self._timer is not None:
            self._timer.cancel()

    async def ended(self) -> None:
        await ended(self._task)

    async def _take(self) -> None:
        try:
            while self._has_news and not self.stopping.is_set():
                self._has_news = False
                try:
                    async with self.alone:
                        if not self.stopping.is_set():
                            await self._step()
                except Exception:
                    self.kick_in(self._failed())
        finally:
            self._task = None
