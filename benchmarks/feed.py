"""Keeps a stream supplied while somebody works it off, and says how fast that goes.

A backlog from the start would measure how Kurir moves aside what it cannot work yet; so no more than `window` messages
are ever waiting.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from kurir.runtime.broker import Bus, Outgoing, PublishError

LOOK_EVERY_S = 0.01
WITHIN_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How many were worked off in all, and how fast while there was always something to do."""

    count: int
    per_s: float


async def work_off(bus: Bus, stream: str, make: Callable[[int], Outgoing], *, window: int, seconds: float) -> Progress:
    """Publish what `make(number)` gives as room comes free, for so long, and return when the stream is empty.

    Raises PublishError when one is refused, TimeoutError.
    """
    published = done = 0
    from_s, from_done = 0.0, 0  # set when the first window is through: it fills the pipe and is not counted
    rate = 0.0
    async with asyncio.timeout(seconds + WITHIN_S):
        while done < published or rate == 0.0:
            now = time.perf_counter()
            if from_s == 0.0 and done >= window:
                from_s, from_done = now, done
            if from_s == 0.0 or now - from_s < seconds:
                batch = [make(published + number) for number in range(window - (published - done))]
                for result in await bus.publish_many(batch, timeout_s=WITHIN_S):
                    if isinstance(result, PublishError):
                        raise result
                published += len(batch)
            elif rate == 0.0:
                rate = max(1, done - from_done) / (now - from_s)
            await asyncio.sleep(LOOK_EVERY_S)
            done = published - await stored(bus, stream)
    return Progress(count=done, per_s=rate)


async def stored(bus: Bus, stream: str) -> int:
    """Messages in a stream."""
    return (await bus.js.stream_info(stream)).state.messages


async def grown_to(bus: Bus, stream: str, messages: int) -> None:
    """Return when the stream holds that many messages. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while await stored(bus, stream) < messages:
            await asyncio.sleep(LOOK_EVERY_S)
