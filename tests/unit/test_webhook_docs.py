"""The verifiers in the tenants' documentation, run as they stand there."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kurir.runtime.signing import DeviceApiSigner, StandardWebhooksSigner, new_webhook_secret

PAGE = Path(__file__).parents[2] / "docs" / "tenants" / "webhooks.md"
BODY = '{"event":"message.received","timestamp":1746484800000,"data":{"text":"Grüße"}}'.encode()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def signed(secret: str, sent_at: float) -> dict[str, str]:
    headers = StandardWebhooksSigner([new_webhook_secret(), secret]).headers("e1", int(sent_at), BODY)
    headers |= DeviceApiSigner(secret).headers("message.received", int(sent_at * 1000), BODY)
    return {name.lower(): value for name, value in headers.items()}


CASES = [(BODY, 0, True), (BODY + b" ", 0, False), (BODY, -600, False)]


@pytest.mark.parametrize(("body", "seconds_off", "genuine"), CASES)
def test_the_python_verifier_knows_what_is_genuine(body: bytes, seconds_off: int, genuine: bool) -> None:
    (snippet,) = snippets("python")
    names: dict[str, Any] = {}
    exec(snippet, names)
    secret = new_webhook_secret()
    headers = signed(secret, datetime.now(UTC).timestamp() + seconds_off)
    assert names["is_genuine"](secret, headers, body) is genuine


def test_the_node_verifiers_know_what_is_genuine() -> None:
    by_time, by_body = snippets("javascript")
    assert "isGenuine(" in by_time
    assert "isGenuineByBody(" in by_body
    node = shutil.which("node")
    if node is None:
        return
    secret = new_webhook_secret()
    now = datetime.now(UTC).timestamp()
    for body, seconds_off, genuine in CASES:
        call = f"isGenuine({json.dumps(secret)}, {json.dumps(signed(secret, now + seconds_off))}, Buffer.from(b))"
        assert _said_by(node, by_time, body, call) is genuine
    headers = json.dumps(signed(secret, now))
    for body, genuine in ((BODY, True), (BODY.replace(b"text", b"next"), False)):
        call = f"isGenuineByBody({json.dumps(secret)}, {headers}, JSON.parse(b))"
        assert _said_by(node, by_body, body, call) is genuine


def _said_by(node: str, snippet: str, body: bytes, call: str) -> bool:
    script = f"{snippet}\nconst b = {json.dumps(body.decode())};\nconsole.log({call})"
    ran = subprocess.run([node, "-e", script], capture_output=True, text=True, timeout=30, check=True)
    return {"true\n": True, "false\n": False}[ran.stdout]
