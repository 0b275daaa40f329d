"""Groups as WhatsApp knows them, and what may be changed of them."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kurir.contracts.content import Address

MemberChange = Literal["add", "remove", "promote", "demote"]
MemberRole = Literal["member", "admin", "owner"]
When = Annotated[datetime, Meta(tz=True)]


class GroupMember(Struct, frozen=True, kw_only=True):
    address: Address
    role: MemberRole = "member"


class Group(Struct, frozen=True, kw_only=True):
    """`is_announce`: only admins write; `is_locked`: only admins change subject and description."""

    jid: str
    subject: str
    description: str | None = None
    owner: Address | None = None
    created_at: When | None = None
    members: tuple[GroupMember, ...] = ()
    is_announce: bool = False
    is_locked: bool = False


class GroupHead(Struct, frozen=True, kw_only=True):
    """A group in a list: a thousand of them fit one answer, which those of large groups with members would not."""

    jid: str
    subject: str
    member_count: int
    owner: Address | None = None
    created_at: When | None = None
    is_announce: bool = False
    is_locked: bool = False


class MemberChanged(Struct, frozen=True, kw_only=True):
    """What became of a change of one member; `error` is WhatsApp's code, 403 for who lets nobody add him."""

    address: Address
    error: int | None = None


def head_of(group: Group) -> GroupHead:
    return GroupHead(
        jid=group.jid,
        subject=group.subject,
        member_count=len(group.members),
        owner=group.owner,
        created_at=group.created_at,
        is_announce=group.is_announce,
        is_locked=group.is_locked,
    )
