"""A real nats-server in a Docker container, with the manners of `NatsServer`: for machines that have Docker.

The image is the one that `deploy/compose.yaml` runs, so the tests see what production runs.
"""

import asyncio
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

from testcontainers.core.container import DockerContainer

from tests.support.nats_server import NatsServer

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose.yaml"


@cache
def docker_answers() -> bool:
    """Whether a Docker engine is at hand, not the client alone."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0


def image() -> str:
    """The NATS image of the compose file."""
    found = re.search(r"image: (nats:\S+)", COMPOSE.read_text())
    assert found is not None, "compose.yaml names no NATS image"
    return found[1]


class NatsContainer(NatsServer):
    """One container on a fixed host port; its store is the container's own and survives `kill` and `restart`."""

    def __init__(self) -> None:
        super().__init__()
        self._container = (
            DockerContainer(image()).with_bind_ports(4222, self.port).with_command(["-js", "-sd", "/data"])
        )
        self._is_created = False
        self._is_up = False

    @property
    def is_running(self) -> bool:
        return self._is_up

    def log(self) -> str:
        out, err = self._container.get_logs() if self._is_created else (b"", b"")
        return (out + err).decode(errors="replace")

    async def start(self) -> None:
        if self._is_created:
            await asyncio.to_thread(self._container.get_wrapped_container().start)
        else:
            await asyncio.to_thread(self._container.start)
            self._is_created = True
        self._is_up = True
        deadline = time.monotonic() + self.started_within_s
        while not await self.answers():
            assert time.monotonic() < deadline, f"nats-server did not answer in time:\n{self.log()}"
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._is_up:
            await asyncio.to_thread(self._container.get_wrapped_container().kill)
            self._is_up = False

    async def freeze(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().pause)

    async def thaw(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().unpause)

    async def stop(self) -> None:
        if self._is_created:
            await asyncio.to_thread(self._container.stop)
            self._is_created = self._is_up = False
        await super().stop()
