"""A receiver that verifies what express parsed and JSON.stringify wrote again: it has to see the very bytes that were
signed. The receiver is the published example of the API that `device_gateway` follows, unchanged."""

from pathlib import Path

from msgspec.structs import replace

from tests.contract.receivers.deliveries import Copy, delivered, say_hard_things
from tests.support.dispatcher import Stage
from tests.support.receiver_program import node_modules, running, runtime
from tests.support.webhook_receiver import WebhookReceiver

EXAMPLE = Path(__file__).parent / "recorded" / "express_over_parsed_body.mjs"
PATH = "/wa/webhook"


async def test_the_published_example_verifies_every_delivery_unchanged(
    stage: Stage, recorder: WebhookReceiver, tmp_path: Path
) -> None:
    recorded = await stage.endpoint(recorder.url("/hook"))
    secret = stage.secrets[recorded.id]
    (tmp_path / "node_modules").symlink_to(node_modules())
    program = tmp_path / "receiver.mjs"
    program.write_text(
        'import express from "express";\n'
        "const app = express();\n"
        "const WEBHOOK_SECRET = process.env.WEBHOOK_SECRET;\n"
        f"{EXAMPLE.read_text()}"
        'app.listen(Number(process.env.PORT), "127.0.0.1");\n'
    )
    async with running([runtime("node"), str(program)], tmp_path, secret) as receiver, stage.dispatcher():
        own = replace(recorded.secrets[0], sealed=stage.sealed(secret, "t1", "we2"))
        tried = await stage.endpoint(receiver.url(PATH), id="we2", secrets=(own,))
        ids = await say_hard_things(stage)
        attempts = await delivered(stage, tried, ids)
        assert {(attempt.status, attempt.outcome) for attempt in attempts} == {(200, "delivered")}, receiver.log()
        copy = Copy.of(recorder.received[0])
        assert await copy.sent_to(receiver.url(PATH)) == 200
        assert (
            await copy.sent_to(receiver.url(PATH), body=copy.body.replace(b'"fromMe":false', b'"fromMe":true ')) == 401
        )
        assert await copy.sent_to(receiver.url(PATH), x_webhook_signature="0" * 64) == 401
