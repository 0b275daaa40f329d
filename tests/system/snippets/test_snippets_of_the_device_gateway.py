"""The device gateway's document: its verifier of webhooks in Node as it is printed, and its quickstart, which it
prints as steps, as curl commands."""

from pathlib import Path

import pytest
import pytest_asyncio

from kurir.runtime.signing import new_webhook_secret
from tests.support.conditions import until
from tests.support.receiver_program import ROOT, node_modules, running, runtime
from tests.system.snippets.conftest import FRIEND, Live, Tenant, told
from tests.system.snippets.programs import Programs

NAME = "device_gateway"
VERIFIER = ROOT / "tests" / "contract" / "receivers" / "recorded" / "express_over_parsed_body.mjs"

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(live: Live) -> Tenant:
    return await live.bare_tenant("devices")


@pytest.mark.shows(NAME, "webhook message.received", "snippet JavaScript")
async def test_the_quickstart_sends_a_text_and_the_printed_verifier_believes_its_webhooks(
    live: Live, tenant: Tenant, tmp_path: Path
) -> None:
    programs = Programs(NAME, tmp_path, {"BASE_URL": live.system.base_url, "<your-64-char-hex-key>": tenant.key})
    await programs.shell(programs.text("quickstart.sh"))
    assert "event: qr" in (tmp_path / "events.txt").read_text()
    (device,) = await tenant.http.call("GET", "/devices")
    tenant.device = device["id"]
    await tenant.scan()
    secret = new_webhook_secret()
    (tmp_path / "node_modules").symlink_to(node_modules())
    (tmp_path / "receiver.mjs").write_text(
        'import express from "express";\n'
        "const app = express();\n"
        "const WEBHOOK_SECRET = process.env.WEBHOOK_SECRET;\n"
        f"{VERIFIER.read_text()}"
        'app.listen(Number(process.env.PORT), "127.0.0.1");\n'
    )
    async with running([runtime("node"), str(tmp_path / "receiver.mjs")], tmp_path, secret) as receiver:
        events = ["message.received", "message.status", "device.status"]
        url = receiver.url("/wa/webhook")
        hook = await tenant.http.call("POST", "/webhooks", {"url": url, "events": events, "secret": secret})
        said = await programs.shell(programs.text("send_text.sh", **{"<id>": tenant.device}))
        assert '"status":"QUEUED"' in said, said
        assert told(await tenant.arrived(1)) == [("text", "Halo!")]
        echo = {"deviceId": tenant.device, "to": FRIEND, "text": "echo Halo!"}  # the sandbox's contact says it back
        await tenant.http.call("POST", "/messages/send-text", echo)
        seen: list[tuple[str, int | None]] = []

        async def are_verified() -> bool:
            page = await tenant.http.call("GET", f"/webhooks/{hook['id']}/attempts")
            seen[:] = [(one["event"], one["httpStatus"]) for one in page["attempts"]]
            return sorted(seen) == [("messages.upsert", 200), *[("send.message.status", 200)] * 6]

        await until("the echo and each status of both messages are verified", are_verified, seen=lambda: f"{seen}")
