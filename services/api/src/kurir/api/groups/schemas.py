"""Groups as callers see them."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kurir.api.people import Person, person_of, phone_of
from kurir.contracts.groups import Group, GroupHead, GroupMember, MemberChange, MemberChanged, MemberRole
from kurir.contracts.queries import GroupPage


class NewGroup(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`members` are phone numbers or ids (`…@lid`); who cannot be added is left out."""

    subject: Annotated[str, Meta(min_length=1, max_length=100)]
    members: Annotated[tuple[str, ...], Meta(max_length=1023)] = ()


class JoinGroup(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An invitation link, `https://chat.whatsapp.com/…`, or its last part."""

    link: Annotated[str, Meta(min_length=1, max_length=255)]


class NewSubject(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    subject: Annotated[str, Meta(min_length=1, max_length=100)]


class NewDescription(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An empty description takes it away."""

    description: Annotated[str, Meta(max_length=2048)]


class GroupRights(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays. `isAnnounce`: only admins write; `isLocked`: only admins change subject and description."""

    is_announce: bool | None = None
    is_locked: bool | None = None


class Disappearing(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """After how many `seconds` new messages disappear: a day, a week or 90 days as in WhatsApp's apps; 0: never."""

    seconds: Literal[0, 86_400, 604_800, 7_776_000]


class ChangeMembers(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`members` are phone numbers or ids (`…@lid`)."""

    change: MemberChange
    members: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]


class MemberView(Person, frozen=True, kw_only=True, rename="camel"):
    role: MemberRole


class MemberChangedView(Person, frozen=True, kw_only=True, rename="camel"):
    """`error` is WhatsApp's code, null when it was done: 403 nobody may add this person (send an invitation link), 404
    no such member or number, 409 a member already."""

    error: int | None = None


class GroupHeadView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A group. `isAnnounce`: only admins write; `isLocked`: only admins change subject and description."""

    id: str
    subject: str
    member_count: int
    owner: Person | None = None
    created_at: datetime | None = None
    is_announce: bool = False
    is_locked: bool = False


class GroupView(GroupHeadView, frozen=True, kw_only=True, rename="camel"):
    """A group with its members."""

    description: str | None = None
    members: list[MemberView] = []


class GroupPageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """`next` is the cursor of the next page, null on the last one."""

    groups: list[GroupHeadView]
    next: str | None


class GroupId(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str


class InviteLinkView(Struct, frozen=True, kw_only=True, rename="camel"):
    link: str


def page_view_of(page: GroupPage) -> GroupPageView:
    return GroupPageView(groups=[_head_of(group) for group in page.groups], next=page.next)


def view_of(group: Group) -> GroupView:
    return GroupView(
        id=group.jid,
        subject=group.subject,
        member_count=len(group.members),
        owner=person_of(group.owner) if group.owner is not None else None,
        created_at=group.created_at,
        is_announce=group.is_announce,
        is_locked=group.is_locked,
        description=group.description,
        members=[_member_of(member) for member in group.members],
    )


def changed_view_of(changed: MemberChanged) -> MemberChangedView:
    address = changed.address
    return MemberChangedView(id=address.jid, phone_number=phone_of(address), lid=address.lid, error=changed.error)


def _head_of(group: GroupHead) -> GroupHeadView:
    return GroupHeadView(
        id=group.jid,
        subject=group.subject,
        member_count=group.member_count,
        owner=person_of(group.owner) if group.owner is not None else None,
        created_at=group.created_at,
        is_announce=group.is_announce,
        is_locked=group.is_locked,
    )


def _member_of(member: GroupMember) -> MemberView:
    address = member.address
    return MemberView(id=address.jid, phone_number=phone_of(address), lid=address.lid, role=member.role)
