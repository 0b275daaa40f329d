"""One shard's process in its supervisor's hands: started, asked how it is, told to stop. Its side is in lifeline.py."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from functools import partial

import structlog

from kurir.session_node.node_metrics import value_of
from kurir.session_node.recycling import Vitals
from kurir.session_node.settings import SessionNodeSettings, shard_id

log = structlog.get_logger(__name__)

REPORT_TIMEOUT_S = 30.0  # from start to the health page: the imports of one process on a busy machine
ASK_TIMEOUT_S = 0.9  # probes give us one second


class ShardProcess:
    """Of shard `index`; `life` counts the processes that took over from one another there."""

    def __init__(self, settings: SessionNodeSettings, index: int, life: int, grace_s: float) -> None:
        self.index = index
        self.life = life
        self.id = shard_id(settings.node_name, index, life)
        self.started_at = time.monotonic()
        self._settings = settings
        self._grace_s = grace_s
        self._process: asyncio.subprocess.Process | None = None
        self._port: int | None = None

    @property
    def pid(self) -> int:
        """Also when it has ended."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> bool:
        """Start it and wait until it says where its health page is; False when it does not, then it is killed."""
        report_fd, their_fd = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kurir.session_node"),
                *("--shard", str(self.index), "--life", str(self.life), "--supervised", str(their_fd)),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(their_fd,),
                # A group of its own: Ctrl-C in a terminal reaches the supervisor alone, which tells the shards once.
                start_new_session=True,
                env=os.environ
                | {
                    "KURIR_NODE_NAME": self._settings.node_name,
                    "KURIR_HEALTH_HOST": "127.0.0.1",
                    "KURIR_HEALTH_PORT": "0",
                    "KURIR_SHUTDOWN_GRACE_S": str(self._grace_s),
                },
            )
        finally:
            os.close(their_fd)
        log.info("supervisor.shard_started", shard=self.index, life=self.life, pid=self.pid)
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                self._port = await _reported_port(report_fd)
        except (TimeoutError, ValueError):
            self.kill()
            await self.ended()
            return False
        return True

    async def ended(self) -> int:
        """Wait for its end; its exit code, or minus the signal that ended it."""
        assert self._process is not None, "it was not started"
        return await self._process.wait()

    def terminate(self) -> None:
        """Let it hand over and end."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def is_ready(self) -> bool:
        """Whether it is connected and has the partitions that it should have at first."""
        status, _ = await self._ask("/health/ready")
        return status == 200

    async def exposition(self) -> bytes | None:
        """Its metrics; None when it does not answer in time."""
        status, body = await self._ask("/metrics")
        return body if status == 200 else None

    async def vitals(self) -> Vitals | None:
        """How it is now; None when it does not answer in time."""
        found = await self.exposition()
        if found is None:
            return None
        closed = value_of(found, "kurir_sessions_opened_total") - value_of(found, "kurir_sessions")
        return Vitals(
            age_s=time.monotonic() - self.started_at,
            closed_clients=max(0, int(closed)),
            descriptors=int(value_of(found, "process_open_fds")),
            memory_bytes=int(value_of(found, "process_resident_memory_bytes")),
        )

    async def _ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET to the health page; (0, b"") when there is no answer in time."""
        if self._port is None or not self.is_running:
            return 0, b""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: shard\r\nConnection: close\r\n\r\n".encode())
                    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            return int(head.split(b" ", 2)[1]), body
        except (OSError, TimeoutError, ValueError, IndexError):
            return 0, b""


async def _reported_port(report_fd: int) -> int:
    """The health port that a shard reports. Raises ValueError when it ends without."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        partial(asyncio.StreamReaderProtocol, reader), os.fdopen(report_fd, "rb")
    )
    try:
        return int(json.loads(await reader.readline())["health_port"])
    finally:
        transport.close()
