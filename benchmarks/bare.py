"""The process of bare_neonize.py, as a benchmark drives it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

ANSWERS_WITHIN_S = 300.0


class Bare:
    """Neonize alone, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, *order: object) -> object:
        """Have a method of bare_neonize.Bare called, with its arguments. Raises TimeoutError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("neonize alone has ended")
        return json.loads(line)


@contextlib.asynccontextmanager
async def bare_neonize(proxy: str) -> AsyncIterator[Bare]:
    """Start it, with the library imported; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bare_neonize", proxy),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        bare = Bare(process)
        await bare.ask("ready")
        yield bare
    finally:
        process.kill()
        await process.wait()
