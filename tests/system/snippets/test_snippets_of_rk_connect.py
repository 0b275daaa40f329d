"""RK Connect's snippets, in every language that its document prints.

They are fragments that name `apiKey`, `timestamp` and `signature` and leave it to the reader where these come from.
Those of texts are put behind the document's own signing snippet; where it prints none (Go, curl), and for forms, whose
bytes no client knows before it sends them, the signature is made here: over what is sent, or over an empty body.
"""

import hashlib
import hmac
import time
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.conditions import until
from tests.system.snippets.conftest import FRIEND, Live, Tenant
from tests.system.snippets.programs import LARAVEL, Programs

NAME = "rk_connect"
PRINTED_URL = "https://connect.rumahkomunitas.com"
FILES = {"image": ("Promo today", "image.jpg"), "document": ("Invoice attached", "invoice.pdf")}
KEY, SECRET = "rk-project-api-key-of-the-snippets", "rk-project-api-secret-of-the-snippets"

GO = """package main

import (
{imports}
)

func main() {{
	apiKey, timestamp, signature := os.Getenv("API_KEY"), os.Getenv("TIMESTAMP"), os.Getenv("SIGNATURE")
{snippet}
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body))
}}
"""
_GO_PACKAGES = ("bytes", "encoding/json", "fmt", "io", "mime/multipart", "net/http", "os")

pytestmark = [pytest.mark.system, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]
"""Go builds its library once, which takes minutes on a small machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(live: Live) -> Tenant:
    """It has a key that signs, and the device that the document calls RK-XXXX."""
    made = await live.tenant("rk", code="RK-XXXX")
    await live.import_key("rk", f"{KEY} {SECRET}", "--dialect", NAME)
    return made


@pytest.fixture
def programs(live: Live, tenant: Tenant, tmp_path: Path) -> Programs:
    placeholders = {
        PRINTED_URL: live.system.base_url,
        "your_api_key": KEY,
        "your_api_secret": SECRET,
        "/path/to/": f"{tmp_path}/",
    }
    made = Programs(NAME, tmp_path, placeholders)
    made.files("image.jpg", "invoice.pdf")
    return made


def signed(body: str) -> dict[str, str]:
    """Timestamp and signature of a request with this body."""
    timestamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"{KEY}{timestamp}{body}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "signature": signature}


def variables_of(language: str, body: str) -> str:
    """What a reader writes before a fragment."""
    made = {"apiKey": KEY, **signed(body)}
    declared = {"js": "const {} = '{}';\n", "php": "${} = '{}';\n"}[language]
    return "".join(declared.format(name, value) for name, value in made.items())


def in_go(snippet: str, body: str) -> str:
    """A whole program; its imports are those whose names it uses."""
    made = {"API_KEY": KEY, **{name.upper(): value for name, value in signed(body).items()}}
    program = GO.format(imports="{imports}", snippet=snippet)
    for name, value in made.items():
        program = program.replace(f'os.Getenv("{name}")', f'"{value}"')
    used = [package for package in _GO_PACKAGES if f"{package.rpartition('/')[2]}." in program]
    return program.replace("{imports}", "\n".join(f'\t"{package}"' for package in used))


class Arrivals:
    """What reaches the tenant's contacts, one message after the other."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._count = 0

    async def next(self) -> tuple[str, str]:
        """Kind and text or caption of the next one."""
        self._count += 1
        message = (await self._tenant.arrived(self._count))[-1]
        assert message["to"] == f"{FRIEND}@s.whatsapp.net"
        assert message["deviceId"] == self._tenant.device
        content = message["content"]
        return content["kind"], content.get("text") or content.get("caption") or ""


@pytest.fixture(scope="module")
def arrivals(tenant: Tenant) -> Arrivals:
    return Arrivals(tenant)


TEXT = ("text", "Hello from RK Connect")


@pytest.mark.shows(NAME, "POST /api/v1/send", "snippet JavaScript")
async def test_the_javascript_signs_and_sends_a_text(programs: Programs, arrivals: Arrivals) -> None:
    sign = programs.text("sign.js") + "\nmodule.exports = { apiKey, timestamp, signature };\n"
    taken = "import signed from './sign.cjs';\nconst { apiKey, timestamp, signature } = signed;\n"
    await programs.node(taken + programs.text("text.js"), name="snippet.mjs", sign=sign)
    assert await arrivals.next() == TEXT


@pytest.mark.shows(NAME, "POST /api/v1/send", "snippet PHP")
async def test_the_php_signs_and_sends_a_text(programs: Programs, arrivals: Arrivals) -> None:
    show = "\necho $response->status(), ' ', $response->body();\n"
    said = await programs.php(LARAVEL + programs.text("sign.php") + programs.text("text.php") + show)
    assert said.startswith('200 {"success":true,"data":{"id":'), said
    assert await arrivals.next() == TEXT


@pytest.mark.shows(NAME, "POST /api/v1/send", "snippet Go")
async def test_the_go_sends_a_text(programs: Programs, arrivals: Arrivals) -> None:
    # Go writes the members of a map in the order of their names.
    body = '{"message":"Hello from RK Connect","recipient":"6281234567890","type":"text"}'
    said = await programs.go(in_go(programs.text("text.go"), body))
    assert said.startswith("200 "), said
    assert await arrivals.next() == TEXT


@pytest.mark.shows(NAME, "POST /api/v1/send", "snippet curl")
async def test_the_curl_command_sends_a_text(programs: Programs, arrivals: Arrivals) -> None:
    printed = programs.text("text.sh")
    body = printed.partition("-d '")[2].rpartition("'")[0]
    said = await programs.shell(filled_in(printed, body))
    assert '"status":"queued"' in said, said
    assert await arrivals.next() == TEXT


def filled_in(command: str, body: str) -> str:
    made = signed(body)
    return command.replace("1709308800", made["timestamp"]).replace("<calculated_hmac_here>", made["signature"])


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.shows(NAME, "POST /api/v1/send", "media", "snippet JavaScript")
@pytest.mark.shows(NAME, "POST /api/v1/send", "media", "snippet PHP")
@pytest.mark.shows(NAME, "POST /api/v1/send", "media", "snippet Go")
@pytest.mark.shows(NAME, "POST /api/v1/send", "media", "snippet curl")
async def test_files_are_sent_in_every_language(programs: Programs, arrivals: Arrivals, kind: str) -> None:
    expected = (kind, FILES[kind][0])
    imports = "import axios from 'axios';\nimport FormData from 'form-data';\nimport fs from 'fs';\n"
    javascript = programs.text(f"{kind}.js")
    before = variables_of("js", "") if javascript.startswith("import") else imports + variables_of("js", "")
    await programs.node(before + javascript, name="snippet.mjs")
    assert await arrivals.next() == expected
    show = "\necho $response->status(), ' ', $response->body();\n"
    said = await programs.php(LARAVEL + variables_of("php", "") + programs.text(f"{kind}.php") + show)
    assert said.startswith("200 "), said
    assert await arrivals.next() == expected
    said = await programs.go(in_go(programs.text(f"{kind}.go"), ""))
    assert said.startswith("200 "), said
    assert await arrivals.next() == expected
    said = await programs.shell(filled_in(programs.text(f"{kind}.sh"), ""))
    assert '"success":true' in said, said
    assert await arrivals.next() == expected


@pytest.mark.shows(NAME, "GET /api/v1/status/{uuid}", "answer.data.status")
async def test_the_printed_question_for_a_status_is_answered(
    programs: Programs, arrivals: Arrivals, tenant: Tenant
) -> None:
    printed = programs.text("text.sh")
    body = printed.partition("-d '")[2].rpartition("'")[0]
    said = await programs.shell(filled_in(printed, body))
    assert await arrivals.next() == TEXT
    message_id = said.partition('"id":"')[2].partition('"')[0]
    method, path, *_ = programs.text("status.http").split()
    made = signed("")
    headers = {"X-API-KEY": KEY, "X-TIMESTAMP": made["timestamp"], "X-SIGNATURE": made["signature"]}
    path = path.rpartition("/")[0] + f"/{message_id}"

    async def is_read() -> bool:
        answer = await tenant.http.call(method, path, headers=headers)
        return bool((answer["data"]["status"], answer["data"]["device_code"]) == ("read", "RK-XXXX"))

    await until("the message is read", is_read, within_s=30)
