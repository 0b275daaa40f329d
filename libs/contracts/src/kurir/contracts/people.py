"""People as a device knows them: numbers, pictures, the account's contacts."""

from typing import Literal

from msgspec import Struct

from kurir.contracts.content import Address

TypingState = Literal["typing", "recording", "paused"]


PrivacyLevel = Literal["all", "contacts", "contacts_except", "known", "match_last_seen", "none"]
"""Who: `contacts_except` is all contacts but some that are listed on the phone, `known` whom one has written to,
`match_last_seen` the same as for the last time online."""


class Privacy(Struct, frozen=True, kw_only=True):
    """Who sees what of an account, and who may add it to groups and call it. None: WhatsApp does not tell; of what is
    to be changed: it stays."""

    last_seen: PrivacyLevel | None = None
    online: PrivacyLevel | None = None
    profile_picture: PrivacyLevel | None = None
    about: PrivacyLevel | None = None
    read_receipts: PrivacyLevel | None = None
    groups: PrivacyLevel | None = None
    calls: PrivacyLevel | None = None


class NumberCheck(Struct, frozen=True, kw_only=True):
    """Whether a phone number (digits with country code) has WhatsApp, and its address there."""

    phone: str
    is_on_whatsapp: bool
    address: Address | None = None


class Picture(Struct, frozen=True, kw_only=True):
    """A profile picture; the URL is WhatsApp's, and valid for some days. `id` changes with the picture."""

    id: str
    url: str


class Label(Struct, frozen=True, kw_only=True):
    """What a business account sorts its chats by; `color` is WhatsApp's number for it, `chats` are JIDs."""

    id: str
    name: str
    color: int = 0
    chats: tuple[str, ...] = ()


class KnownContact(Struct, frozen=True, kw_only=True):
    """`name` is what the account's owner calls the contact, `push_name` what it calls itself."""

    address: Address
    name: str | None = None
    push_name: str | None = None
    business_name: str | None = None
