"""A real nats-server for one test: own free port, own temporary JetStream store.

It can be killed and started again on the same port and store, which is how outage tests speak.
Killing is SIGKILL: nothing is flushed. A power cut (lost page cache) is not simulated.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTED_WITHIN_S = 20.0
STOPPED_WITHIN_S = 10.0


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_binary() -> str:
    """Path of the nats-server that was installed beside this interpreter, or the one in PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found is not None, "no nats-server: install the development dependencies"
    return found


class NatsServer:
    """One nats-server process: `start`, `kill` (SIGKILL), `restart`, `stop`, in any sensible order."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port if port is not None else free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._home = Path(tempfile.mkdtemp(prefix="kurir-nats-"))
        self._log = self._home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the server has written so far, for the message of a failed test."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Start the server on its port and store and wait until it greets a client."""
        assert not self.is_running, "already running"
        config = self._home / "server.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._home / "store"}", max_mem: 256MB, max_file: 4GB }}\n'
            "max_payload: 2MB\n"
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([server_binary(), "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not await self._greets():
            assert self.is_running, f"nats-server ended at start:\n{self.log()}"
            assert time.monotonic() < deadline, f"nats-server did not answer in time:\n{self.log()}"
            await asyncio.sleep(0.01)

    async def _greets(self) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                greeting = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        return greeting.startswith(b"INFO")

    async def kill(self) -> None:
        """SIGKILL: the process is gone when this returns; port and store stay ours for `restart`."""
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
        """Start again on the same port and store; a running server is killed first."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """End the server in order and delete its store. Harmless when repeated."""
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
