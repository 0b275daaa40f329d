"""Keeps calls into the library apart that would meet in its unguarded Go maps.

Go ends the process when a map is written while another thread uses it ("concurrent map writes"), and the library keeps
its clients in plain maps: opening and stopping a client write them, every other call reads them at its very beginning.
So openings and stops are exclusive, and a call counts as a reader until READ_S after its thread has entered the
library. This narrows the window by time, it does not close it: shards are several processes for what remains.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from kurir.session_node.engines.neonize.workers import Workers

Answer = TypeVar("Answer")

READ_S = 0.05  # the map is read within microseconds; the rest is for a machine whose cores are all taken
LOOK_S = 0.002


class Gate:
    """One per process, on one event loop."""

    def __init__(self, workers: Workers, read_s: float = READ_S) -> None:
        self._workers = workers
        self._read_s = read_s
        self._readers: set[_Reader] = set()
        self._no_writer = asyncio.Event()
        self._no_writer.set()
        self._writing = asyncio.Lock()

    async def read(self, call: Callable[[], Answer], workers: Workers | None = None) -> Answer:
        """Run a call that reads the maps in a thread of `workers`, else of our own; waits while a writer is inside.

        Raises what the call raises. Cancelling leaves the call running, and a reader until it has read.
        """
        while not self._no_writer.is_set():
            await self._no_writer.wait()
        reader = _Reader()
        self._readers.add(reader)

        # Only notes the time: to wake the loop for it would cost each call as much as all the rest of the gate.
        def enter() -> Answer:
            reader.entered_at = time.monotonic()
            try:
                return call()
            finally:
                reader.has_left = True

        try:
            return await (workers or self._workers).run(enter)
        finally:
            if reader.has_left:
                self._readers.discard(reader)
            else:  # cancelled
                self._forget_who_has_read()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """Hold the maps alone: waits until all readers have read, and keeps new ones out."""
        async with self._writing:
            self._no_writer.clear()
            try:
                self._forget_who_has_read()
                while self._readers:
                    await asyncio.sleep(LOOK_S)
                    self._forget_who_has_read()
                yield
            finally:
                self._no_writer.set()

    def _forget_who_has_read(self) -> None:
        long_ago = time.monotonic() - self._read_s
        self._readers = {reader for reader in self._readers if not reader.has_read(long_ago)}


class _Reader:
    """One call. Its thread writes what the loop reads."""

    __slots__ = ("entered_at", "has_left")

    def __init__(self) -> None:
        self.entered_at: float | None = None
        self.has_left = False

    def has_read(self, long_ago: float) -> bool:
        return self.has_left or (self.entered_at is not None and self.entered_at <= long_ago)
