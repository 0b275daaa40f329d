"""What clients ask about groups. Pure; everything here raises Invalid."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from kurir.contracts.groups import MemberChange
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.evolution.pictures import Picture, picture_in

GroupSetting = Literal["announcement", "not_announcement", "locked", "unlocked"]
_GROUP = re.compile(r"[0-9-]{5,40}@g\.us")


class NewGroup(Struct, frozen=True, kw_only=True):
    subject: str
    description: str | None
    participants: tuple[str, ...]
    promote: bool
    picture: Picture | None


class MembersChange(Struct, frozen=True, kw_only=True):
    change: MemberChange
    participants: tuple[str, ...]


class Invitation(Struct, frozen=True, kw_only=True):
    group: str
    description: str
    numbers: tuple[str, ...]


def new_group(values: Mapping[str, Any]) -> NewGroup:
    fields = Fields(values)
    fields.require("subject", "participants")
    found = NewGroup(
        subject=fields.text("subject", min_length=1, max_length=100),
        description=fields.optional("description", max_length=2048),
        participants=_people(fields, "participants"),
        promote=fields.flag("promoteParticipants"),
        picture=picture_in(fields, "profilePicture") if fields.raw("profilePicture") else None,
    )
    fields.check()
    return found


def group_of(query: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The group's JID: `groupJid` in the query, or else in the body."""
    fields = Fields({"groupJid": query.get("groupJid") or values.get("groupJid")})
    fields.require("groupJid")
    found = fields.text("groupJid", max_length=64)
    if found and "@" not in found:
        found += "@g.us"
    if found and not _GROUP.fullmatch(found):
        fields.find("groupJid", 'does not match pattern "^[\\\\d-]+@g.us$"')
    fields.check()
    return found


def subject(values: Mapping[str, Any]) -> str:
    fields = Fields(values)
    fields.require("subject")
    found = fields.text("subject", min_length=1, max_length=100)
    fields.check()
    return found


def description(values: Mapping[str, Any]) -> str:
    fields = Fields(values)
    fields.require("description")
    found = fields.text("description", max_length=2048)
    fields.check()
    return found


def members_change(values: Mapping[str, Any]) -> MembersChange:
    fields = Fields(values)
    fields.require("action", "participants")
    changes: tuple[MemberChange, ...] = ("add", "remove", "promote", "demote")
    word = fields.text("action", allowed=changes)
    people = _people(fields, "participants")
    fields.check()
    return MembersChange(change=next(one for one in changes if one == word), participants=people)


def group_setting(values: Mapping[str, Any]) -> GroupSetting:
    fields = Fields(values)
    fields.require("action")
    settings: tuple[GroupSetting, ...] = ("announcement", "not_announcement", "locked", "unlocked")
    word = fields.text("action", allowed=settings)
    fields.check()
    return next(one for one in settings if one == word)


def expiration(values: Mapping[str, Any]) -> int:
    """After how many seconds messages of a group disappear; 0 for never."""
    fields = Fields(values)
    fields.require("expiration")
    found = fields.whole("expiration", allowed=(0, 86_400, 604_800, 7_776_000))
    fields.check()
    return found


def invite_code(query: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    fields = Fields({"inviteCode": query.get("inviteCode") or values.get("inviteCode")})
    fields.require("inviteCode")
    found = fields.text("inviteCode", max_length=255)
    fields.check()
    return found


def wants_participants(query: Mapping[str, Any]) -> bool:
    """`getParticipants=true|false`, which the original insists on."""
    fields = Fields(query)
    fields.require("getParticipants")
    word = fields.text("getParticipants", allowed=("true", "false"))
    fields.check()
    return word == "true"


def invitation(values: Mapping[str, Any]) -> Invitation:
    fields = Fields(values)
    fields.require("groupJid", "description", "numbers")
    found = Invitation(
        group=fields.text("groupJid", max_length=64),
        description=fields.text("description", max_length=4096),
        numbers=_people(fields, "numbers"),
    )
    fields.check()
    return found


def _people(fields: Fields, name: str) -> tuple[str, ...]:
    says = f'"{name}" must be an array of numeric strings'
    return tuple(recipient(one) for one in fields.texts(name, least=1, max_length=64, says=says))
