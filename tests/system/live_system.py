"""The processes of `kurir up` on free ports with a state folder of their own, for tests that break them.

Every process is started by the command that a container runs, and is started again when it dies, as an orchestrator
would do it.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from kurir.cli.embedded import servers, service_environment, services
from kurir.cli.processes import ManagedProcess
from kurir.cli.settings import UpSettings
from kurir.runtime.settings import load
from tests.support.server_process import free_port, free_ports
from tests.support.whatsapp_emulator.process import EmulatorProcess


class LiveSystem:
    """Start with `start`, end with `stop`; `process(name)` finds one to kill. With `whatsapp` it has that one alone."""

    def __init__(self, state: Path, *, whatsapp: EmulatorProcess | None = None, **environment: str) -> None:
        first, nats_port = free_ports(4), free_port()
        trusting = whatsapp.trusting(doors=[nats_port], windows=[first + 1]) if whatsapp is not None else []
        self.settings = load(
            UpSettings,
            environment="demo",
            state=state,
            api_port=free_port(),
            nats_port=nats_port,
            mongo_port=free_port(),
            receiver_port=free_port(),
            health_ports=first,
            session_node_prefix=shlex.join(trusting),
        )
        self._environment = environment
        self._processes: dict[str, ManagedProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self.deaths: list[str] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def nats_url(self) -> str:
        return f"nats://127.0.0.1:{self.settings.nats_port}"

    async def start(self) -> None:
        """Everything up and ready."""
        for process in servers(self.settings):
            self._processes[process.name] = process
            await process.start()
        await self.kurir("topology", "apply")
        wanted = services(self.settings, self._environment)
        self._processes |= {process.name: process for process in wanted}
        await asyncio.gather(*(process.start() for process in wanted))
        self._keepers = [
            asyncio.create_task(process.keep(lambda died, _: self.deaths.append(died.name)))
            for process in self._processes.values()
        ]

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in reversed(self._processes.values()):
            await process.stop()

    async def kurir(self, *arguments: str, stdin: str = "") -> str:
        """Run a kurir command against this system and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kurir.cli", *arguments),
            env={**os.environ, **service_environment(self.settings), **self._environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            output, errors = await process.communicate(stdin.encode())
        assert process.returncode == 0, f"kurir {' '.join(arguments)}:\n{errors.decode()}"
        return output.decode()

    def process(self, name: str) -> ManagedProcess:
        return self._processes[name]

    def kill(self, name: str) -> None:
        """SIGKILL one process: `shard` is one of the session-node's children, others go by their names."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    def kill_node(self) -> None:
        """SIGKILL the session-node with all its shards, as if its machine were gone."""
        supervisor = self.pid_of("session-node")
        for pid in (supervisor, *_children(supervisor)):
            with contextlib.suppress(ProcessLookupError):  # shards end with their supervisor
                os.kill(pid, signal.SIGKILL)

    def pid_of(self, name: str) -> int:
        if name == "shard":
            parent = self._processes["session-node"].pid
            assert parent is not None
            return min(_children(parent))
        pid = self._processes[name].pid
        assert pid is not None
        return pid

    def log_of(self, name: str) -> str:
        return self._processes[name].tail(200)

    async def operator(self) -> "Client":
        """A client with a fresh operator key."""
        output = await self.kurir("key", "create", "--operator", "--name", "test")
        return Client(self.base_url, output.split()[-1])


class Client:
    """Calls the API with one key, as a tenant or operator would, trying again where the answer says so."""

    def __init__(self, base_url: str, key: str) -> None:
        self.key = key
        self.http = httpx.AsyncClient(
            base_url=base_url,
            headers={"X-API-Key": key},
            timeout=20,
            trust_env=False,
            limits=httpx.Limits(max_connections=32),
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """The answer's body. Fails the test when the answer is not a success."""
        answer = await self.http.request(method, path, json=json, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def call_until(self, method: str, path: str, json: Any = None, within_s: float = 60, **options: Any) -> Any:
        """As `call`, but an answer of 5xx and a refused connection are tried again, with the same headers."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                answer = await self.http.request(method, path, json=json, **options)
                if answer.status_code < 500:
                    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
                    return answer.json() if answer.content else None
            except httpx.TransportError as error:
                answer = error  # type: ignore[assignment]
            assert asyncio.get_running_loop().time() < deadline, f"{method} {path}: still {answer!r}"
            await asyncio.sleep(0.2)


async def eventually(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait until `condition()`; fails with `what` was waited for."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not in {within_s:.0f} s: {what}"
        await asyncio.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
