"""Looks at something again and again, from `start` to `stop`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from kurir.runtime.logs import get

log = get("kurir.lookout")


class Lookout:
    """Calls `look` every `every_s` seconds after its last end.

    What `look` may raise it handles itself; anything else is a fault, which is logged and does not end the looking.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[None]], *, every_s: float) -> None:
        self._name = name
        self._look = look
        self._every_s = every_s
        self._looking: asyncio.Task[None] | None = None
        self._is_stopping = asyncio.Event()

    def start(self, *, at_once: bool = True) -> None:
        self._looking = asyncio.create_task(self._look_again_and_again(at_once), name=self._name)

    async def stop(self) -> None:
        # Not by cancelling alone: a wait_for of Python 3.11 that has just got its answer swallows that.
        self._is_stopping.set()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_again_and_again(self, at_once: bool) -> None:
        if not at_once:
            await self._pause()
        while not self._is_stopping.is_set():
            try:
                await self._look()
            except Exception:
                log.exception("lookout.failed", lookout=self._name)
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), self._every_s)
