"""One server process on a port and a directory of its own, which can be killed, frozen and started again on both.

Killing is SIGKILL: nothing is flushed. A power cut (lost page cache) is not simulated.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

STOPPED_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.01


def free_port() -> int:
    """As `free_ports`, a single one."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of so many neighbouring TCP ports of the loopback address that nobody listens on, and that
    nobody is given meanwhile.

    The kernel gives ports of its own range to every outgoing connection. A server that is away for a moment, or is yet
    to be started, would find such a port taken; or one that another server was given here and does not listen on yet.
    Raises OSError when none was found.
    """
    ports = _ports_of_nobody()
    for _ in range(1_000):
        first = random.SystemRandom().choice(ports)
        chosen = range(first, first + count)
        if all(port in ports and port not in _given_lately and _is_free(port) for port in chosen):
            _given_lately.extend(chosen)
            return first
    raise OSError("no port is free")


_given_lately: deque[int] = deque(maxlen=1_000)


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False


@cache
def _ports_of_nobody() -> Sequence[int]:
    """Those that the kernel does not give away."""
    lowest, highest = 32_768, 60_999  # Linux's own choice
    with contextlib.suppress(OSError):
        lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = range(10_000, 65_000)  # health ports may not be above
    return [port for port in ports if not lowest <= port <= highest] or ports


class ServerProcess(ABC):
    """`start`, `kill` (SIGKILL), `freeze`, `thaw`, `restart`, `stop`, in any sensible order."""

    name: ClassVar[str]
    started_within_s: ClassVar[float] = 60.0  # a nats-server with much to read, on cores that others want too
    run_as: ClassVar[int | None] = None
    """The user (and group) that the process runs as; None for ours."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port if port is not None else free_port()
        self.home = Path(tempfile.mkdtemp(prefix=f"kurir-{self.name}-"))
        self._log = self.home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What to run, on `port` and over `home`; prepares files that it needs."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a client would be served now."""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the server has written so far, for the message of a failed test."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Start the server on its port and directory and wait until it answers."""
        assert not self.is_running, "already running"
        command = self.command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, user=self.run_as, group=self.run_as
            )
        deadline = time.monotonic() + self.started_within_s
        while not await self.answers():
            assert self.is_running, f"{self.name} ended at start:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} did not answer in time:\n{self.log()}"
            await asyncio.sleep(LOOK_AGAIN_S)

    async def kill(self) -> None:
        """SIGKILL: the process is gone when this returns; port and directory stay ours for `restart`."""
        await self._end(signal.SIGKILL)

    async def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, as behind a broken network."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The signal stops all threads a moment later; WNOWAIT leaves the process for Popen to collect.
        await asyncio.to_thread(os.waitid, os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    async def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Start again on the same port and directory; a running server is killed first."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """End the server in order and delete its directory. Harmless when repeated."""
        await self._end(signal.SIGTERM)
        shutil.rmtree(self.home, ignore_errors=True)

    async def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        try:
            await asyncio.to_thread(process.wait, STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
