"""The process of a node: starts its shards, restarts those that crash, ends them, and speaks for all of them.

Guarantees: a shard that died gives its partitions up at once, because its supervisor knows that it is dead; one that
crashes again and again is restarted with growing pauses; no shard outlives its supervisor (see lifeline.py).
It holds no session and reads no command. Not covered: a shard that hangs without dying keeps its leases only as long
as its loop renews them.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from kurir.contracts.records import Holder
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.metrics import Metrics
from kurir.runtime.registry import RevisionConflict
from kurir.runtime.service import MISCONFIGURED
from kurir.session_node.node_metrics import merged
from kurir.session_node.settings import SessionNodeSettings, shard_id

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
CALM_AFTER_S = 60.0  # a shard that ran this long crashed for another reason than the time before
REPORT_TIMEOUT_S = 30.0  # from start to the health page: the imports of one process on a busy machine
ASK_TIMEOUT_S = 0.9  # probes give us one second
RELEASE_TIMEOUT_S = 5.0
KILL_RESERVE_S = 2.0  # of the grace period: a shard that did not end by then is killed


class Supervisor:
    """Owns the shard processes of one node. `crash` is told when there is no point in going on."""

    def __init__(self, settings: SessionNodeSettings, bus: Bus, metrics: Metrics, crash: Callable[[str], None]) -> None:
        self._settings = settings
        self._bus = bus
        self._metrics = metrics
        self._crash = crash
        self._restarts = metrics.counter("kurir_shard_restarts_total", "Shard processes started again after they ended")
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ports: dict[int, int] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self) -> None:
        """Start every shard; returns at once."""
        self._keeping = [asyncio.create_task(self._keep(index)) for index in range(self._settings.shards)]
        for task in self._keeping:
            task.add_done_callback(self._check)

    async def stop(self) -> None:
        """Let every shard hand over and end; kill those that do not within the grace period."""
        self._is_stopping = True
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        ending = [asyncio.create_task(process.wait()) for process in self._processes.values()]
        if ending:
            await asyncio.wait(ending, timeout=self._shard_grace_s + KILL_RESERVE_S / 2)
        for index, process in self._processes.items():
            if process.returncode is None:
                log.error("supervisor.shard_killed", shard=index)
                process.kill()
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, *ending, return_exceptions=True)

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the shards that run, by index."""
        return {index: process.pid for index, process in self._processes.items() if process.returncode is None}

    async def all_ready(self) -> bool:
        """True when every shard says that it is ready."""
        if len(self._ports) < self._settings.shards:
            return False
        answers = await asyncio.gather(*(_ask(port, "/health/ready") for port in self._ports.values()))
        return all(status == 200 for status, _ in answers)

    async def exposition(self) -> bytes:
        """The metrics of all shards that answer and our own, labelled by shard."""
        ports = dict(self._ports)
        answers = await asyncio.gather(*(_ask(port, "/metrics") for port in ports.values()))
        parts = {str(index): body for index, (status, body) in zip(ports, answers, strict=True) if status == 200}
        return merged({"supervisor": self._metrics.exposition(), **parts})

    async def _keep(self, index: int) -> None:
        """Run one shard for ever."""
        crashes = 0
        while not self._is_stopping:
            started_at = time.monotonic()
            process = await self._spawn(index)
            code = await process.wait()
            self._ports.pop(index, None)
            if self._is_stopping:
                return
            if code == MISCONFIGURED:
                self._crash(f"shard {index} cannot start with these settings")
                return
            await self._release(shard_id(self._settings.node_name, index))
            crashes = 1 if time.monotonic() - started_at > CALM_AFTER_S else crashes + 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (crashes - 1))
            log.error("supervisor.shard_ended", shard=index, code=code, crashes=crashes, pause_s=pause_s)
            self._restarts.add()
            await asyncio.sleep(pause_s)

    @property
    def _shard_grace_s(self) -> float:
        return max(1.0, self._settings.shutdown_grace_s - KILL_RESERVE_S)

    async def _spawn(self, index: int) -> asyncio.subprocess.Process:
        report_fd, their_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kurir.session_node",
                "--shard",
                str(index),
                "--supervised",
                str(their_fd),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(their_fd,),
                # A group of its own: Ctrl-C in a terminal reaches the supervisor alone, which tells the shards once.
                start_new_session=True,
                env=os.environ
                | {
                    "KURIR_NODE_NAME": self._settings.node_name,
                    "KURIR_HEALTH_HOST": "127.0.0.1",
                    "KURIR_HEALTH_PORT": "0",
                    "KURIR_SHUTDOWN_GRACE_S": str(self._shard_grace_s),
                },
            )
        finally:
            os.close(their_fd)
        self._processes[index] = process
        log.info("supervisor.shard_started", shard=index, pid=process.pid)
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                self._ports[index] = await _reported_port(report_fd)
        except (TimeoutError, ValueError):
            if process.returncode is None and not self._is_stopping:
                log.error("supervisor.shard_not_heard_of", shard=index)
                process.kill()
        return process

    async def _release(self, dead_shard: str) -> None:
        """Delete what a dead shard held; if the server cannot be told now, the leases expire."""
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                held = await self._bus.last_by_subjects(keyvalue.stream_of("leases"), "$KV.leases.>")
                for lease in held:
                    if keyvalue.is_marker(lease.headers) or _holder(lease.data) != dead_shard:
                        continue
                    key = keyvalue.key_in("leases", lease.subject)
                    with contextlib.suppress(RevisionConflict):  # it expired meanwhile
                        await keyvalue.delete(self._bus, "leases", key, revision=lease.seq)
                await keyvalue.delete(self._bus, "shards", dead_shard)
        except (PublishError, TimeoutError) as error:
            log.warning("supervisor.leases_not_released", shard=dead_shard, error=repr(error))

    def _check(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash(f"a shard cannot be kept running: {error!r}")


def _holder(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(data, type=Holder).holder
    except msgspec.DecodeError:
        return None


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


async def _ask(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET to a shard's health page; (0, b"") when it does not answer in time."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: shard\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return int(head.split(b" ", 2)[1]), body
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0, b""
