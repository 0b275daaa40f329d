"""What the document of the Evolution gateway prints, as curl commands: headers, paths' keys and events are all that it
prints, no snippet of a client."""

from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.printed_examples import file_of
from tests.support.web_site import WebSite
from tests.support.webhook_receiver import WebhookReceiver
from tests.system.snippets.conftest import Live, Tenant, told
from tests.system.snippets.programs import Programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]

NAME = "evolution"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(live: Live) -> Tenant:
    return await live.bare_tenant("evolution")


@pytest.mark.shows(NAME, "webhook send.message.status", "sent")
async def test_the_commands_make_an_instance_and_send_with_its_key(live: Live, tenant: Tenant, tmp_path: Path) -> None:
    async with WebSite() as site, WebhookReceiver() as receiver:
        site.page("/report.pdf", file_of("a.pdf", 600), "application/pdf")
        placeholders = {
            "BASE_URL": live.system.base_url,
            "YOUR_GLOBAL_TENANT_API_KEY": tenant.key,
            "FILE_URL": site.url,
            "WEBHOOK_URL": receiver.url(),
        }
        programs = Programs(NAME, tmp_path, placeholders)
        said = await programs.shell(programs.text("create_instance.sh"))
        assert '"instanceName":"CS_HQ_NODE1"' in said, said
        assert '"base64":"data:image/png;base64,' in said, "the QR code is in the answer"
        (device,) = await tenant.http.call("GET", "/devices")
        tenant.device = device["id"]
        await tenant.scan()
        said = await programs.shell(programs.text("connection_state.sh"))
        assert said == '{"instance":{"instanceName":"CS_HQ_NODE1","state":"open"}}', said
        said = await programs.shell(programs.text("set_webhook.sh"))
        assert receiver.url() in said, said
        said = await programs.shell(programs.text("send_text.sh"))
        assert '"remoteJid":"6281234567890@s.whatsapp.net","fromMe":true,"id":"3EB0' in said, said
        said = await programs.shell(programs.text("send_media.sh"))
        assert '"documentMessage"' in said, said
        messages = await tenant.arrived(2)
        assert told(messages) == [("document", "The report"), ("text", "*Hello* from the gateway")]
        told_of = await receiver.wait_for(count=2, where=lambda one: one.json()["event"] == "send.message.status")
        assert {one.json()["instance"] for one in told_of} == {"CS_HQ_NODE1"}
        assert {one.json()["data"]["status"] for one in told_of} == {"sent"}
