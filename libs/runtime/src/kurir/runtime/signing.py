"""How a webhook request is signed: the Standard Webhooks scheme and the native device API's own.

Guarantees: the signature covers exactly the bytes given, so send those bytes and no re-encoding of them.
Does not: decide which secrets are still valid; hand in those that are, newest first.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_MIN_SECRET_BYTES: Final = 24  # both limits are of the Standard Webhooks specification, "Signature scheme"
_MAX_SECRET_BYTES: Final = 64


class WebhookSecretInvalid(ValueError):
    """A secret cannot be used for Standard Webhooks. The message says which form is expected."""


def new_webhook_secret() -> str:
    """A fresh secret of 32 random bytes, as `whsec_<base64>`, the form every Standard Webhooks library takes."""
    return _PREFIX + base64.b64encode(os.urandom(32)).decode()


def decode_webhook_secret(secret: str) -> bytes:
    """The key bytes of a Standard Webhooks secret, with or without its `whsec_` prefix.

    Raises WebhookSecretInvalid unless it is base64 of 24 to 64 bytes; call it where a tenant brings a secret.
    """
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not _MIN_SECRET_BYTES <= len(key) <= _MAX_SECRET_BYTES:
        raise WebhookSecretInvalid(
            f"A webhook secret is `whsec_` and the base64 of {_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} random bytes."
        )
    return key


class StandardWebhooksSigner:
    """Signs for one endpoint as https://www.standardwebhooks.com says, symmetric scheme `v1`.

    All given secrets sign, so that during a rotation receivers with the old and with the new one both verify.
    Make it once per endpoint: keying HMAC costs as much as signing a small body.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets`: one or more, newest first. Raises WebhookSecretInvalid."""
        if not secrets:
            raise WebhookSecretInvalid("An endpoint needs at least one webhook secret.")
        self._keyed = [hmac.new(decode_webhook_secret(secret), digestmod="sha256") for secret in secrets]

    def headers(self, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt.

        `message_id` is the same in every attempt (receivers drop repeats by it) and holds no dot, because dots
        part what is signed; `timestamp_s` is the time of this attempt, epoch seconds (receivers allow 5 minutes
        either way); `body` is UTF-8, as the published verifiers decode it.
        """
        if "." in message_id:
            raise ValueError("a webhook id must not contain a dot")
        signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join([_v1(keyed, signed) for keyed in self._keyed]),
        }


class DeviceApiSigner:
    """Signs for one endpoint as the native device API does: a hex HMAC over the body alone.

    The header carries one signature only, so unlike Standard Webhooks there is no overlap while rotating; the
    timestamp is not signed.
    """

    def __init__(self, secret: str) -> None:
        """`secret`: the string as the tenant was shown it; its UTF-8 bytes are the key, prefix included."""
        self._keyed = hmac.new(secret.encode(), digestmod="sha256")

    def headers(self, event: str, timestamp_ms: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt; `timestamp_ms` in epoch milliseconds.

        The signature is 64 bare hex digits: receivers compare it in constant time against a digest of that
        length, so a `sha256=` prefix would make them throw.
        """
        keyed = self._keyed.copy()
        keyed.update(body)
        return {
            "X-Webhook-Event": event,
            "X-Webhook-Signature": keyed.hexdigest(),
            "X-Webhook-Timestamp": str(timestamp_ms),
        }


def _v1(keyed: "hmac.HMAC", signed: bytes) -> str:
    keyed = keyed.copy()
    keyed.update(signed)
    return "v1," + base64.b64encode(keyed.digest()).decode()
