"""Time as something handed in, so that what waits for minutes can be tested in microseconds.

`SystemClock` is the real one; tests bring their own.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where code gets the time from, and how it waits."""

    def now(self) -> datetime:
        """The wall clock as an aware datetime in UTC."""

    def time(self) -> float:
        """The wall clock as epoch seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never stepping back: for deadlines and leases."""

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`; zero or less yields to other tasks once."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
