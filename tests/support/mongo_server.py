"""A real MongoDB-protocol server (nx-27017 over one SQLite file) on a free port.

It can be killed and started again on the same port and file, which is how outage tests speak. Killing is SIGKILL.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.nats_server import free_port

STARTED_WITHIN_S = 30.0  # it imports for about a second when the machine is idle
STOPPED_WITHIN_S = 10.0


class MongoServer:
    """One server process: `start`, `kill` (SIGKILL), `restart`, `stop`, in any sensible order."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port if port is not None else free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}/kurir"
        self._home = Path(tempfile.mkdtemp(prefix="kurir-mongo-"))
        self._log = self._home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the server has written so far, for the message of a failed test."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Start the server on its port and file and wait until it accepts connections.

        It listens only once its database is open, so a connection means that it answers.
        """
        assert not self.is_running, "already running"
        pid_file = self._home / "server.pid"
        pid_file.unlink(missing_ok=True)  # left by a kill, and refused if another process has that pid by now
        arguments: list[str | Path] = [
            "--db",
            self._home / "kurir.db",
            "--port",
            str(self.port),
            "--pid-file",
            pid_file,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).parent / "nx-27017", *arguments, "--log-file", "/dev/null"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not await self._accepts():
            assert self.is_running, f"nx-27017 ended at start:\n{self.log()}"
            assert time.monotonic() < deadline, f"nx-27017 did not answer in time:\n{self.log()}"
            await asyncio.sleep(0.02)

    async def _accepts(self) -> bool:
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        """SIGKILL: the process is gone when this returns; port and file stay ours for `restart`."""
        await self._end(signal.SIGKILL)

    async def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, as behind a broken network."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def restart(self) -> None:
        """Start again on the same port and file; a running server is killed first."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """End the server in order and delete its file. Harmless when repeated."""
        await self._end(signal.SIGTERM)
        shutil.rmtree(self._home, ignore_errors=True)

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
