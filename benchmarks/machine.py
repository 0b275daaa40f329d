"""The processes that are measured: nats-server and Kurir's services on free ports, and what they cost.

CPU is read from /proc (Linux), in ticks of 10 ms: measure for a second or more.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from tests.support.nats_server import NatsServer
from tests.support.server_process import free_port

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Server(NatsServer):
    """A nats-server with a temporary store."""

    started_within_s = 120.0  # after a kill it reads all that it stores: a million messages in 18 s

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid


@contextlib.asynccontextmanager
async def nats_server() -> AsyncIterator[Server]:
    """A fresh server; it ends, and its store goes, with the block."""
    server = Server()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def process(*arguments: str, environment: Mapping[str, str], ready_url: str) -> AsyncIterator[int]:
    """`python -m <arguments>` until the block ends, from when `ready_url` answers 2xx. Yields its process id."""
    with tempfile.NamedTemporaryFile(prefix="kurir-bench-", suffix=".log") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "LOG_FORMAT": "json", **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            await _ready(child, ready_url, Path(log.name), " ".join(arguments))
            yield child.pid
        finally:
            child.terminate()
            try:
                await asyncio.to_thread(child.wait, STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.asynccontextmanager
async def service(*arguments: str, environment: Mapping[str, str]) -> AsyncIterator[int]:
    """A service of Kurir as `process`, from when it is ready; `arguments` are those of `python -m`."""
    health = free_port()
    async with process(
        *arguments,
        environment={"KURIR_HEALTH_PORT": str(health), **environment},
        ready_url=f"http://127.0.0.1:{health}/health/ready",
    ) as pid:
        yield pid


async def _ready(child: "subprocess.Popen[bytes]", url: str, log: Path, what: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not await asyncio.to_thread(_answers, url):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        if child.poll() is not None:
            raise RuntimeError(f"{what} ended with {child.returncode} at start:\n{tail}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready in {READY_WITHIN_S:.0f} s:\n{tail}")
        await asyncio.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def cpu_s_of(pid: int) -> float:
    """CPU seconds of a process so far, all threads, user and system."""
    # The name may hold anything, so fields count from behind its bracket: utime and stime are 12 and 13 there.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Meter:
    """CPU of named processes between `start` and `read`."""

    def __init__(self, pids: Mapping[str, int | Iterable[int]]) -> None:
        self._pids = {name: [pid] if isinstance(pid, int) else list(pid) for name, pid in pids.items()}
        self._before: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        self._before = self._now()

    def read(self) -> dict[str, float]:
        """CPU seconds by name since `start`."""
        return {name: now - self._before[name] for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: sum(map(cpu_s_of, pids)) for name, pids in self._pids.items()}
