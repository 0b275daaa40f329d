"""Processes of the embedded system: started in order, watched, brought back when they die, stopped in reverse.

Each writes its output to a file of its own. A process that was killed is started again, so that what the README
promises can be tried by hand with kill -9. Children end when this process dies, however it dies (Linux).
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

STOP_WITHIN_S = 30.0
RESTART_PAUSE_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # a process that dies at once again is not to burn the machine
STEADY_AFTER_S = 30.0

_PR_SET_PDEATHSIG = 1  # prctl(2)


class StartFailed(Exception):
    """A process did not become ready; the message holds the end of what it wrote."""


class ManagedProcess:
    """One child. `ready` is asked until it is true, for at most `ready_within_s`.

    `left_behind` is a file that a killed process leaves and that would stop the next one: removed before each start.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        ready: Callable[[], Awaitable[bool]],
        ready_within_s: float = 60.0,
        left_behind: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._argv = argv
        self._env = env
        self._ready = ready
        self._ready_within_s = ready_within_s
        self._left_behind = left_behind
        self._process: asyncio.subprocess.Process | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start and wait until ready. Raises StartFailed."""
        await self._spawn()
        deadline = asyncio.get_running_loop().time() + self._ready_within_s
        while not await self._ready():
            assert self._process is not None
            if self._process.returncode is not None:
                raise StartFailed(f"{self.name} ended with {self._process.returncode} at start:\n{self.tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise StartFailed(f"{self.name} was not ready in {self._ready_within_s:.0f} s:\n{self.tail()}")
            await asyncio.sleep(0.05)

    async def keep(self, died: Callable[["ManagedProcess", int], None]) -> None:
        """Start the process again whenever it ends, and tell `died`; runs until cancelled."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            assert self._process is not None
            began = loop.time()
            code = await self._process.wait()
            deaths = deaths + 1 if loop.time() - began < STEADY_AFTER_S else 0
            died(self, code)
            await asyncio.sleep(RESTART_PAUSE_S[min(deaths, len(RESTART_PAUSE_S) - 1)])
            self.restarts += 1
            await self._spawn()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help in time."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def tail(self, lines: int = 20) -> str:
        """The end of the process's output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(line[:300] for line in text.splitlines()[-lines:])

    async def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self._left_behind is not None:
            self._left_behind.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._env},
                # Ctrl-C reaches the whole terminal group; the children are stopped by us, in order.
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )


def _end_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
