"""One device that speaks Signal (version 3): sessions by X3DH and the double ratchet, and sender keys for groups.

What the virtual phones need and no more: everything is kept in memory, old message keys are kept in small numbers.
Sources: https://signal.org/docs/specifications/{x3dh,doubleratchet}, and libsignal for the formats.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.support.whatsapp_emulator.keys import KEY_BYTES, KeyPair, cbc_decrypt, cbc_encrypt, hkdf, mac
from tests.support.whatsapp_emulator.protobufs import (
    PreKeySignalMessage,
    SenderKeyDistributionMessage,
    SenderKeyMessage,
    SignalMessage,
)

VERSION = b"\x33"
DJB_TYPE = b"\x05"
MAC_BYTES = 8
SIGNATURE_BYTES = 64
MAX_SKIPPED = 2000  # messages that may be missing in front of one that comes
MAX_SESSIONS = 20  # with one peer; both sides may begin one at the same time

Kind = Literal["pkmsg", "msg"]


class Undecipherable(Exception):
    """A message that this device cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one must know of a device to begin a session with it."""

    identity: bytes
    signed_prekey_id: int
    signed_prekey: bytes
    prekey_id: int | None
    prekey: bytes | None


@dataclass(slots=True)
class Chain:
    """A chain of message keys: where it stands, and the seeds of messages that were skipped."""

    key: bytes
    next: int = 0
    skipped: dict[int, bytes] = field(default_factory=dict)

    def advance(self) -> bytes:
        """The seed of the next message."""
        seed, self.key = mac(self.key, b"\x01"), mac(self.key, b"\x02")
        self.next += 1
        return seed

    def seed_of(self, number: int) -> bytes:
        """Raises Undecipherable when that message was read before or is too far ahead."""
        if number in self.skipped:
            return self.skipped.pop(number)
        if number < self.next:
            raise Undecipherable(f"message {number} was read before, the next one is {self.next}")
        if number - self.next > MAX_SKIPPED:
            raise Undecipherable(f"message {number} is too far ahead of {self.next}")
        for missing in range(self.next, number):
            self.skipped[missing] = self.advance()
        while len(self.skipped) > MAX_SKIPPED:
            del self.skipped[next(iter(self.skipped))]
        return self.advance()

    def copy(self) -> "Chain":
        return Chain(self.key, self.next, dict(self.skipped))


@dataclass(frozen=True, slots=True)
class Opening:
    """What goes with every message of a session that we began, until the other side answered."""

    base_key: bytes
    signed_prekey_id: int
    prekey_id: int | None


@dataclass(slots=True, kw_only=True)
class Session:
    """A double ratchet."""

    own_identity: bytes
    their_identity: bytes
    root: bytes
    ratchet: KeyPair
    sending: Chain
    previous_count: int = 0
    receiving: dict[bytes, Chain] = field(default_factory=dict)
    opening: Opening | None = None
    their_base_key: bytes | None = None

    def encrypt(self, plain: bytes) -> bytes:
        number = self.sending.next
        keys = _message_keys(self.sending.advance())
        message = SignalMessage(
            ratchet_key=DJB_TYPE + self.ratchet.public,
            counter=number,
            previous_counter=self.previous_count,
            ciphertext=cbc_encrypt(keys.cipher, keys.iv, plain),
        )
        body: bytes = VERSION + message.SerializeToString()
        return body + self._mac(keys.mac, self.own_identity, self.their_identity, body)

    def decrypt(self, data: bytes) -> bytes:
        """Raises Undecipherable, and leaves the session in disorder then: try it on a copy."""
        body, tag = data[:-MAC_BYTES], data[-MAC_BYTES:]
        message = SignalMessage.FromString(body[1:])
        their_ratchet = message.ratchet_key[1:]
        if their_ratchet not in self.receiving:
            self._step(their_ratchet)
        keys = _message_keys(self.receiving[their_ratchet].seed_of(message.counter))
        ciphertext: bytes = message.ciphertext
        if self._mac(keys.mac, self.their_identity, self.own_identity, body) != tag:
            raise Undecipherable("the MAC is wrong")
        self.opening = None
        return cbc_decrypt(keys.cipher, keys.iv, ciphertext)

    def copy(self) -> "Session":
        return replace(
            self,
            sending=self.sending.copy(),
            receiving={key: chain.copy() for key, chain in self.receiving.items()},
        )

    def _step(self, their_ratchet: bytes) -> None:
        self.root, chain = _next_root(self.root, self.ratchet.agree(their_ratchet))
        self.receiving[their_ratchet] = Chain(chain)
        self.previous_count = self.sending.next
        self.ratchet = KeyPair()
        self.root, chain = _next_root(self.root, self.ratchet.agree(their_ratchet))
        self.sending = Chain(chain)

    def _mac(self, key: bytes, sender: bytes, receiver: bytes, body: bytes) -> bytes:
        return mac(key, DJB_TYPE + sender + DJB_TYPE + receiver + body)[:MAC_BYTES]


@dataclass(slots=True)
class SenderKey:
    """One member's chain for one group. The signing key is there for our own only."""

    id: int
    chain: Chain
    signing: KeyPair | None = None


class SignalDevice:
    """An identity with its prekeys, its sessions, and its sender keys. Peers and groups are named by any key."""

    def __init__(self, identity: KeyPair | None = None) -> None:
        self.identity = identity or KeyPair()
        self.registration_id = secrets.randbelow(1 << 14) + 1
        self.signed_prekey_id = 1
        self.signed_prekey = KeyPair()
        self.signed_prekey_signature = self.identity.sign(DJB_TYPE + self.signed_prekey.public)
        self._prekeys: dict[int, KeyPair] = {}
        self._last_prekey_id = 0
        self._sessions: dict[object, list[Session]] = {}
        self._sender_keys: dict[tuple[object, object, int], SenderKey] = {}
        self._own_sender_keys: dict[object, SenderKey] = {}

    def new_prekey(self) -> tuple[int, bytes]:
        """A one-time prekey to give away: its number and its public key."""
        self._last_prekey_id += 1
        pair = self._prekeys[self._last_prekey_id] = KeyPair()
        return self._last_prekey_id, pair.public

    # --- one peer ---------------------------------------------------------------------------------------------------

    def encrypt(
        self, peer: object, plain: bytes, bundle: Callable[[], Bundle], *, anew: bool = False
    ) -> tuple[Kind, bytes]:
        """Encrypt for a peer. `bundle` is asked for when there is no session yet, or when it shall begin `anew`."""
        sessions = self._sessions.setdefault(peer, [])
        if anew or not sessions:
            sessions.insert(0, self._begin(bundle()))
            del sessions[MAX_SESSIONS:]
        session = sessions[0]
        message = session.encrypt(_pad(plain))
        if session.opening is None:
            return "msg", message
        opened = PreKeySignalMessage(
            registration_id=self.registration_id,
            signed_prekey_id=session.opening.signed_prekey_id,
            base_key=DJB_TYPE + session.opening.base_key,
            identity=DJB_TYPE + self.identity.public,
            message=message,
        )
        if session.opening.prekey_id is not None:
            opened.prekey_id = session.opening.prekey_id
        return "pkmsg", VERSION + opened.SerializeToString()

    def decrypt(self, peer: object, kind: str, data: bytes) -> bytes:
        """Raises Undecipherable. A message that cannot be read changes nothing."""
        sessions = self._sessions.setdefault(peer, [])
        if kind == "pkmsg":
            opened = PreKeySignalMessage.FromString(data[1:])
            base_key, data = opened.base_key[1:], opened.message
            known = [session for session in sessions if session.their_base_key == base_key]
            candidates = known or [self._accept(opened, base_key)]
        else:
            candidates = list(sessions)
        why = Undecipherable("there is no session")
        for session in candidates:
            attempt = session.copy()
            try:
                plain = attempt.decrypt(data)
            except (Undecipherable, ValueError) as error:
                why = Undecipherable(str(error))
                continue
            # The session that was used last is the one to answer in.
            sessions[:] = [attempt, *(other for other in sessions if other is not session)][:MAX_SESSIONS]
            return _unpad(plain)
        raise why

    def _begin(self, bundle: Bundle) -> Session:
        base = KeyPair()
        secret = b"\xff" * KEY_BYTES + self.identity.agree(bundle.signed_prekey)
        secret += base.agree(bundle.identity) + base.agree(bundle.signed_prekey)
        if bundle.prekey is not None:
            secret += base.agree(bundle.prekey)
        root, receiving = _first_keys(secret)
        ratchet = KeyPair()
        root, sending = _next_root(root, ratchet.agree(bundle.signed_prekey))
        return Session(
            own_identity=self.identity.public,
            their_identity=bundle.identity,
            root=root,
            ratchet=ratchet,
            sending=Chain(sending),
            receiving={bundle.signed_prekey: Chain(receiving)},
            opening=Opening(base.public, bundle.signed_prekey_id, bundle.prekey_id),
        )

    def _accept(self, opened: Any, base_key: bytes) -> Session:
        their_identity = opened.identity[1:]
        prekey = self._prekeys.pop(opened.prekey_id, None)
        secret = b"\xff" * KEY_BYTES + self.signed_prekey.agree(their_identity)
        secret += self.identity.agree(base_key) + self.signed_prekey.agree(base_key)
        if prekey is not None:
            secret += prekey.agree(base_key)
        root, sending = _first_keys(secret)
        return Session(
            own_identity=self.identity.public,
            their_identity=their_identity,
            root=root,
            ratchet=self.signed_prekey,
            sending=Chain(sending),
            their_base_key=base_key,
        )

    # --- groups -----------------------------------------------------------------------------------------------------

    def group_encrypt(self, group: object, plain: bytes) -> tuple[bytes, bytes]:
        """The message that gives the members our sender key as it stands before, and the encrypted message."""
        own = self._own_sender_keys.get(group)
        if own is None:
            own = SenderKey(secrets.randbelow(1 << 31), Chain(secrets.token_bytes(KEY_BYTES)), KeyPair())
            self._own_sender_keys[group] = own
        assert own.signing is not None
        distribution = SenderKeyDistributionMessage(
            id=own.id,
            iteration=own.chain.next,
            chain_key=own.chain.key,
            signing_key=DJB_TYPE + own.signing.public,
        )
        number = own.chain.next
        keys = _group_keys(own.chain.advance())
        message = SenderKeyMessage(
            id=own.id, iteration=number, ciphertext=cbc_encrypt(keys.cipher, keys.iv, _pad(plain))
        )
        body = VERSION + message.SerializeToString()
        return VERSION + distribution.SerializeToString(), body + own.signing.sign(body)

    def learn_sender_key(self, group: object, peer: object, distribution: bytes) -> None:
        """Remember the sender key that a member gave us."""
        told = SenderKeyDistributionMessage.FromString(distribution[1:])
        self._sender_keys[group, peer, told.id] = SenderKey(told.id, Chain(told.chain_key, told.iteration))

    def group_decrypt(self, group: object, peer: object, data: bytes) -> bytes:
        """Raises Undecipherable. Signatures are not checked: the emulator relayed the message itself."""
        message = SenderKeyMessage.FromString(data[1:-SIGNATURE_BYTES])
        sender_key = self._sender_keys.get((group, peer, message.id))
        if sender_key is None:
            raise Undecipherable("the sender's key is not known")
        keys = _group_keys(sender_key.chain.seed_of(message.iteration))
        return _unpad(cbc_decrypt(keys.cipher, keys.iv, message.ciphertext))


@dataclass(frozen=True, slots=True)
class _MessageKeys:
    cipher: bytes
    mac: bytes
    iv: bytes


def _message_keys(seed: bytes) -> _MessageKeys:
    keys = hkdf(seed, 80, info=b"WhisperMessageKeys")
    return _MessageKeys(keys[:32], keys[32:64], keys[64:])


def _group_keys(seed: bytes) -> _MessageKeys:
    keys = hkdf(seed, 48, info=b"WhisperGroup")
    return _MessageKeys(cipher=keys[16:], mac=b"", iv=keys[:16])


def _first_keys(secret: bytes) -> tuple[bytes, bytes]:
    keys = hkdf(secret, 64, info=b"WhisperText", salt=b"\0" * 32)
    return keys[:32], keys[32:]


def _next_root(root: bytes, shared: bytes) -> tuple[bytes, bytes]:
    keys = hkdf(shared, 64, info=b"WhisperRatchet", salt=root)
    return keys[:32], keys[32:]


def _pad(plain: bytes) -> bytes:
    """WhatsApp pads messages by 1 to 15 bytes, each of which says how many they are."""
    count = secrets.randbelow(15) + 1
    return plain + bytes([count]) * count


def _unpad(padded: bytes) -> bytes:
    return padded[: -padded[-1]]
