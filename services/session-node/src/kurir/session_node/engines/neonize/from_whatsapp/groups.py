"""Groups: that we are in one from now on, and what is changed of it and its members."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from neonize.proto import Neonize_pb2 as neonize

from kurir.contracts.content import Address
from kurir.contracts.groups import Group, GroupMember, MemberRole
from kurir.session_node.engines.neonize.from_whatsapp.who import address, jid_text, moment
from kurir.session_node.engines.observations import GroupChanged, GroupJoined, MembershipAction, MembershipChanged

_BY_ONESELF = ("invite", "linked_group_join")
"""Why members joined, when nobody added them."""


def group_of(info: Any) -> Group:
    """A group as the library describes it."""
    return Group(
        jid=jid_text(info.JID),
        subject=info.GroupName.Name,
        description=info.GroupTopic.Topic or None,
        owner=address(info.OwnerJID, info.OwnerPN) if info.OwnerJID.User else None,
        created_at=moment(int(info.GroupCreated)) if info.GroupCreated > 0 else None,
        members=tuple(GroupMember(address=member_address(each), role=_role(each)) for each in info.Participants),
        is_announce=info.GroupAnnounce.IsAnnounce,
        is_locked=info.GroupLocked.isLocked,
    )


def _role(member: Any) -> MemberRole:
    return "owner" if member.IsSuperAdmin else "admin" if member.IsAdmin else "member"


def member_address(member: Any) -> Address:
    return address(member.JID, member.LID if member.JID.Server == "s.whatsapp.net" else member.PhoneNumber)


def joined_group(data: bytes) -> GroupJoined:
    """We were added, joined or made the group. WhatsApp gives it no time of its own."""
    event = neonize.JoinedGroup.FromString(data)
    group = group_of(event.GroupInfo)
    return GroupJoined(
        chat=Address(jid=group.jid),
        subject=group.subject,
        description=group.description,
        owner=group.owner,
        created_at=group.created_at,
        members=group.members,
        is_announce=group.is_announce,
        is_locked=group.is_locked,
        author=address(event.Sender, event.SenderPN) if event.Sender.User else None,
        reason=event.Reason or event.Type or None,
        at=datetime.now(UTC),
    )


def group_changes(data: bytes, own: frozenset[str]) -> list[GroupChanged | MembershipChanged]:
    """What one notification says of a group. `own` are our JIDs."""
    event = neonize.GroupInfoEvent.FromString(data)
    author = address(event.Sender) if event.Sender.User else None
    changes: list[GroupChanged | MembershipChanged] = []
    if any(event.HasField(name) for name in _CHANGES):
        changes.append(
            GroupChanged(
                chat=address(event.JID),
                author=author,
                subject=event.Name.Name if event.HasField("Name") else None,
                description=event.Topic.Topic if event.HasField("Topic") else None,
                is_announce=event.Announce.IsAnnounce if event.HasField("Announce") else None,
                is_locked=event.Locked.isLocked if event.HasField("Locked") else None,
                ephemeral_s=_ephemeral_s(event.Ephemeral) if event.HasField("Ephemeral") else None,
                invite_link=event.NewInviteLink or None,
                is_deleted=True if event.HasField("Delete") else None,
                at=moment(event.Timestamp),
            )
        )
    moves: tuple[tuple[MembershipAction, Iterable[Any]], ...] = (
        ("join" if _is_by_oneself(event.Join, author, event.JoinReason) else "add", event.Join),
        ("leave" if _is_by_oneself(event.Leave, author) else "remove", event.Leave),
        ("promote", event.Promote),
        ("demote", event.Demote),
    )
    changes += [_membership(event, action, members, author, own) for action, members in moves if members]
    return changes


_CHANGES = ("Name", "Topic", "Announce", "Locked", "Ephemeral", "NewInviteLink", "Delete")


def _ephemeral_s(ephemeral: Any) -> int:
    return ephemeral.DisappearingTimer if ephemeral.IsEphemeral else 0


def _is_by_oneself(members: Iterable[Any], author: Address | None, reason: str = "") -> bool:
    return reason in _BY_ONESELF or (author is not None and [jid_text(member) for member in members] == [author.jid])


def _membership(
    event: Any, action: MembershipAction, members: Iterable[Any], author: Address | None, own: frozenset[str]
) -> MembershipChanged:
    participants = tuple(map(address, members))
    return MembershipChanged(
        chat=address(event.JID),
        action=action,
        participants=participants,
        author=author,
        includes_me=any(participant.jid in own for participant in participants),
        reason=event.JoinReason or None if action in ("add", "join") else None,
        at=moment(event.Timestamp),
    )
