"""What this API answers about numbers, contacts, pictures, and how chats stand. Pure.

People are told by the form of their phone number where it is known: that is what this API's clients store.
"""

from collections.abc import Sequence
from typing import Any

from kurir.contracts.people import KnownContact, NumberCheck
from kurir.dialects.baileys import phone_form


def numbers(written: Sequence[str], checks: Sequence[NumberCheck]) -> list[dict[str, Any]]:
    """In the order asked; `number` is as it was written."""
    return [
        {
            "exists": check.is_on_whatsapp,
            "jid": phone_form(check.address) if check.address is not None else f"{check.phone}@s.whatsapp.net",
            "number": number,
        }
        for number, check in zip(written, checks, strict=True)
    ]


def contact(known: KnownContact, instance: str) -> dict[str, Any]:
    """`pushName` is what the account's owner calls the contact, or else what it calls itself."""
    return {
        "id": phone_form(known.address),
        "pushName": known.name or known.push_name or known.business_name,
        "profilePictureUrl": None,
        "owner": instance,
    }


def contact_v2(known: KnownContact, instance_id: str) -> dict[str, Any]:
    address = phone_form(known.address)
    return {
        "id": address,
        "remoteJid": address,
        "pushName": known.name or known.push_name or known.business_name,
        "profilePicUrl": None,
        "instanceId": instance_id,
        "isGroup": address.endswith("@g.us"),
    }


def picture(of: str, url: str | None) -> dict[str, Any]:
    return {"wuid": of, "profilePictureUrl": url}


def profile(
    of: str, *, check: NumberCheck | None, known: KnownContact | None, url: str | None, about: str | None
) -> dict[str, Any]:
    """`POST /chat/fetchProfile`."""
    return {
        "wuid": of,
        "name": (known.name or known.push_name) if known is not None else None,
        "numberExists": check.is_on_whatsapp if check is not None else None,
        "picture": url,
        "status": about,
        "isBusiness": bool(known is not None and known.business_name),
    }


def archived(chat: str) -> dict[str, Any]:
    """The same for a chat that was taken out of the archive, as the original has it."""
    return {"chatId": chat, "archived": True}


def marked_unread(chat: str) -> dict[str, Any]:
    return {"chatId": chat, "markedChatUnread": True}
