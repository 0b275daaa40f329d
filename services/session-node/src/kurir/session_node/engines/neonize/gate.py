"""Keeps calls into the library apart that would meet in its unguarded Go maps.

Go ends the process when a map is written while another thread uses it ("concurrent map writes"), and the library keeps
its clients in plain maps: opening and stopping a client write them, every other call reads them at its very beginning.
So openings and stops are exclusive, and a call counts as a reader until READ_S after its thread has entered the
library. This narrows the window by time, it does not close it: shards are several processes for what remains.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from kurir.session_node.engines.neonize.workers import Workers

Answer = TypeVar("Answer")

READ_S = 0.05  # the map is read within microseconds; the rest is for a machine whose cores are all taken


class Gate:
    """One per process, on one event loop."""

    def __init__(self, workers: Workers, read_s: float = READ_S) -> None:
        self._workers = workers
        self._read_s = read_s
        self._readers = 0
        self._no_readers = asyncio.Event()
        self._no_readers.set()
        self._no_writer = asyncio.Event()
        self._no_writer.set()
        self._writing = asyncio.Lock()

    async def read(self, call: Callable[[], Answer], workers: Workers | None = None) -> Answer:
        """Run a call that reads the maps in a thread of `workers`, else of our own; waits while a writer is inside.

        Raises what the call raises. Cancelling leaves the call running, and a reader until it has read.
        """
        while not self._no_writer.is_set():
            await self._no_writer.wait()
        self._readers += 1
        self._no_readers.clear()
        loop = asyncio.get_running_loop()
        has_read = _Once(self._one_reader_less)

        def enter() -> Answer:
            loop.call_soon_threadsafe(loop.call_later, self._read_s, has_read)
            try:
                return call()
            finally:
                loop.call_soon_threadsafe(has_read)

        return await (workers or self._workers).run(enter)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """Hold the maps alone: waits until all readers have read, and keeps new ones out."""
        async with self._writing:
            self._no_writer.clear()
            try:
                await self._no_readers.wait()
                yield
            finally:
                self._no_writer.set()

    def _one_reader_less(self) -> None:
        self._readers -= 1
        if self._readers == 0:
            self._no_readers.set()


class _Once:
    """Calls its callback the first time it is called."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def __call__(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
