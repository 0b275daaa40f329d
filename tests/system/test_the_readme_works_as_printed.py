"""What the README tells a person to do, done as printed: `make demo`'s command, the curl lines, Ctrl-C, a second start.

Only ports and folder differ, so that a system that is up on this machine is left alone.
"""

import asyncio
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from tests.support.conditions import until
from tests.system.demo_process import STAYS_UP, DemoProcess, listens

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


def curl_lines(api_port: int) -> str:
    """The shell block of "The first message, in a minute", led to another port."""
    section = (ROOT / "README.md").read_text().split("## The first message, in a minute")[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1].replace("http://127.0.0.1:8080", f"http://127.0.0.1:{api_port}")


@pytest.fixture
def demo(tmp_path: Path) -> DemoProcess:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return DemoProcess(tmp_path, "-m", "kurir.cli", "up", "--demo")


async def test_the_demo_and_the_curl_lines_work_and_the_state_survives_a_restart(
    demo: DemoProcess, tmp_path: Path
) -> None:
    api_port = int(demo.ports["KURIR_API_PORT"])
    async with demo.running():
        await demo.until_it_says(STAYS_UP)
        assert "message delivered to webhook" in demo.said()
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
    assert not listens(api_port)
    assert not listens(int(demo.ports["KURIR_NATS_PORT"]))
    async with demo.running():
        await demo.until_it_says("message delivered to webhook")
        assert f"Device {first[1]} is connected" in demo.said(), demo.said()
        assert "QR code shown" not in demo.said()
        # What the first run left to deliver finds a receiver that listens already.
        assert "circuit.opened" not in (tmp_path / ".state" / "logs" / "webhook-dispatcher.log").read_text()


async def test_an_occupied_port_is_named_with_what_to_do(demo: DemoProcess, tmp_path: Path) -> None:
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
