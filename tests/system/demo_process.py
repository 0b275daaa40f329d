"""A demonstration as a person starts it: `kurir up --demo` and its like, in a folder and on ports of its own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.conditions import until
from tests.support.server_process import free_port, free_ports

UP_WITHIN_S = 120.0
ENDS_WITHIN_S = 60.0
STAYS_UP = "Ctrl-C stops everything"


class DemoProcess:
    """`arguments` are Python's. Everything it says is kept; `environment` beside the ports, which are free ones."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        names = ("KURIR_API_PORT", "KURIR_NATS_PORT", "KURIR_MONGO_PORT", "KURIR_RECEIVER_PORT")
        self.ports = {name: str(free_port()) for name in names} | {"KURIR_HEALTH_PORTS": str(free_ports(4))}
        self._folder = folder
        self._arguments = arguments
        self._environment = environment
        self._said = folder / "said.txt"
        self._process: asyncio.subprocess.Process | None = None

    def said(self) -> str:
        return self._said.read_text(errors="replace")  # the last character may be half written

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start it; in the end Ctrl-C has to end it well."""
        with self._said.open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._arguments),
                cwd=self._folder,
                env={**os.environ, **self._environment, **self.ports},
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            yield
            self._process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(self._process.wait(), ENDS_WITHIN_S) == 0, self.said()
        finally:
            if not self._has_ended():
                self._process.kill()

    async def until_it_says(self, words: str) -> None:
        """Wait for these words, and fail with all of them when it ends without."""
        await until(
            f"the demonstration says {words!r}",
            lambda: words in self.said() or self._has_ended(),
            within_s=UP_WITHIN_S,
            seen=self.said,
        )
        assert words in self.said(), self.said()

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None


def listens(port: int) -> bool:
    """Whether anybody does, on loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
