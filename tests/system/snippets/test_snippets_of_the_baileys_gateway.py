"""The snippets of the Baileys gateway's document, in every language that it prints, without a key as it has none."""

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.system.snippets.conftest import FRIEND, OPEN_DEVICE, OPEN_TENANT, Live, Tenant, told
from tests.system.snippets.programs import Programs

NAME = "baileys_gateway"
PRINTED_URL = "http://localhost:5000"

pytestmark = [pytest.mark.system, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(live: Live) -> Tenant:
    return await live.tenant(OPEN_TENANT, code=OPEN_DEVICE)


@pytest.fixture
def programs(live: Live, tmp_path: Path) -> Programs:
    made = Programs(NAME, tmp_path, {PRINTED_URL: live.system.base_url})
    made.files("image.jpg", "document.pdf", "sunset.jpg", "report.pdf", "voice_message.mp3", "demo.mp4")
    made.files("funny_sticker.webp")
    return made


class Seen:
    """What a tenant's messages are since the last time one looked."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._count = 0

    async def new(self, count: int) -> list[dict[str, Any]]:
        found = await self._tenant.arrived(self._count + count)
        new, self._count = found[self._count :], len(found)
        assert {one["to"] for one in new} == {f"{FRIEND}@s.whatsapp.net"}
        return new


@pytest.fixture(scope="module")
def seen(tenant: Tenant) -> Seen:
    return Seen(tenant)


@pytest.mark.shows(NAME, "POST /api/send-message", "snippet JavaScript")
@pytest.mark.shows(NAME, "POST /api/send-image", "snippet JavaScript")
async def test_the_javascript_sends_a_text_and_an_image(programs: Programs, seen: Seen) -> None:
    said = await programs.node(programs.text("send.js"))
    assert said.count("Success:") == 2, said
    assert told(await seen.new(2)) == [("image", "Sample image"), ("text", "Hello from Node.js!")]


@pytest.mark.shows(NAME, "POST /api/send-message", "snippet Python")
@pytest.mark.shows(NAME, "POST /api/send-image", "snippet Python")
async def test_the_python_sends_a_text_and_an_image(programs: Programs, seen: Seen) -> None:
    said = await programs.python(programs.text("send.py"))
    assert said.count("'status': 'success'") == 2, said
    assert told(await seen.new(2)) == [("image", "Sample image"), ("text", "Hello from Python!")]


@pytest.mark.shows(NAME, "POST /api/send-message", "snippet PHP")
@pytest.mark.shows(NAME, "POST /api/send-image", "snippet PHP")
async def test_the_php_sends_a_text_and_an_image(programs: Programs, seen: Seen) -> None:
    called = "<?php print_r(sendImage('6281234567890', './image.jpg', 'Sample image'));"  # the document does not
    said = await programs.php(programs.text("send.php") + called)
    assert said.count("[status] => success") == 2, said
    assert "[filename] => image.jpg" in said, "PHP's curl says ./image.jpg"
    assert told(await seen.new(2)) == [("image", "Sample image"), ("text", "Hello from PHP!")]


@pytest.mark.shows(NAME, "POST /api/send-message", "snippet curl")
@pytest.mark.shows(NAME, "GET /api/status", "snippet curl")
@pytest.mark.shows(NAME, "GET /api/health", "snippet curl")
async def test_the_curl_commands_send_and_ask(programs: Programs, seen: Seen) -> None:
    said = await programs.shell(programs.text("commands.sh"))
    assert said.count('"status":"success"') == 3, said
    assert '"bot_connected":true' in said, said
    assert '"whatsapp_bot":"connected"' in said, said
    assert told(await seen.new(3)) == [
        ("document", "Important document"),
        ("image", "Sample image"),
        ("text", "Hello from cURL!"),
    ]


@pytest.mark.shows(NAME, "POST /api/send-image", "snippet curl")
@pytest.mark.shows(NAME, "POST /api/send-document", "snippet curl")
@pytest.mark.shows(NAME, "POST /api/send-audio", "snippet curl")
@pytest.mark.shows(NAME, "POST /api/send-video", "snippet curl")
@pytest.mark.shows(NAME, "POST /api/send-sticker", "snippet curl")
async def test_the_curl_example_of_every_endpoint_sends_its_file(programs: Programs, seen: Seen) -> None:
    for kind in ("image", "document", "audio", "video", "sticker"):
        said = await programs.shell(programs.text(f"send_{kind}.sh"))
        assert f"{kind.capitalize()} sent successfully" in said, said
    assert told(await seen.new(5)) == [
        ("audio", ""),
        ("document", "Important document"),
        ("image", "Beautiful sunset photo!"),
        ("sticker", ""),
        ("video", "Amazing video!"),
    ]
