"""What this API answers about groups, contacts and numbers. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from kurir.contracts.content import Address
from kurir.contracts.groups import Group, GroupHead, GroupMember, MemberChanged
from kurir.contracts.people import KnownContact, NumberCheck
from kurir.dialects.evolution.chat_requests import GroupSetting

INVITE_URL = "https://chat.whatsapp.com/"
_ADMIN = {"member": None, "admin": "admin", "owner": "superadmin"}
DONE = {"update": "success"}
EPHEMERAL_SET = {"success": True}


def group(found: Group, *, picture: str | None = None) -> dict[str, Any]:
    """A group with its members; `pictureUrl` only where it was looked up."""
    body = _head(found, len(found.members)) | {"desc": found.description}
    if picture is not None:
        body["pictureUrl"] = picture
    return body | {"participants": [member(one) for one in found.members]}


def group_head(found: GroupHead) -> dict[str, Any]:
    return _head(found, found.member_count)


def _head(found: Group | GroupHead, size: int) -> dict[str, Any]:
    return {
        "id": found.jid,
        "subject": found.subject,
        "size": size,
        "creation": round(found.created_at.timestamp()) if found.created_at is not None else None,
        "owner": jid(found.owner) if found.owner is not None else None,
        "restrict": found.is_locked,
        "announce": found.is_announce,
    }


def member(one: GroupMember) -> dict[str, Any]:
    return {"id": jid(one.address), "admin": _ADMIN[one.role]}


def members(found: Group) -> dict[str, Any]:
    return {"participants": [member(one) for one in found.members]}


def setting_set(setting: GroupSetting) -> dict[str, Any]:
    return {"updateSetting": setting}


def members_changed(changed: Iterable[MemberChanged]) -> dict[str, Any]:
    """`status` is WhatsApp's code for each, 200 when it was done."""
    return {"updateParticipants": [{"status": str(one.error or 200), "jid": jid(one.address)} for one in changed]}


def invite(link: str) -> dict[str, Any]:
    code = link.rstrip("/").rpartition("/")[2]
    return {"inviteUrl": INVITE_URL + code, "inviteCode": code}


def revoked(link: str) -> dict[str, Any]:
    return {"revoked": True, "inviteCode": invite(link)["inviteCode"]}


def invitation_sent(link: str) -> dict[str, Any]:
    return {"send": True, "inviteUrl": invite(link)["inviteUrl"]}


def joined(group_jid: str) -> dict[str, Any]:
    return {"accepted": True, "groupJid": group_jid}


def left(group_jid: str) -> dict[str, Any]:
    return {"groupJid": group_jid, "leave": True}


def numbers(written: Sequence[str], checks: Sequence[NumberCheck]) -> list[dict[str, Any]]:
    """In the order asked; `number` is as it was written."""
    return [
        {
            "exists": check.is_on_whatsapp,
            "jid": jid(check.address) if check.address is not None else f"{check.phone}@s.whatsapp.net",
            "number": number,
        }
        for number, check in zip(written, checks, strict=True)
    ]


def contact(known: KnownContact, instance: str) -> dict[str, Any]:
    """`pushName` is what the account's owner calls the contact, or else what it calls itself."""
    return {
        "id": jid(known.address),
        "pushName": known.name or known.push_name or known.business_name,
        "profilePictureUrl": None,
        "owner": instance,
    }


def contact_v2(known: KnownContact, instance_id: str) -> dict[str, Any]:
    address = jid(known.address)
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


def jid(address: Address) -> str:
    """The phone-number form where it is known: that is what this API's clients store."""
    return address.pn or address.jid
