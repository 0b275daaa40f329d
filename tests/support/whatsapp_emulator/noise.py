"""The encryption of a connection: Noise XX with X25519, AES-GCM and SHA-256, on the responder's side.

The client trusts a certificate chain whose root is a key inside its library; see trust_root.py.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.whatsapp_emulator.keys import KEY_BYTES, KeyPair, hkdf
from tests.support.whatsapp_emulator.protobufs import certificates, wa6

PROTOCOL = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
DAY_S = 86400


class Cipher:
    """One direction: each message has the next counter as its nonce."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)
        self._counter = 0

    def encrypt(self, plain: bytes, associated: bytes | None = None) -> bytes:
        return self._key.encrypt(self._next_nonce(), plain, associated)

    def decrypt(self, sealed: bytes, associated: bytes | None = None) -> bytes:
        """Raises cryptography.exceptions.InvalidTag."""
        return self._key.decrypt(self._next_nonce(), sealed, associated)

    def _next_nonce(self) -> bytes:
        nonce = self._counter.to_bytes(12, "big")
        self._counter += 1
        return nonce


class ServerIdentity:
    """The server's static key, and the chain that certifies it under `root`."""

    def __init__(self, root: KeyPair) -> None:
        self.static = KeyPair()
        intermediate = KeyPair()
        self.chain: bytes = certificates.CertChain(
            intermediate=_certificate(1, 0, intermediate.public, root),
            leaf=_certificate(2, 1, self.static.public, intermediate),
        ).SerializeToString()


def _certificate(serial: int, issuer: int, key: bytes, signer: KeyPair) -> object:
    now = int(time.time())
    details = certificates.CertChain.NoiseCertificate.Details(
        serial=serial, issuerSerial=issuer, key=key, notBefore=now - DAY_S, notAfter=now + 365 * DAY_S
    ).SerializeToString()
    return certificates.CertChain.NoiseCertificate(details=details, signature=signer.sign(details))


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end, and how to talk to it. `payload` is a ClientPayload."""

    static_key: bytes
    payload: Any
    incoming: Cipher
    outgoing: Cipher


class Handshake:
    """One handshake: `answer` to the client's hello, then `finish`. Raises InvalidTag when the client lies."""

    def __init__(self, prologue: bytes, server: ServerIdentity) -> None:
        self._server = server
        self._ephemeral = KeyPair()
        self._hash = PROTOCOL
        self._salt = PROTOCOL
        self._cipher = Cipher(PROTOCOL)
        self._absorb(prologue)

    def answer(self, hello: bytes) -> bytes:
        """The server's hello to the client's."""
        client_ephemeral = wa6.HandshakeMessage.FromString(hello).clientHello.ephemeral
        self._absorb(client_ephemeral)
        self._absorb(self._ephemeral.public)
        self._mix(self._ephemeral.agree(client_ephemeral))
        static = self._encrypt(self._server.static.public)
        self._mix(self._server.static.agree(client_ephemeral))
        payload = self._encrypt(self._server.chain)
        server_hello = wa6.HandshakeMessage.ServerHello(
            ephemeral=self._ephemeral.public, static=static, payload=payload
        )
        answer: bytes = wa6.HandshakeMessage(serverHello=server_hello).SerializeToString()
        return answer

    def finish(self, finish: bytes) -> Client:
        message = wa6.HandshakeMessage.FromString(finish).clientFinish
        static_key = self._decrypt(message.static)
        self._mix(self._ephemeral.agree(static_key))
        payload = wa6.ClientPayload.FromString(self._decrypt(message.payload))
        keys = hkdf(b"", 2 * KEY_BYTES, salt=self._salt)
        return Client(static_key, payload, Cipher(keys[:KEY_BYTES]), Cipher(keys[KEY_BYTES:]))

    def _absorb(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix(self, secret: bytes) -> None:
        keys = hkdf(secret, 2 * KEY_BYTES, salt=self._salt)
        self._salt, self._cipher = keys[:KEY_BYTES], Cipher(keys[KEY_BYTES:])

    def _encrypt(self, plain: bytes) -> bytes:
        sealed = self._cipher.encrypt(plain, self._hash)
        self._absorb(sealed)
        return sealed

    def _decrypt(self, sealed: bytes) -> bytes:
        plain = self._cipher.decrypt(sealed, self._hash)
        self._absorb(sealed)
        return plain
