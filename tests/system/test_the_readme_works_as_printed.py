"""What the README tells a person to do, done as printed: `make demo`'s command, the curl lines, Ctrl-C, a second start.

Only ports and folder differ, so that a system that is up on this machine is left alone.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.conditions import until
from tests.support.server_process import free_port
from tests.system.live_system import four_free_ports

ROOT = Path(__file__).parents[2]
UP_WITHIN_S = 120.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


def curl_lines(api_port: int) -> str:
    """The shell block of "The first message, in a minute", led to another port."""
    section = (ROOT / "README.md").read_text().split("## The first message, in a minute")[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1].replace("http://127.0.0.1:8080", f"http://127.0.0.1:{api_port}")


class Demo:
    """`kurir up --demo`, what `make demo` runs, in a folder of its own."""

    def __init__(self, folder: Path, ports: dict[str, str]) -> None:
        self._folder = folder
        self.ports = ports
        self._said = folder / "said.txt"
        self._process: asyncio.subprocess.Process | None = None

    def said(self) -> str:
        return self._said.read_text()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        with self._said.open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kurir.cli", "up", "--demo"),
                cwd=self._folder,
                env={**os.environ, **self.ports},
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            await until(
                "the first message is delivered to the webhook",
                lambda: "Ctrl-C stops everything" in self.said() or self._ended(),
                within_s=UP_WITHIN_S,
                seen=self.said,
            )
            assert "message delivered to webhook" in self.said(), self.said()
            yield
            self._process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(self._process.wait(), 60) == 0, self.said()
        finally:
            if not self._ended():
                self._process.kill()

    def _ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    names = ("KURIR_API_PORT", "KURIR_NATS_PORT", "KURIR_MONGO_PORT", "KURIR_RECEIVER_PORT")
    ports = {name: str(free_port()) for name in names} | {"KURIR_HEALTH_PORTS": str(four_free_ports())}
    return Demo(tmp_path, ports)


async def test_the_demo_and_the_curl_lines_work_and_the_state_survives_a_restart(demo: Demo, tmp_path: Path) -> None:
    api_port = int(demo.ports["KURIR_API_PORT"])
    async with demo.up():
        shell = await asyncio.create_subprocess_exec(
            # Without -e, as pasted lines run: the curl that follows the event stream ends by its time limit.
            *("bash", "-c", curl_lines(api_port)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await asyncio.wait_for(shell.communicate(), 60))[0].decode()
        assert "event: qr" in output, output
        assert '"status":"READ"' in output, output
        for fact in ("send.message.queued", "send.message.sending", "send.message.status", "delivery.attempt"):
            assert f'"kind":"{fact}"' in output, output
        await until("both messages are read, by webhook", lambda: demo.said().count(" READ ") >= 3, within_s=20)
        assert "signature ✗" not in demo.said()
        first = re.search(r"Device created: (\S+)", demo.said())
        assert first is not None
    assert not _listens(api_port)
    assert not _listens(int(demo.ports["KURIR_NATS_PORT"]))
    async with demo.up():
        assert f"Device {first[1]} is connected" in demo.said(), demo.said()
        assert "QR code shown" not in demo.said()


async def test_an_occupied_port_is_named_with_what_to_do(demo: Demo, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kurir.cli", "up"),
            cwd=tmp_path,
            env={**os.environ, **demo.ports, "KURIR_API_PORT": str(port)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert process.returncode == 1
    assert f"Port {port}" in output
    assert "KURIR_API_PORT=" in output


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
