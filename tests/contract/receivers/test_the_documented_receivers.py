"""The receivers in the tenants' documentation, taken from the page as they stand there, receive real deliveries."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kurir.runtime.signing import StandardWebhooksSigner, new_signing_key, new_webhook_secret, public_key_of
from tests.contract.receivers.deliveries import Copy, an_endpoint, delivered, say_hard_things
from tests.support.conditions import until
from tests.support.dispatcher import Stage
from tests.support.receiver_program import built_with_go, node_modules, running, runtime
from tests.support.webhook_receiver import WebhookReceiver

PAGE = Path(__file__).parents[3] / "docs" / "tenants" / "webhooks.md"
LONG_AGO_S = 600


def snippet(language: str, holding: str) -> str:
    """The one snippet of the page in this language that has these words."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (one,) = [text for text in found if holding in text]
    return str(one)


def in_python(folder: Path) -> list[str]:
    (folder / "receiver.py").write_text(snippet("python", "serve_forever"))
    return [sys.executable, "receiver.py"]


def in_node(folder: Path) -> list[str]:
    (folder / "node_modules").symlink_to(node_modules())
    (folder / "receiver.js").write_text(snippet("javascript", "app.listen"))
    return [runtime("node"), "receiver.js"]


def in_php(folder: Path) -> list[str]:
    (folder / "receiver.php").write_text(snippet("php", "is_genuine"))
    return [runtime("php"), "-S", "127.0.0.1:{port}", "receiver.php"]


def in_go(folder: Path) -> list[str]:
    (folder / "receiver.go").write_text(snippet("go", "ListenAndServe"))
    return [str(built_with_go(folder / "receiver.go"))]


@pytest.mark.timeout(360)  # Go builds its library once
@pytest.mark.parametrize("made", [in_python, in_node, in_php, in_go])
async def test_a_receiver_handles_what_is_genuine_once_and_refuses_everything_else(
    stage: Stage, recorder: WebhookReceiver, tmp_path: Path, made: Callable[[Path], list[str]]
) -> None:
    secret = new_webhook_secret()
    command = made(tmp_path)
    async with running(command, tmp_path, secret) as receiver, stage.dispatcher():
        tried = await an_endpoint(stage, receiver.url(), new_webhook_secret(), secret)  # it is just being replaced
        await an_endpoint(stage, recorder.url(), secret, id="we2")
        ids = await say_hard_things(stage)
        attempts = await delivered(stage, tried, ids)
        assert {(attempt.status, attempt.outcome) for attempt in attempts} == {(204, "delivered")}, receiver.log()
        # It may answer before it says so.
        await until("every event was handled", lambda: len(receiver.handled()) >= len(ids))
        assert sorted(receiver.handled()) == sorted(ids)
        for request in recorder.received:
            assert await Copy.of(request).sent_to(receiver.url()) == 204, "a repeat is welcome"
        copy = Copy.of(recorder.received[0])
        identifier = copy.headers["webhook-id"]
        late = StandardWebhooksSigner([secret]).headers(
            identifier, int(copy.headers["webhook-timestamp"]) - LONG_AGO_S, copy.body
        )
        forgeries = [
            {"body": copy.body + b" "},
            {"webhook_id": "another"},
            {"webhook_timestamp": str(int(copy.headers["webhook-timestamp"]) + 1)},
            {"webhook_timestamp": "now"},
            {"webhook_signature": ""},
            {"webhook_signature": "v1," + "A" * 43 + "="},
            {name.replace("-", "_"): value for name, value in late.items()},
        ]
        for forged in forgeries:
            assert await copy.sent_to(receiver.url(), **forged) == 401, forged  # type: ignore[arg-type]
        assert sorted(receiver.handled()) == sorted(ids), "nothing was handled twice, no forgery at all"


async def test_the_documented_verifiers_of_single_signatures_know_what_is_genuine(
    stage: Stage, recorder: WebhookReceiver
) -> None:
    secret, key = new_webhook_secret(), new_signing_key()
    await an_endpoint(stage, recorder.url(), secret, key, signatures=("standard", "ed25519", "device_gateway"))
    async with stage.dispatcher():
        ids = await say_hard_things(stage)
        requests = await recorder.wait_for(len(ids), timeout_s=60)
    by_key = snippet("javascript", "isGenuineByPublicKey")
    by_body = snippet("javascript", "isGenuineByBody")
    for request in requests:
        headers = json.dumps({name.lower(): value for name, value in request.headers})
        for sent, genuine in ((request.body, True), (request.body[:-1] + b',"x":1}', False)):
            text = json.dumps(sent.decode())
            public, other = public_key_of(key), public_key_of(new_signing_key())
            assert _said(by_key, f"isGenuineByPublicKey({public!r}, {headers}, Buffer.from({text}))") is genuine
            assert _said(by_key, f"isGenuineByPublicKey({other!r}, {headers}, Buffer.from({text}))") is False
            assert _said(by_body, f"isGenuineByBody({secret!r}, {headers}, JSON.parse({text}))") is genuine


def _said(text: str, call: str) -> bool:
    ran = subprocess.run(
        [runtime("node"), "-"],
        input=f"{text}\nconsole.log({call})",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    return {"true\n": True, "false\n": False}[ran.stdout]
