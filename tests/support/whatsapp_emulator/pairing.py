"""Linking a device: a phone scans a QR code, or its owner types the code that the device shows.

The emulator is both the server and the phone. The sequence ends with stream error 515, upon which the client connects
again and logs in.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.whatsapp_emulator.accounts import Account, Device, Directory, SignedPrekey
from tests.support.whatsapp_emulator.connection import Connection
from tests.support.whatsapp_emulator.jid import SERVER
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.keys import KEY_BYTES, KeyPair, ctr, hkdf
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.protobufs import adv, companion
from tests.support.whatsapp_emulator.stanza import Stanza, Value, leaf, parent

ACCOUNT_SIGNATURE = b"\x06\x00"
CODE_ITERATIONS = 2 << 16  # of PBKDF2, as the client does them
CONFIRM_TIMEOUT_S = 15.0
PASSKEY_OPTIONS = {
    "challenge": "ZW11bGF0b3I",
    "timeout": 60000,
    "rpId": "whatsapp.com",
    "allowCredentials": [],
    "userVerification": "required",
}
"""What a browser would be asked by (WebAuthn, PublicKeyCredentialRequestOptions)."""


class PairingFailed(Exception):
    """A code that nobody shows, or a client that refuses what the phone says."""


@dataclass(slots=True)
class Offer:
    """A connection that waits for a phone; `device` is set when one came, `paired` is settled by the client."""

    connection: Connection
    references: list[str]
    iq_id: str | None = None
    device: Device | None = None
    paired: "asyncio.Future[Device] | None" = None


@dataclass(slots=True)
class Code:
    """A connection that shows a code. `ephemeral` is what the phone agreed on after the code was entered."""

    offer: Offer
    reference: str
    wrapped_ephemeral: bytes
    account: Account | None = None
    shared: bytes = b""


class Pairing:
    """The devices that show a code, and the phones that take it."""

    def __init__(self, directory: Directory, post: Post, journal: Journal) -> None:
        self._directory = directory
        self._post = post
        self._journal = journal
        self._offers: dict[int, Offer] = {}
        self._codes: dict[str, Code] = {}

    def offer(self, connection: Connection, count: int) -> None:
        """Give an unknown device references for its QR codes."""
        references = ["2@" + base64.b64encode(secrets.token_bytes(24)).decode() for _ in range(count)]
        self._offers[connection.id] = Offer(connection, references)
        self._journal.record("connection.pairing", connection=connection.id)
        pair_device = parent("pair-device", [leaf("ref", reference) for reference in references])
        self._ask(connection, pair_device)

    def withdraw(self, connection: Connection) -> None:
        """The connection is gone."""
        offer = self._offers.pop(connection.id, None)
        if offer is not None and offer.paired is not None and not offer.paired.done():
            offer.paired.set_exception(PairingFailed("the device closed its connection"))
        self._codes = {phone: code for phone, code in self._codes.items() if code.offer is not offer}

    # --- QR ---------------------------------------------------------------------------------------------------------

    async def scan(self, qr: str, phone: str, name: str | None = None, business: str | None = None) -> Device:
        """Scan a QR code's text with the phone of that number, and wait until the device is linked.

        The text is `2@…,<noise key>,<identity>,<secret>,<platform>`, after a # in newer clients.
        Raises PairingFailed.
        """
        reference, _, identity, secret, *_ = [*qr.rpartition("#")[2].split(","), "", "", ""]
        offer = next((offer for offer in self._offers.values() if reference in offer.references), None)
        if offer is None:
            raise PairingFailed("no connected device shows this QR code")
        account = self._directory.account(phone, name)
        return await self._link(offer, account, base64.b64decode(identity), base64.b64decode(secret), business)

    def want_passkey(self, qr: str) -> None:
        """Ask the device that shows this QR code for a passkey, instead of linking it. Raises PairingFailed."""
        reference = qr.rpartition("#")[2].partition(",")[0]
        offer = next((offer for offer in self._offers.values() if reference in offer.references), None)
        if offer is None:
            raise PairingFailed("no connected device shows this QR code")
        options = leaf("passkey_request_options", json.dumps(PASSKEY_OPTIONS).encode())
        attributes: dict[str, Value] = {"from": SERVER, "type": "passkey_prologue_request", "t": now()}
        offer.connection.send(Stanza("notification", attributes | {"id": self._post.new_id()}, [options]))

    # --- phone code -------------------------------------------------------------------------------------------------

    def code_requested(self, connection: Connection, request: Stanza) -> list[Stanza]:
        """The device wants to be linked by a code: keep its key, which the code hides. Raises KeyError."""
        offer = self._offers[connection.id]
        reference = secrets.token_hex(16)
        wrapped = request.child("link_code_pairing_wrapped_companion_ephemeral_pub").data
        phone = request.jid("jid").user
        self._codes[phone] = Code(offer, reference, wrapped)
        return [parent("link_code_companion_reg", [leaf("link_code_pairing_ref", reference)])]

    async def enter_code(self, phone: str, code: str, name: str | None = None) -> Device:
        """Type a code into the phone of that number, and wait until the device is linked. Raises PairingFailed."""
        pending = self._codes.get(phone)
        if pending is None:
            raise PairingFailed(f"no connected device asked for a code of {phone}")
        account = pending.account = self._directory.account(phone, name)
        typed = code.replace("-", "").upper().encode()
        salt, iv, sealed = (
            pending.wrapped_ephemeral[:32],
            pending.wrapped_ephemeral[32:48],
            pending.wrapped_ephemeral[48:],
        )
        companion_ephemeral = ctr(_code_key(typed, salt), iv, sealed)
        ephemeral = KeyPair()
        pending.shared = ephemeral.agree(companion_ephemeral)
        salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
        hello = parent(
            "link_code_companion_reg",
            [
                leaf("link_code_pairing_ref", pending.reference),
                leaf(
                    "link_code_pairing_wrapped_primary_ephemeral_pub",
                    salt + iv + ctr(_code_key(typed, salt), iv, ephemeral.public),
                ),
                leaf("primary_identity_pub", account.identity.public),
            ],
            stage="primary_hello",
        )
        pending.offer.paired = asyncio.get_running_loop().create_future()
        attributes: dict[str, Value] = {"from": SERVER, "type": "link_code_companion_reg"}
        attributes |= {"id": self._post.new_id(), "t": now()}
        pending.offer.connection.send(Stanza("notification", attributes, [hello]))
        return await _confirmed(pending.offer)

    def code_accepted(self, request: Stanza) -> None:
        """The device proved that it knows the code: link it. Raises KeyError or InvalidTag when it does not."""
        pending = self._codes.pop(request.jid("jid").user)
        account = pending.account
        if account is None:
            raise KeyError("no code was entered")
        bundle = request.child("link_code_pairing_wrapped_key_bundle").data
        salt, nonce, sealed = bundle[:32], bundle[32:44], bundle[44:]
        key = hkdf(pending.shared, KEY_BYTES, info=b"link_code_pairing_key_bundle_encryption_key", salt=salt)
        plain = AESGCM(key).decrypt(nonce, sealed, None)
        identity, random = plain[:KEY_BYTES], plain[2 * KEY_BYTES : 3 * KEY_BYTES]
        secret = hkdf(pending.shared + account.identity.agree(identity) + random, KEY_BYTES, info=b"adv_secret")
        self._introduce(pending.offer, account, identity, secret, None)

    # --- both -------------------------------------------------------------------------------------------------------

    def answered(self, connection: Connection, answer: Stanza) -> None:
        """The client's answer to what we asked it; when it accepts its account, the device is linked."""
        offer = self._offers.get(connection.id)
        if offer is None or offer.device is None or answer.get("id") != offer.iq_id:
            return
        assert offer.paired is not None
        if answer.get("type") == "error":
            offer.paired.set_exception(PairingFailed(f"the device refuses its account: {answer}"))
            return
        del self._offers[connection.id]
        device = offer.device
        device.account.devices[device.number] = device
        self._journal.record(
            "device.paired", device=device.name, connection=connection.id, shown_as=_name_shown(connection)
        )
        offer.paired.set_result(device)
        connection.end(Stanza("stream:error", {"code": "515"}), "paired")

    async def _link(
        self, offer: Offer, account: Account, identity: bytes, secret: bytes, business: str | None
    ) -> Device:
        offer.paired = asyncio.get_running_loop().create_future()
        self._introduce(offer, account, identity, secret, business)
        return await _confirmed(offer)

    def _introduce(self, offer: Offer, account: Account, identity: bytes, secret: bytes, business: str | None) -> None:
        """Tell the device which account it belongs to now, as its phone has signed it."""
        connection = offer.connection
        registration = connection.client.payload.devicePairingData
        device = offer.device = Device(
            account,
            account.next_device(),
            noise_key=connection.client.static_key,
            identity=registration.eIdent,
            registration=registration.eRegid,
            signed_prekey=SignedPrekey(registration.eSkeyID, registration.eSkeyVal, registration.eSkeySig),
        )
        success = [
            leaf("device-identity", _sealed(signed_identity(account.identity, device.number, identity), secret)),
            Stanza("device", {"jid": device.pn, "lid": device.lid}),
            Stanza("platform", {"name": "android"}),
        ]
        if business is not None:
            success.append(Stanza("biz", {"name": business}))
        offer.iq_id = self._ask(connection, parent("pair-success", success))

    def _ask(self, connection: Connection, question: Stanza) -> str:
        iq_id = self._post.new_id()
        attributes: dict[str, Value] = {"from": SERVER, "type": "set", "id": iq_id, "xmlns": "md", "t": now()}
        connection.send(Stanza("iq", attributes, [question]))
        return iq_id


def signed_identity(account: KeyPair, key_index: int, identity: bytes) -> bytes:
    """What the phone signs for a device that it links: an ADVSignedDeviceIdentity, which the device signs, too."""
    details = adv.ADVDeviceIdentity(rawID=secrets.randbits(24), timestamp=now(), keyIndex=key_index).SerializeToString()
    signed: bytes = adv.ADVSignedDeviceIdentity(
        details=details,
        accountSignatureKey=account.public,
        accountSignature=account.sign(ACCOUNT_SIGNATURE + details + identity),
    ).SerializeToString()
    return signed


def _sealed(identity: bytes, secret: bytes) -> bytes:
    sealed: bytes = adv.ADVSignedDeviceIdentityHMAC(
        details=identity, HMAC=hmac.digest(secret, identity, "sha256")
    ).SerializeToString()
    return sealed


def _code_key(code: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", code, salt, CODE_ITERATIONS, KEY_BYTES)


def _name_shown(connection: Connection) -> str:
    """What the phone's list of linked devices calls it, as the device said when it registered."""
    props = companion.DeviceProps.FromString(connection.client.payload.devicePairingData.deviceProps)
    return str(props.os)


async def _confirmed(offer: Offer) -> Device:
    assert offer.paired is not None
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            return await offer.paired
    except TimeoutError as error:
        raise PairingFailed("the device does not answer") from error
