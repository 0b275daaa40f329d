"""How callers name people, groups and chats, and how they are shown to them. Pure."""

import re

from msgspec import Struct

from kurir.api.problems import Problem
from kurir.api.recipients import USER_SERVER, NotARecipient, jid_of
from kurir.contracts.content import STATUS, Address

GROUP_SERVER = "g.us"

_GROUP = re.compile(r"[0-9-]{5,40}")


class Person(Struct, frozen=True, kw_only=True, rename="camel"):
    """`id` is what WhatsApp calls this person here; `phoneNumber` (digits) and `lid` (the hidden id) where known."""

    id: str
    phone_number: str | None = None
    lid: str | None = None


def person_of(address: Address) -> Person:
    return Person(id=address.jid, phone_number=phone_of(address), lid=address.lid)


def phone_of(address: Address) -> str | None:
    return address.pn.partition("@")[0] if address.pn is not None else None


def chat_in(text: str, country: str, field: str) -> str:
    """The JID of a person or group, from any form of recipients.jid_of. Raises Problem naming the field."""
    try:
        return jid_of(text, country)
    except NotARecipient:
        raise Problem("INVALID_RECIPIENT", field=field) from None


def recipient_in(text: str, country: str, field: str) -> str:
    """As chat_in, or the JID of status updates."""
    return STATUS if text == STATUS else chat_in(text, country, field)


def person_in(text: str, country: str, field: str) -> str:
    """The JID of a person. Raises Problem naming the field."""
    jid = chat_in(text, country, field)
    if jid.endswith(f"@{GROUP_SERVER}"):
        raise Problem("INVALID_RECIPIENT", "This is a group; a person is needed.", field=field)
    return jid


def phone_in(text: str, country: str, field: str) -> str:
    """Digits with country code. Raises Problem naming the field."""
    user, _, server = chat_in(text, country, field).partition("@")
    if server != USER_SERVER:
        raise Problem("INVALID_RECIPIENT", "A phone number with country code is needed.", field=field)
    return user


def group_in(text: str, field: str) -> str:
    """The JID of a group: `120363…@g.us`, or the digits alone. Raises Problem naming the field."""
    digits = text.removesuffix(f"@{GROUP_SERVER}")
    if not _GROUP.fullmatch(digits):
        raise Problem("INVALID_RECIPIENT", "A group id is needed: 120363…@g.us.", field=field)
    return f"{digits}@{GROUP_SERVER}"
