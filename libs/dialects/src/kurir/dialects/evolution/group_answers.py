"""What this API answers about groups. Pure."""

from collections.abc import Iterable
from typing import Any

from kurir.contracts.groups import Group, GroupHead, GroupMember, MemberChanged
from kurir.dialects.baileys import phone_form
from kurir.dialects.evolution.group_requests import GroupSetting

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
        "owner": phone_form(found.owner) if found.owner is not None else None,
        "restrict": found.is_locked,
        "announce": found.is_announce,
    }


def member(one: GroupMember) -> dict[str, Any]:
    return {"id": phone_form(one.address), "admin": _ADMIN[one.role]}


def members(found: Group) -> dict[str, Any]:
    return {"participants": [member(one) for one in found.members]}


def setting_set(setting: GroupSetting) -> dict[str, Any]:
    return {"updateSetting": setting}


def members_changed(changed: Iterable[MemberChanged]) -> dict[str, Any]:
    """`status` is WhatsApp's code for each, 200 when it was done."""
    return {
        "updateParticipants": [{"status": str(one.error or 200), "jid": phone_form(one.address)} for one in changed]
    }


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
