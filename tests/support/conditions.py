"""Waiting for a named condition instead of sleeping for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK_AGAIN_S = 0.005
WITHIN_S = 30.0  # no measure of speed: what takes a tenth of a second has taken ten on a machine with much else to do


async def until(
    name: str,
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    within_s: float = WITHIN_S,
    seen: Callable[[], object] | None = None,
) -> None:
    """Return as soon as `condition` holds; fail with its name (and what was `seen` last) after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if (answer if isinstance(answer, bool) else await answer) is True:
            return
        assert time.monotonic() < deadline, f"never happened: {name}" + (f"; seen: {seen()}" if seen else "")
        await asyncio.sleep(LOOK_AGAIN_S)
