"""People as a device knows them: numbers, pictures, the account's contacts."""

from typing import Literal

from msgspec import Struct

from kurir.contracts.content import Address

TypingState = Literal["typing", "recording", "paused"]


class NumberCheck(Struct, frozen=True, kw_only=True):
    """Whether a phone number (digits with country code) has WhatsApp, and its address there."""

    phone: str
    is_on_whatsapp: bool
    address: Address | None = None


class Picture(Struct, frozen=True, kw_only=True):
    """A profile picture; the URL is WhatsApp's, and valid for some days. `id` changes with the picture."""

    id: str
    url: str


class KnownContact(Struct, frozen=True, kw_only=True):
    """`name` is what the account's owner calls the contact, `push_name` what it calls itself."""

    address: Address
    name: str | None = None
    push_name: str | None = None
    business_name: str | None = None
