"""Who is on this WhatsApp: accounts with their phone and their linked devices, found by number or by LID."""

import hashlib
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from tests.support.whatsapp_emulator.jid import LID_SERVER, PHONE_SERVER, Jid
from tests.support.whatsapp_emulator.keys import KeyPair
from tests.support.whatsapp_emulator.signal_protocol import Bundle, SignalDevice
from tests.support.whatsapp_emulator.stanza import Stanza

MAX_QUEUED = 100_000  # stanzas that wait for one device
PHONE_DEVICE = 0


class Policy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an account's phone does by itself with a message that it can read. Times are seconds after the former act.

    `echo` answers a text that begins with "echo " by its rest. `unreadable` is how many of the next messages the phone
    cannot read; `retry` asks again for them, after `retry_after_s`.
    """

    delivered: bool = True
    delivered_after_s: float = 0.0
    read: bool = False
    read_after_s: float = 0.0
    reply: str | None = None
    echo: bool = False
    reply_after_s: float = 0.0
    unreadable: int = 0
    retry: bool = True
    retry_after_s: float = 0.0


class Line(Protocol):
    """A device's open connection."""

    id: int

    def send(self, stanza: Stanza) -> bool: ...


@dataclass(eq=False, slots=True)
class Account:
    """A number on WhatsApp. Its identity signs its linked devices and is its phone's Signal identity.

    `contacts` are names by number, as a device learns them when it is linked; `status_list` the only numbers to whom
    its status updates are shown.
    """

    phone: str
    name: str
    identity: KeyPair
    signal: SignalDevice
    policy: Policy = field(default_factory=Policy)
    about: str = ""
    contacts: dict[str, str] = field(default_factory=dict)
    status_list: list[str] | None = None
    picture: bytes | None = None
    privacy: dict[str, str] = field(default_factory=dict)
    blocked: "dict[str, Account]" = field(default_factory=dict)
    app_state_key: tuple[bytes, bytes] | None = None
    devices: "dict[int, Device]" = field(default_factory=dict)
    last_device: int = 0
    created_at: int = field(default_factory=lambda: int(time.time()))

    @property
    def pn(self) -> Jid:
        return Jid(self.phone, PHONE_SERVER)

    @property
    def lid(self) -> Jid:
        return Jid(lid_user(self.phone), LID_SERVER)

    def next_device(self) -> int:
        """A number that no device of this account ever had."""
        self.last_device += 1
        return self.last_device

    def device(self, number: int | None = None) -> "Device":
        """A linked device, the one linked last by default. Raises KeyError."""
        if not self.devices:
            raise KeyError(f"{self.phone} has no linked device")
        return self.devices[max(self.devices) if number is None else number]

    def bundle(self) -> Bundle:
        """Of the phone."""
        number, prekey = self.signal.new_prekey()
        return Bundle(
            identity=self.signal.identity.public,
            signed_prekey_id=self.signal.signed_prekey_id,
            signed_prekey=self.signal.signed_prekey.public,
            prekey_id=number,
            prekey=prekey,
        )


@dataclass(slots=True)
class SignedPrekey:
    """As the device gave it: a number of 3 bytes, a key, the signature of its identity."""

    id: bytes
    key: bytes
    signature: bytes


@dataclass(eq=False, slots=True)
class Device:
    """A linked device. `line` is None while it is offline; `queue` waits for its next login.

    `unacknowledged` are messages that were handed over, by their ids; they are handed over again at the next login.
    """

    account: Account
    number: int
    noise_key: bytes
    identity: bytes
    registration: bytes
    signed_prekey: SignedPrekey
    prekeys: OrderedDict[bytes, bytes] = field(default_factory=OrderedDict)
    line: Line | None = None
    queue: deque[Stanza] = field(default_factory=lambda: deque(maxlen=MAX_QUEUED))
    unacknowledged: OrderedDict[str, Stanza] = field(default_factory=OrderedDict)
    was_welcomed: bool = False

    @property
    def pn(self) -> Jid:
        return self.account.pn.of_device(self.number)

    @property
    def lid(self) -> Jid:
        return self.account.lid.of_device(self.number)

    @property
    def name(self) -> str:
        """How the journal and the control API call it."""
        return f"{self.account.phone}:{self.number}"

    def bundle(self) -> Bundle:
        """Takes one of the prekeys, as long as there are any."""
        prekey_id, prekey = self.prekeys.popitem(last=False) if self.prekeys else (None, None)
        return Bundle(
            identity=self.identity,
            signed_prekey_id=int.from_bytes(self.signed_prekey.id, "big"),
            signed_prekey=self.signed_prekey.key,
            prekey_id=None if prekey_id is None else int.from_bytes(prekey_id, "big"),
            prekey=prekey,
        )


class Directory:
    """All accounts."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._by_lid: dict[str, Account] = {}

    def devices(self) -> "list[Device]":
        """All linked devices."""
        return [device for account in self.accounts.values() for device in account.devices.values()]

    def account(self, phone: str, name: str | None = None) -> Account:
        """The account of a number, made when there is none. Raises ValueError when it is no number."""
        if not phone.isascii() or not phone.isdigit() or not 5 <= len(phone) <= 15:
            raise ValueError(f"not a phone number of 5 to 15 digits: {phone!r}")
        account = self.accounts.get(phone)
        if account is None:
            identity = KeyPair()
            account = Account(phone, name or f"Contact {phone[-4:]}", identity, SignalDevice(identity))
            self.accounts[phone] = account
            self._by_lid[account.lid.user] = account
        elif name is not None:
            account.name = name
        return account

    def find(self, jid: Jid) -> Account | None:
        """The account of any of its addresses."""
        return self._by_lid.get(jid.user) if jid.is_lid else self.accounts.get(jid.user)

    def find_device(self, jid: Jid) -> Device | None:
        account = self.find(jid)
        return None if account is None else account.devices.get(jid.device)

    def named(self, name: str) -> Account:
        """By number, or by JID. Raises KeyError."""
        account = self.find(Jid.parse(name)) if "@" in name else self.accounts.get(name)
        if account is None:
            raise KeyError(f"{name} is not on this WhatsApp")
        return account


def lid_user(phone: str) -> str:
    """A LID looks like a number and is none: 15 digits, and here the number can be told from it."""
    return f"{10**14 + int(phone) % 10**14}"


def picture_id(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()[:16]
