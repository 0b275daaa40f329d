"""What Fonnte's successor documents, as curl commands. It prints tables of headers and parameters, and of its snippets
the word "Loading..." alone: the commands are made of the tables."""

from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.printed_examples import file_of
from tests.support.web_site import WebSite
from tests.system.snippets.conftest import Live, Tenant, told
from tests.system.snippets.programs import Programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]

NAME = "fonnte"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(live: Live) -> Tenant:
    return await live.tenant("fonnte", code="device_legacy")


async def test_the_commands_send_and_ask(live: Live, tenant: Tenant, tmp_path: Path) -> None:
    async with WebSite() as site:
        site.page("/600x400.png", file_of("a.png", 600), "image/png")
        site.page("/report.pdf", file_of("a.pdf", 600), "application/pdf")
        programs = Programs(
            NAME, tmp_path, {"BASE_URL": live.system.base_url, "YOUR_API_KEY": tenant.key, "FILE_URL": site.url}
        )
        said = await programs.shell(programs.text("send.sh"))
        assert said.count('{"status":true,"reason":"Message sent successfully"') == 2, said
        said = await programs.shell(programs.text("send_message.sh"))
        assert said.startswith('{"success":true,"message":"Message dispatched successfully","id":"3EB0'), said
        said = await programs.shell(programs.text("send_media.sh"))
        assert '"message":"image message dispatched successfully"' in said, said
        assert '"message":"document message dispatched successfully"' in said, said
    messages = await tenant.arrived(5)
    assert {one["to"] for one in messages} == {"628123456789@s.whatsapp.net"}
    assert told(messages) == [
        ("document", "The report"),
        ("image", "A placeholder"),
        ("text", "Halo from JSON"),
        ("text", "Halo from a form"),
        ("text", "Halo from the dashboard"),
    ]
    said = await programs.shell(programs.text("status.sh"))
    assert '"id":"device_legacy"' in said, said
    assert f'"publicUrl":"{live.system.base_url}"' in said, said
    said = await programs.shell(programs.text("groups.sh"))
    assert said.startswith('{"success":true,"groups":['), said
