"""Secrets: API keys (kept as digests) and values sealed at rest under the master key.

Guarantees: an API key cannot be read back from what is stored; a sealed value opens only under a known master
key and only in the context it was sealed for, so it cannot be moved to another tenant's record unnoticed.
Does not: hide secrets from whoever holds the master key or this process's memory.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kurir.runtime.settings import RuntimeSettings

_KEY_BYTES: Final = 32  # AES-256
_NONCE_BYTES: Final = 12  # the size AES-GCM is specified for; random is safe for 2^32 values under one key
_SEAL_VERSION: Final = "v1"


class MasterKeyRefused(ValueError):
    """The master key is missing, malformed, too short or not random. The message says what to do."""


class SealBroken(ValueError):
    """A sealed value cannot be opened: altered, of another context, or of a master key not held here."""


def new_api_key() -> str:
    """256 random bits as 64 hex characters. Show it once; store only `api_key_digest` of it."""
    return secrets.token_hex(32)


def api_key_digest(key: str) -> str:
    """SHA-256 of the key as 64 hex characters.

    A plain hash is enough, and fast enough for every request: 256 random bits cannot be guessed from it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def api_key_matches(key: str, digest: str) -> bool:
    """Whether `digest` is the stored digest of `key`, in time that does not depend on where they differ."""
    return hmac.compare_digest(api_key_digest(key).encode(), digest.encode())


def endpoint_context(tenant: str, endpoint: str) -> str:
    """What a webhook's secrets are sealed for."""
    return f"{tenant}/{endpoint}"


def key_secret_context(key_id: str) -> str:
    """What the secret of an API key is sealed for."""
    return f"key/{key_id}"


def new_master_key() -> str:
    """A fresh master key in the form the settings accept (base64 of 32 random bytes)."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


class MasterKey:
    """Seals and opens secrets at rest with AES-256-GCM.

    Of several keys the first seals and all open: to rotate, put the new key in front and keep the old one until
    everything has been sealed again.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: raw keys of 32 bytes each, newest first. Raises MasterKeyRefused."""
        if not keys:
            raise MasterKeyRefused(_MISSING)
        if any(len(key) != _KEY_BYTES for key in keys):
            raise MasterKeyRefused(f"A master key must be exactly {_KEY_BYTES} bytes.")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing_key_id = _key_id(keys[0])

    @classmethod
    def parse(cls, text: str, *, demo: bool = False) -> "MasterKey":
        """Read one or more keys, base64 or hex, separated by commas or white space, newest first.

        Outside `demo`, keys that are plainly not random (a placeholder, a sentence, zeros) are refused.
        Raises MasterKeyRefused, never quoting the key.
        """
        keys = [_decode_key(part) for part in re.split(r"[\s,]+", text) if part]
        if not demo and any(_is_predictable(key) for key in keys):
            raise MasterKeyRefused(
                "The master key is a default or otherwise predictable value; make one with "
                "`head -c 32 /dev/urandom | base64`."
            )
        return cls(keys)

    @classmethod
    def load(cls, settings: RuntimeSettings) -> "MasterKey":
        """The key of KURIR_MASTER_KEY, or else of the file KURIR_MASTER_KEY_FILE. Raises MasterKeyRefused."""
        if settings.master_key is not None:
            return cls.parse(settings.master_key.get_secret_value(), demo=settings.is_demo)
        if settings.master_key_file is None:
            raise MasterKeyRefused(_MISSING)
        try:
            text = settings.master_key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise MasterKeyRefused(f"KURIR_MASTER_KEY_FILE {settings.master_key_file}: {reason}.") from None
        return cls.parse(text, demo=settings.is_demo)

    def seal(self, plaintext: str, context: str) -> str:
        """Encrypt for storage: `v1.<key id>.<base64url of nonce and ciphertext>`.

        `context` names the owner, e.g. "<tenant>/<endpoint>"; the same one must be given to `open`.
        """
        header = f"{_SEAL_VERSION}.{self._sealing_key_id}"
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._sealing_key_id]
        ciphertext = cipher.encrypt(nonce, plaintext.encode(), _bound_to(header, context))
        return f"{header}.{base64.urlsafe_b64encode(nonce + ciphertext).decode()}"

    def open(self, sealed: str, context: str) -> str:
        """The plaintext of a value `seal` made for the same `context`. Raises SealBroken."""
        header, _, body = sealed.rpartition(".")
        version, _, key_id = header.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _SEAL_VERSION or cipher is None:
            raise SealBroken("The value was sealed in another format or under a master key that is not configured.")
        try:
            raw = base64.urlsafe_b64decode(body)
            if base64.urlsafe_b64encode(raw).decode() != body:  # decoding leaves out what is not base64
                raise ValueError("not as it was sealed")
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound_to(header, context)).decode()
        except (InvalidTag, ValueError):
            raise SealBroken("The sealed value was altered or belongs to another context.") from None

    def __repr__(self) -> str:
        return f"MasterKey(key ids: {', '.join(self._ciphers)})"


_MISSING: Final = "No master key: set KURIR_MASTER_KEY or KURIR_MASTER_KEY_FILE to 32 random bytes in base64 or hex."


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"kurir master key id:" + key).hexdigest()[:8]


def _bound_to(header: str, context: str) -> bytes:
    return f"{header}:{context}".encode()


def _decode_key(text: str) -> bytes:
    try:
        # hex first: 64 hex digits would pass as base64 of 48 bytes as well
        if len(text) % 2 == 0 and re.fullmatch(r"[0-9a-fA-F]+", text):
            key = bytes.fromhex(text)
        else:
            standard = text.replace("-", "+").replace("_", "/").rstrip("=")
            key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise MasterKeyRefused("The master key is neither base64 nor hex.") from None
    if len(key) != _KEY_BYTES:
        problem = "too short" if len(key) < _KEY_BYTES else "too long"
        raise MasterKeyRefused(f"The master key is {problem}: {len(key)} bytes instead of {_KEY_BYTES}.")
    return key


def _is_predictable(key: bytes) -> bool:
    """Judge by shape rather than by a list of known defaults, which is never complete.

    Of 32 random bytes, fewer than 16 distinct ones, all of them printable, or all at one distance from the last
    happen less than once in 10^13 keys.
    """
    is_text = all(32 <= byte < 127 for byte in key)
    is_sequence = len({(b - a) % 256 for a, b in pairwise(key)}) == 1
    return is_text or is_sequence or len(set(key)) < 16
