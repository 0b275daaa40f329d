"""Receivers verify our signatures: with the published library, a published vector, and a seed-style verifier."""

import base64
import hashlib
import hmac
import os
import re
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from kurir.runtime.signing import (
    DeviceApiSigner,
    StandardWebhooksSigner,
    WebhookSecretInvalid,
    decode_webhook_secret,
    is_signing_key,
    is_written_by_us,
    new_signing_key,
    new_webhook_secret,
    public_key_of,
)

BODY = '{"event":"message.received","data":{"content":"Halo 👋/…"}}'.encode()


def test_the_published_vector_is_met() -> None:
    # https://docs.svix.com/receiving/verifying-payloads/how-manual, which the specification took over
    signer = StandardWebhooksSigner(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_published_library_verifies_and_notices_a_changed_byte() -> None:
    secret = new_webhook_secret()
    headers = StandardWebhooksSigner([secret]).headers("evt_1", int(time.time()), BODY)
    Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace(b"Halo", b"Hola"), headers)


def test_one_signer_signs_many_bodies_independently() -> None:
    secret = new_webhook_secret()
    signer = StandardWebhooksSigner([secret])
    for number in range(3):
        body = b'{"n":%d}' % number
        Webhook(secret).verify(body, signer.headers(f"evt_{number}", int(time.time()), body))


def test_during_a_rotation_receivers_with_either_secret_verify() -> None:
    new, old = new_webhook_secret(), new_webhook_secret()
    headers = StandardWebhooksSigner([new, old]).headers("evt_1", int(time.time()), BODY)
    assert re.fullmatch(r"v1,\S{44} v1,\S{44}", headers["webhook-signature"])
    Webhook(new).verify(BODY, headers)
    Webhook(old).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(BODY, headers)


def test_an_attempt_of_long_ago_is_refused_by_receivers() -> None:
    secret = new_webhook_secret()
    headers = StandardWebhooksSigner([secret]).headers("evt_1", int(time.time()) - 600, BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_a_dot_in_the_id_is_refused_because_dots_part_what_is_signed() -> None:
    with pytest.raises(ValueError, match="dot"):
        StandardWebhooksSigner([new_webhook_secret()]).headers("evt.1", 1, BODY)


def test_new_secrets_have_the_form_every_library_takes() -> None:
    secret = new_webhook_secret()
    assert secret.startswith("whsec_")
    assert len(decode_webhook_secret(secret)) == 32
    assert secret != new_webhook_secret()


@pytest.mark.parametrize("size", [24, 64])
def test_secrets_of_24_to_64_bytes_are_taken_with_or_without_prefix_and_padding(size: int) -> None:
    key = os.urandom(size)
    text = base64.b64encode(key).decode()
    for form in (f"whsec_{text}", text, f"whsec_{text.rstrip('=')}"):
        assert decode_webhook_secret(form) == key


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "my secret", "whsec_c2hvcnQ=", base64.b64encode(os.urandom(23)).decode(), "whsec_" + "A" * 120],
)
def test_other_secrets_are_refused_with_the_expected_form(secret: str) -> None:
    with pytest.raises(WebhookSecretInvalid, match="whsec_"):
        StandardWebhooksSigner([secret])


def test_an_endpoint_without_a_secret_cannot_sign() -> None:
    with pytest.raises(WebhookSecretInvalid):
        StandardWebhooksSigner([])


def test_the_device_api_signature_is_bare_hex_over_the_body_keyed_with_the_secret_as_shown() -> None:
    secret = "whsec_c2hvd24gdG8gdGhlIHRlbmFudA=="
    headers = DeviceApiSigner(secret).headers("message.received", 1746480000123, BODY)
    assert headers == {
        "X-Webhook-Event": "message.received",
        "X-Webhook-Signature": hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest(),
        "X-Webhook-Timestamp": "1746480000123",
    }
    assert re.fullmatch(r"[0-9a-f]{64}", headers["X-Webhook-Signature"])


def test_the_device_api_scheme_meets_rfc_4231_and_can_be_repeated() -> None:
    # RFC 4231, test case 2
    signer = DeviceApiSigner("Jefe")
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    for _ in range(2):
        signature = signer.headers("x", 0, b"what do ya want for nothing?")["X-Webhook-Signature"]
        assert signature == expected


# RFC 8032, 7.1, test 1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


@pytest.mark.parametrize("raw", [SEED, SEED + PUBLIC])
def test_signing_keys_are_taken_as_seed_alone_or_with_the_public_key_behind_it(raw: bytes) -> None:
    key = "whsk_" + base64.b64encode(raw).decode()
    assert public_key_of(key) == "whpk_" + base64.b64encode(PUBLIC).decode()


def test_new_signing_keys_are_all_different_and_say_what_they_are() -> None:
    key = new_signing_key()
    assert is_signing_key(key)
    assert not is_signing_key(new_webhook_secret())
    assert len(base64.b64decode(key.removeprefix("whsk_"))) == 64
    assert key != new_signing_key()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "whsk_",
        "whsk_c2hvcnQ=",
        "whsk_" + base64.b64encode(SEED + SEED).decode(),  # the public key is another one's
        base64.b64encode(SEED).decode(),
        "whsec_" + base64.b64encode(SEED).decode(),
    ],
)
def test_other_signing_keys_are_refused_with_the_expected_form(key: str) -> None:
    with pytest.raises(WebhookSecretInvalid, match="whsk_"):
        StandardWebhooksSigner(signing_keys=[key])


def test_a_signing_key_is_no_shared_secret() -> None:
    with pytest.raises(WebhookSecretInvalid, match="whsec_"):
        StandardWebhooksSigner([new_signing_key()])


@pytest.mark.parametrize(
    "header", ["webhook-id", "Webhook-Signature", "X-WEBHOOK-anything", "User-Agent", "traceparent"]
)
def test_headers_of_ours_are_known_in_any_case(header: str) -> None:
    assert is_written_by_us(header)
    assert not is_written_by_us("X-" + "Mine")
