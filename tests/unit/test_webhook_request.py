"""The headers of a webhook request: who is asked to verify what, and what tenants may add."""

import base64
import contextlib
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace
from standardwebhooks import Webhook, WebhookVerificationError

from kurir.contracts.records import BodyHmac, Endpoint, SealedCertificate, SealedSecret
from kurir.runtime.secrets import MasterKey, new_master_key
from kurir.runtime.signing import new_signing_key, new_webhook_secret, public_key_of
from kurir.webhook_dispatcher.request import RequestWriter, SecretsUnusable, secret_context, shown

NOW = datetime.now(UTC)

BODY = '{"event":"message.received","data":{"text":"Grüße"}}'.encode()
MASTER = MasterKey.parse(new_master_key())
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _each_test_has_its_own_now() -> None:
    """Verifiers go by the clock and tolerate five minutes, and a test may run long after it was collected."""
    global NOW
    NOW = datetime.now(UTC)


def sealed(secret: str, *, made_s_ago: float = 0, expires_in_s: float | None = None) -> SealedSecret:
    return SealedSecret(
        id="s1",
        sealed=MASTER.seal(secret, secret_context("t1", "we1")),
        created_at=NOW - timedelta(seconds=made_s_ago),
        expires_at=None if expires_in_s is None else NOW + timedelta(seconds=expires_in_s),
    )


def sealed_key(signing_key: str, *, made_s_ago: float = 0, expires_in_s: float | None = None) -> SealedSecret:
    one = sealed(signing_key, made_s_ago=made_s_ago, expires_in_s=expires_in_s)
    return replace(one, public_key=public_key_of(signing_key))


def is_genuine(public_key: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether a `v1a` signature fits, as https://github.com/standard-webhooks/standard-webhooks has it."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for given in headers["webhook-signature"].split(" "):
        version, _, signature = given.partition(",")
        if version == "v1a":
            with contextlib.suppress(InvalidSignature):
                key.verify(base64.b64decode(signature), signed)
                return True
    return False


def an_endpoint(*secrets: SealedSecret, **fields: Any) -> Endpoint:
    context = secret_context("t1", fields.get("id", "we1"))
    fields["headers"] = {name: MASTER.seal(value, context) for name, value in fields.get("headers", {}).items()}
    given = {"id": "we1", "tenant": "t1", "url": "https://a.example/", "created_at": NOW, "updated_at": NOW}
    return Endpoint(**{**given, "secrets": secrets, **fields})


def headers_of(endpoint: Endpoint, now: datetime | None = None, **fields: Any) -> dict[str, str]:
    given = {"event_id": "e1", "event_name": "message.received", "body": BODY, "now": now or NOW}
    written = RequestWriter(endpoint, MASTER).headers(**{**given, **fields})
    assert len({name.lower() for name, _ in written}) == len(written), "a header twice"
    return dict(written)


def test_by_default_both_families_are_there() -> None:
    secret = new_webhook_secret()
    headers = headers_of(an_endpoint(sealed(secret)))
    assert Webhook(secret).verify(BODY, headers)
    assert headers["webhook-id"] == "e1"
    assert headers["X-Webhook-Event"] == "message.received"
    assert headers["X-Webhook-Timestamp"] == str(int(NOW.timestamp() * 1000))
    assert headers["X-Webhook-Signature"] == hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("Kurir/")


def test_while_a_secret_is_rotated_receivers_with_either_verify() -> None:
    old, new = new_webhook_secret(), new_webhook_secret()
    headers = headers_of(an_endpoint(sealed(old, made_s_ago=99, expires_in_s=60), sealed(new)))
    assert Webhook(old).verify(BODY, headers)
    assert Webhook(new).verify(BODY, headers)
    assert headers["X-Webhook-Signature"] == hmac.new(new.encode(), BODY, hashlib.sha256).hexdigest()


def test_a_secret_stops_signing_when_its_time_is_over() -> None:
    old, new = new_webhook_secret(), new_webhook_secret()
    writer = RequestWriter(an_endpoint(sealed(old, expires_in_s=60), sealed(new)), MASTER)
    before, after = (
        dict(writer.headers(event_id="e1", event_name="x", body=BODY, now=now))
        for now in (NOW, NOW + timedelta(seconds=61))
    )
    assert Webhook(old).verify(BODY, before)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(BODY, after)
    assert Webhook(new).verify(BODY, after)


def test_an_endpoint_gets_the_signatures_it_asks_for() -> None:
    secret = new_webhook_secret()
    assert "webhook-signature" not in headers_of(an_endpoint(sealed(secret), signatures=("device_gateway",)))
    assert "X-Webhook-Signature" not in headers_of(an_endpoint(sealed(secret), signatures=("standard",)))
    plain = headers_of(an_endpoint(sealed(secret), signatures=("body_hmac",)))
    assert plain["X-Hub-Signature-256"] == "sha256=" + hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    unsigned = headers_of(an_endpoint(signatures=("none",)))
    assert not [name for name in unsigned if "signature" in name.lower()]
    assert (unsigned["webhook-id"], unsigned["X-Webhook-Event"]) == ("e1", "message.received")


def test_the_hmac_of_the_body_stands_where_its_receiver_looks_for_it() -> None:
    secret = new_webhook_secret()
    form = BodyHmac(header="X-Shop-Hmac", prefix="")
    headers = headers_of(an_endpoint(sealed(secret), signatures=("body_hmac",), body_hmac=form))
    assert headers["X-Shop-Hmac"] == hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert "X-Hub-Signature-256" not in headers
    forged = an_endpoint(
        sealed(secret), signatures=("body_hmac",), body_hmac=form, headers={"x-shop-HMAC": "forged", "X-Mine": "1"}
    )
    assert headers_of(forged) == headers | {"X-Mine": "1"}


def test_an_ed25519_signature_is_verified_with_the_public_key_alone() -> None:
    signing_key = new_signing_key()
    headers = headers_of(an_endpoint(sealed_key(signing_key), signatures=("ed25519",)))
    assert headers["webhook-signature"].startswith("v1a,")
    assert is_genuine(public_key_of(signing_key), headers, BODY)
    assert not is_genuine(public_key_of(signing_key), headers, BODY + b" ")
    assert not is_genuine(public_key_of(new_signing_key()), headers, BODY)


def test_both_kinds_of_standard_webhooks_signature_share_one_header() -> None:
    secret, signing_key = new_webhook_secret(), new_signing_key()
    endpoint = an_endpoint(sealed(secret), sealed_key(signing_key), signatures=("standard", "ed25519"))
    headers = headers_of(endpoint)
    assert [one.partition(",")[0] for one in headers["webhook-signature"].split(" ")] == ["v1", "v1a"]
    assert Webhook(secret).verify(BODY, headers)
    assert is_genuine(public_key_of(signing_key), headers, BODY)


def test_while_a_signing_key_is_replaced_both_sign_until_the_old_one_ends() -> None:
    new, old = new_signing_key(), new_signing_key()
    endpoint = an_endpoint(sealed_key(old, made_s_ago=99, expires_in_s=60), sealed_key(new), signatures=("ed25519",))
    writer = RequestWriter(endpoint, MASTER)
    for now, genuine in ((NOW, True), (NOW + timedelta(seconds=61), False)):
        headers = dict(writer.headers(event_id="e1", event_name="x", body=BODY, now=now))
        assert is_genuine(public_key_of(new), headers, BODY)
        assert is_genuine(public_key_of(old), headers, BODY) is genuine


def test_without_a_signing_key_nothing_goes_out_unsigned() -> None:
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint(sealed(new_webhook_secret()), signatures=("ed25519",)))
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint(sealed_key(new_signing_key()), signatures=("standard", "ed25519")))


def test_headers_sealed_for_another_endpoint_do_not_open() -> None:
    endpoint = an_endpoint(signatures=("none",), headers={"Authorization": "Bearer x"})
    with pytest.raises(SecretsUnusable):
        headers_of(replace(endpoint, id="we2"))


def test_a_secret_of_another_form_signs_the_schemes_it_fits() -> None:
    headers = headers_of(an_endpoint(sealed("legacy secret")))
    assert headers["X-Webhook-Signature"] == hmac.new(b"legacy secret", BODY, hashlib.sha256).hexdigest()
    assert "webhook-signature" not in headers
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint(sealed("legacy secret"), signatures=("standard",)))


def test_without_a_valid_secret_nothing_goes_out_unsigned() -> None:
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint(sealed(new_webhook_secret(), expires_in_s=-1)))
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint())


def test_secrets_of_another_endpoint_do_not_open() -> None:
    with pytest.raises(SecretsUnusable):
        headers_of(an_endpoint(sealed(new_webhook_secret()), id="we2"))


def test_tenants_may_add_headers_but_not_ours() -> None:
    custom = {
        "Authorization": "Bearer x",
        "X-Mine": "1",
        "webhook-ID": "forged",
        "x-webhook-signature": "forged",
        "Traceparent": "forged",
        "content-TYPE": "text/plain",
        "Host": "internal",
        "Content-Length": "0",
        "X-Split": "a\r\nEvil: 1",
    }
    headers = headers_of(an_endpoint(signatures=("none",), headers=custom))
    assert (headers["Authorization"], headers["X-Mine"]) == ("Bearer x", "1")
    assert not {"Host", "Content-Length", "X-Split", "Traceparent"} & headers.keys()
    assert headers["webhook-id"] == "e1"
    assert headers["Content-Type"] == "application/json"


def test_the_trace_goes_on_and_a_replay_says_so() -> None:
    headers = headers_of(an_endpoint(signatures=("none",)), traceparent=TRACE, is_replay=True)
    assert headers["traceparent"] == TRACE
    assert headers["X-Webhook-Replay"] == "true"


def test_what_is_kept_in_the_audit_holds_no_signature_and_no_credential() -> None:
    endpoint = an_endpoint(sealed(new_webhook_secret()), headers={"Authorization": "Bearer x"})
    kept = shown(list(headers_of(endpoint).items()))
    assert kept["webhook-id"] == "e1"
    assert {kept[name] for name in ("Authorization", "webhook-signature", "X-Webhook-Signature")} == {"***"}


def test_a_client_certificate_is_opened_for_its_endpoint_alone() -> None:
    sealed_key = MASTER.seal("the key", secret_context("t1", "we1"))
    kept = SealedCertificate(certificate="the certificate", sealed_key=sealed_key)
    endpoint = an_endpoint(signatures=("none",), client_certificate=kept)
    assert RequestWriter(endpoint, MASTER).client_certificate == ("the certificate", "the key")
    with pytest.raises(SecretsUnusable):
        RequestWriter(replace(endpoint, id="we2"), MASTER)
