"""Keys and key derivation, as WhatsApp and Signal use them.

Signatures are XEdDSA, made of X25519 and a check by Ed25519, both from `cryptography`. They are right, but neither
constant in time nor free of bias: good for throw-away keys of tests and for nothing else.
"""

import hashlib
import hmac
import secrets
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493


class KeyPair:
    """An X25519 key pair that can also sign."""

    def __init__(self, private: bytes | None = None) -> None:
        self.private = private or secrets.token_bytes(KEY_BYTES)
        self._key = X25519PrivateKey.from_private_bytes(self.private)
        self.public = self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The secret shared with the owner of `public`."""
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))

    def sign(self, message: bytes) -> bytes:
        """64 bytes that verify with `public` by XEdDSA (https://signal.org/docs/specifications/xeddsa)."""
        nonce = KeyPair()
        commitment, nonce_scalar = nonce._edwards, nonce._scalar
        challenge = _to_scalar(hashlib.sha512(commitment + self._edwards + message).digest())
        # A point of Curve25519 has no sign: which of r and -r, a and -a belong to the points is found by trying.
        for nonce_sign in (1, -1):
            for key_sign in (1, -1):
                response = (nonce_sign * nonce_scalar + key_sign * challenge * self._scalar) % _ORDER
                signature = commitment + response.to_bytes(KEY_BYTES, "little")
                try:
                    self._verifier.verify(signature, message)
                except InvalidSignature:
                    continue
                return signature
        raise AssertionError("one of the four signatures is right")

    @cached_property
    def _scalar(self) -> int:
        clamped = bytearray(self.private)
        clamped[0] &= 248
        clamped[31] = clamped[31] & 127 | 64
        return int.from_bytes(clamped, "little")

    @cached_property
    def _edwards(self) -> bytes:
        """The public key as a point of Ed25519 with sign 0, which XEdDSA asks for."""
        u = int.from_bytes(self.public, "little")
        return ((u - 1) * pow(u + 1, -1, _PRIME) % _PRIME).to_bytes(KEY_BYTES, "little")

    @cached_property
    def _verifier(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self._edwards)


def _to_scalar(digest: bytes) -> int:
    return int.from_bytes(digest, "little") % _ORDER


def hkdf(secret: bytes, length: int, *, info: bytes = b"", salt: bytes | None = None) -> bytes:
    """HKDF with SHA-256."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC with SHA-256."""
    return hmac.digest(key, message, "sha256")


def cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CBC with PKCS #7 padding."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


def cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Raises ValueError when the padding is wrong."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()


def ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CTR, which is its own inverse."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()
