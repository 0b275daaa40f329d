"""`standardwebhooks` and `svix`, from PyPI and from npm, verify what the dispatcher really sends."""

import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kurir.runtime.signing import new_signing_key, new_webhook_secret, public_key_of
from tests.contract.receivers.deliveries import Copy, an_endpoint, delivered, say_hard_things
from tests.support.dispatcher import Stage, a_message
from tests.support.receiver_program import PACKAGES, node_modules, running, runtime
from tests.support.webhook_receiver import WebhookReceiver

LIBRARIES: dict[str, tuple[Any, type[Exception]]] = {
    "standardwebhooks": (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    "svix": (svix.webhooks.Webhook, svix.webhooks.WebhookVerificationError),
}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_libraries_from_pypi_verify_every_delivery_and_no_forgery(
    stage: Stage, recorder: WebhookReceiver, library: str
) -> None:
    webhook, refused = LIBRARIES[library]
    new, old, key = new_webhook_secret(), new_webhook_secret(), new_signing_key()
    await an_endpoint(stage, recorder.url("/hook"), new, old, key, signatures=("standard", "ed25519", "device_gateway"))
    async with stage.dispatcher():
        ids = await say_hard_things(stage)
        requests = await recorder.wait_for(len(ids), timeout_s=60)
    assert {request.header("webhook-id") for request in requests} == set(ids)
    for request in requests:
        headers = dict(request.headers)
        for secret in (new, old):  # both, for the time in which receivers change over
            assert webhook(secret).verify(request.body, headers) in (request.json(), None)
        for forged_body, secret in ((request.body + b" ", new), (request.body, new_webhook_secret())):
            with pytest.raises(refused):
                webhook(secret).verify(forged_body, headers)


async def test_ed25519_signatures_of_every_delivery_are_verified_by_the_public_key(
    stage: Stage, recorder: WebhookReceiver
) -> None:
    new, old = new_signing_key(), new_signing_key()
    await an_endpoint(stage, recorder.url("/hook"), new, old, signatures=("ed25519",))
    async with stage.dispatcher():
        ids = await say_hard_things(stage)
        requests = await recorder.wait_for(len(ids), timeout_s=60)
    for request in requests:
        signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
        given = (request.header("webhook-signature") or "").split(" ")
        for key in (new, old):
            assert [_fits(public_key_of(key), one, signed) for one in given].count(True) == 1
        assert not any(_fits(public_key_of(new_signing_key()), one, signed) for one in given)


async def test_libraries_from_npm_verify_every_delivery_and_no_forgery(
    stage: Stage, recorder: WebhookReceiver, tmp_path: Path
) -> None:
    secret, key = new_webhook_secret(), new_signing_key()
    (tmp_path / "node_modules").symlink_to(node_modules())
    program = tmp_path / "receiver.cjs"
    program.write_text((PACKAGES / "published_libraries.cjs").read_text())
    async with running([runtime("node"), str(program)], tmp_path, secret) as receiver, stage.dispatcher():
        signatures = ("standard", "ed25519", "device_gateway")
        tried = await an_endpoint(stage, receiver.url(), secret, new_webhook_secret(), key, signatures=signatures)
        await an_endpoint(stage, recorder.url(), new_webhook_secret(), secret, id="we2")  # the older secret fits too
        ids = await say_hard_things(stage)
        attempts = await delivered(stage, tried, ids)
        assert {attempt.outcome for attempt in attempts} == {"delivered"}, receiver.log()
        assert sorted(receiver.handled()) == sorted(ids)
        copy = Copy.of(recorder.received[0])
        assert await copy.sent_to(receiver.url()) == 204
        assert await copy.sent_to(receiver.url(), body=copy.body + b" ") == 401
        assert await copy.sent_to(receiver.url(), webhook_id="another") == 401
        assert await copy.sent_to(receiver.url(), webhook_timestamp="1700000000") == 401


async def test_a_receiver_with_another_secret_refuses_what_is_sent(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules())
    program = tmp_path / "receiver.cjs"
    program.write_text((PACKAGES / "published_libraries.cjs").read_text())
    async with running([runtime("node"), str(program)], tmp_path, new_webhook_secret()) as receiver:
        await an_endpoint(stage, receiver.url(), new_webhook_secret())
        async with stage.dispatcher():
            await stage.say(a_message())
            (attempt, *_) = await stage.attempts_until(1)
    assert (attempt.status, attempt.outcome) == (401, "retry")


def _fits(public_key: str, given: str, signed: bytes) -> bool:
    version, _, signature = given.partition(",")
    with contextlib.suppress(InvalidSignature):
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
        key.verify(base64.b64decode(signature), signed)
        return version == "v1a"
    return False
