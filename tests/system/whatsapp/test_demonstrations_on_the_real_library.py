"""`make demo` with the real library, as a person sees it: with a phone and a QR code, or with the emulator alone."""

import asyncio
import json
import shlex
from pathlib import Path

import pytest

from kurir.cli.demo import qr_for_terminal
from tests.support.server_process import free_port
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.system.demo_process import STAYS_UP, DemoProcess, listens
from tests.system.live_system import Client
from tests.system.whatsapp.people import LINKED_WITHIN_S, first_qr

AYU = "628111000009"

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_a_person_pairs_by_the_code_in_the_terminal_and_nothing_is_sent_for_them(
    emulator: EmulatorProcess, whatsapp: EmulatorClient, tmp_path: Path
) -> None:
    demo = DemoProcess(tmp_path, "-m", "kurir.cli", "up", "--demo", "--engine", "neonize", PYTHONPATH=str(emulator.cwd))
    health = int(demo.ports["KURIR_HEALTH_PORTS"])
    trusting = emulator.trusting(doors=[int(demo.ports["KURIR_NATS_PORT"])], windows=[health + 1])
    demo.ports["KURIR_SESSION_NODE_PREFIX"] = shlex.join(trusting)
    mark = await whatsapp.mark()
    async with demo.running():
        await demo.until_it_says("Link a device")
        made = json.loads((tmp_path / ".state" / "demo.json").read_text())
        tenant = Client(f"http://127.0.0.1:{demo.ports['KURIR_API_PORT']}", made["api_key"])
        qr = await asyncio.wait_for(first_qr(tenant, made["devices"]["neonize"]), LINKED_WITHIN_S)
        await demo.until_it_says(qr_for_terminal(qr))
        await whatsapp.scan(qr, AYU, name="Ayu")
        await demo.until_it_says(STAYS_UP)
        assert f"paired and connected as {AYU}" in demo.said()
        assert f'"to":"{AYU}"' in demo.said()
        await tenant.close()
    assert not await whatsapp.journal("message.sent", after=mark)


async def test_the_emulators_play_shows_every_step_and_leaves_nothing_behind(
    emulator: EmulatorProcess, tmp_path: Path
) -> None:
    control = free_port()
    arguments = ("-m", "tests.support.whatsapp_emulator.demo", "--control-port", str(control))
    demo = DemoProcess(tmp_path, *arguments, PYTHONPATH=str(emulator.cwd))
    async with demo.running():
        await demo.until_it_says(STAYS_UP)
        for step in (
            "scanned by",
            "text out",
            "image out",
            "text in",
            "image in",
            "group message out",
            "group message in",
        ):
            assert f"{step}" in demo.said(), step
        assert "signature ✗" not in demo.said()
        assert listens(control)
    for port in (control, int(demo.ports["KURIR_NATS_PORT"]), int(demo.ports["KURIR_API_PORT"])):
        assert not listens(port)
