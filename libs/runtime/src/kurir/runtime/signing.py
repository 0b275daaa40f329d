"""How a webhook request is signed: Standard Webhooks (HMAC and ed25519), the native device API's way, a plain HMAC.

Guarantees: the signature covers exactly the bytes given, so send those bytes and no re-encoding of them.
Does not: decide which secrets are still valid; hand in those that are, newest first.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SHARED: Final = "whsec_"
_PRIVATE: Final = "whsk_"
_PUBLIC: Final = "whpk_"
_MIN_SECRET_BYTES: Final = 24  # both limits are of the Standard Webhooks specification, "Signature scheme"
_MAX_SECRET_BYTES: Final = 64
_BLOCK_BYTES: Final = 64  # of SHA-256
_SEED_BYTES: Final = 32  # RFC 8032; a private key in full is the seed and the public key behind it

_WRITTEN_PREFIXES: Final = ("webhook-", "x-webhook-")
_WRITTEN: Final = frozenset({"content-type", "user-agent", "traceparent", "x-hub-signature-256"})


class WebhookSecretInvalid(ValueError):
    """A secret or a signing key cannot be used for Standard Webhooks. The message says which form is expected."""


def is_written_by_us(header: str) -> bool:
    """Whether a request's header of this name is ours: a tenant's own one could pass for it."""
    lowered = header.lower()
    return lowered in _WRITTEN or lowered.startswith(_WRITTEN_PREFIXES)


def new_webhook_secret() -> str:
    """A fresh secret of 32 random bytes, as `whsec_<base64>`, the form every Standard Webhooks library takes."""
    return _SHARED + base64.b64encode(os.urandom(32)).decode()


def decode_webhook_secret(secret: str) -> bytes:
    """The key bytes of a Standard Webhooks secret, with or without its `whsec_` prefix.

    Raises WebhookSecretInvalid unless it is base64 of 24 to 64 bytes; call it where a tenant brings a secret.
    """
    key = _decoded(secret.removeprefix(_SHARED))
    if is_signing_key(secret) or not _MIN_SECRET_BYTES <= len(key) <= _MAX_SECRET_BYTES:
        raise WebhookSecretInvalid(
            f"A webhook secret is `whsec_` and the base64 of {_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} random bytes."
        )
    return key


def new_signing_key() -> str:
    """A fresh ed25519 private key as `whsk_<base64 of 64 bytes>`: the seed, then the public key."""
    seed = os.urandom(_SEED_BYTES)
    return _PRIVATE + base64.b64encode(seed + _public_bytes(Ed25519PrivateKey.from_private_bytes(seed))).decode()


def is_signing_key(secret: str) -> bool:
    """Whether a secret is an ed25519 private key, by its prefix."""
    return secret.startswith(_PRIVATE)


def public_key_of(signing_key: str) -> str:
    """What receivers verify by, `whpk_<base64 of 32 bytes>`; no secret. Raises WebhookSecretInvalid."""
    return _PUBLIC + base64.b64encode(_public_bytes(_decode_signing_key(signing_key))).decode()


class StandardWebhooksSigner:
    """Signs for one endpoint as https://www.standardwebhooks.com says: `v1` (HMAC), `v1a` (ed25519) or both.

    All that is given signs, so that during a rotation receivers with the old and with the new secret or key verify.
    Make it once per endpoint: keying HMAC costs as much as signing a small body.
    """

    def __init__(self, secrets: Sequence[str] = (), signing_keys: Sequence[str] = ()) -> None:
        """`secrets` and `signing_keys`: at least one of either, newest first. Raises WebhookSecretInvalid."""
        if not secrets and not signing_keys:
            raise WebhookSecretInvalid("An endpoint needs at least one webhook secret or signing key.")
        self._keyed = [_Keyed(decode_webhook_secret(secret)) for secret in secrets]
        self._private = [_decode_signing_key(key) for key in signing_keys]

    def headers(self, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt.

        `message_id` is the same in every attempt (receivers drop repeats by it) and holds no dot, because dots
        part what is signed; `timestamp_s` is the time of this attempt, epoch seconds (receivers allow 5 minutes
        either way); `body` is UTF-8, as the published verifiers decode it.
        """
        if "." in message_id:
            raise ValueError("a webhook id must not contain a dot")
        signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
        signatures = ["v1," + _base64(keyed.digest(signed)) for keyed in self._keyed]
        if self._private:
            signatures += ["v1a," + _base64(private.sign(signed)) for private in self._private]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(signatures),
        }


class DeviceApiSigner:
    """Signs for one endpoint as the native device API does: a hex HMAC over the body alone.

    The header carries one signature only, so unlike Standard Webhooks there is no overlap while rotating; the
    timestamp is not signed.
    """

    def __init__(self, secret: str) -> None:
        """`secret`: the string as the tenant was shown it; its UTF-8 bytes are the key, prefix included."""
        self._keyed = _Keyed(secret.encode())

    def headers(self, event: str, timestamp_ms: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt; `timestamp_ms` in epoch milliseconds.

        The signature is 64 bare hex digits: receivers compare it in constant time against a digest of that
        length, so a `sha256=` prefix would make them throw.
        """
        return {
            "X-Webhook-Event": event,
            "X-Webhook-Signature": self._keyed.digest(body).hex(),
            "X-Webhook-Timestamp": str(timestamp_ms),
        }


class BodySigner:
    """Signs for one endpoint with the hex HMAC-SHA256 of the body, in one header. No overlap while rotating."""

    def __init__(self, secret: str, header: str, prefix: str = "") -> None:
        """`secret`: as the tenant was shown it, its UTF-8 bytes are the key; `prefix`: before the 64 hex digits."""
        self._keyed = _Keyed(secret.encode())
        self._header, self._prefix = header, prefix

    def headers(self, body: bytes) -> dict[str, str]:
        """The one header of an attempt."""
        return {self._header: self._prefix + self._keyed.digest(body).hex()}


class _Keyed:
    """HMAC-SHA256 (RFC 2104) with its key taken in already: half the time of the standard library's own, which goes
    through a Python object for each copy."""

    def __init__(self, key: bytes) -> None:
        key = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(self, signed: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed)
        outer.update(inner.digest())
        return outer.digest()


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _decode_signing_key(text: str) -> Ed25519PrivateKey:
    raw = _decoded(text.removeprefix(_PRIVATE))
    if is_signing_key(text) and len(raw) in (_SEED_BYTES, 2 * _SEED_BYTES):
        key = Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
        if raw[_SEED_BYTES:] in (b"", _public_bytes(key)):
            return key
    raise WebhookSecretInvalid("A signing key is `whsk_` and the base64 of an ed25519 private key of 32 or 64 bytes.")


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return b""
