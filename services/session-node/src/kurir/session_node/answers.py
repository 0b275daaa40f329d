"""What each question to a device does: one row for each method of contracts.queries.

Guarantees: a question is refused with the reason that applies, and a group that was asked for under an id is made once
by this shard, however often it is asked for. What WhatsApp did is known only from its answer: none means "unknown".
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from kurir.contracts import queries
from kurir.contracts.content import Media
from kurir.contracts.errors import ErrorCode
from kurir.contracts.groups import Group, head_of
from kurir.contracts.people import Privacy
from kurir.contracts.queries import Done, Question, Refused, Reply
from kurir.contracts.states import Reason
from kurir.runtime.objects import ObjectStore
from kurir.session_node.creations import Creations, CreationUnknown
from kurir.session_node.engines.engine import Capability, MediaFailed, NotConnected, NotPairing, Scans
from kurir.session_node.engines.requests import (
    ArrangesChats,
    BlocksPeople,
    ChecksNumbers,
    HandlesGroups,
    HasProfile,
    KeepsPrivacy,
    KnowsContacts,
    LabelsChats,
    MarksRead,
    RemovesPictures,
    RequestFailed,
    ShowsPictures,
    ShowsPresence,
)
from kurir.session_node.outbound_media import StoredMedia
from kurir.session_node.session import DeviceSession

Listed = TypeVar("Listed")


class Row(NamedTuple):
    """`do` is called with the engine's session, which has the capability, and the question."""

    capability: Capability
    do: Callable[[Any, Any], Awaitable[Struct]]


class Answers:
    """Of one shard."""

    def __init__(self, media: ObjectStore) -> None:
        self._creations = Creations()
        self._media = media
        self._rows: dict[str, Row] = {
            "groups.list": Row("groups", _list_groups),
            "groups.info": Row("groups", _show_group),
            "groups.create": Row("groups", self._create_group),
            "groups.members.change": Row("groups", _change_members),
            "groups.invite_link": Row("groups", _show_invite_link),
            "groups.invite_link.renew": Row("groups", _renew_invite_link),
            "groups.subject": Row("groups", _set_subject),
            "groups.description": Row("groups", _set_description),
            "groups.rights": Row("groups", _set_group_rights),
            "groups.disappearing": Row("groups", _set_disappearing),
            "groups.picture": Row("groups", self._set_group_picture),
            "groups.leave": Row("groups", _leave_group),
            "groups.join": Row("groups", _join_group),
            "groups.invitation": Row("groups", _show_invitation),
            "contacts.list": Row("contacts", _list_contacts),
            "numbers.check": Row("check_numbers", _check_numbers),
            "picture.get": Row("profile_picture", _show_picture),
            "about.get": Row("profile", _show_about),
            "profile.name": Row("profile", _set_name),
            "profile.about": Row("profile", _set_about),
            "profile.picture": Row("profile", self._set_picture),
            "profile.picture.remove": Row("profile.remove_picture", _remove_picture),
            "privacy.get": Row("privacy", _show_privacy),
            "privacy.set": Row("privacy", _set_privacy),
            "blocked.list": Row("blocking", _list_blocked),
            "blocked.set": Row("blocking", _set_blocked),
            "presence.show": Row("presence", _show_presence),
            "presence.typing": Row("presence", _show_typing),
            "presence.watch": Row("presence", _watch_presence),
            "chats.read": Row("mark_read", _mark_read),
            "chats.archive": Row("archive", _archive_chat),
            "chats.unread": Row("archive", _mark_unread),
            "labels.list": Row("labels", _list_labels),
            "labels.set": Row("labels", _label_chat),
        }

    async def answer(self, session: DeviceSession | None, question: Question[Any]) -> Reply:
        """What to reply. Bounded by the engine's own time-out; may be cancelled."""
        method = queries.method_of(question)
        if session is None or session.device is None:
            return Refused(code="DEVICE_NOT_FOUND")
        if isinstance(question, queries.SandboxScan):
            return await _scan(session, question)
        if not session.is_connected:
            return Refused(code="DEVICE_NOT_CONNECTED")
        row = self._rows[method.name]
        if row.capability not in session.capabilities:
            return Refused(code="NOT_SUPPORTED", capability=row.capability)
        try:
            return queries.answer(await row.do(session.engine_session, question))
        except NotConnected:
            return Refused(code="DEVICE_NOT_CONNECTED")
        except CreationUnknown:
            return Refused(code="OUTCOME_UNKNOWN")
        except RequestFailed as failed:
            return Refused(
                code=_code_of(failed.reason, method.changes),
                detail=failed.detail or None,
                reason=failed.reason,
                retry_after_s=failed.retry_after_s,
            )

    async def stop(self) -> None:
        """End what still goes on for nobody."""
        await self._creations.stop()

    async def _create_group(self, session: HandlesGroups, asked: queries.CreateGroup) -> Group:
        return await self._creations.once(
            f"{asked.tenant}.{asked.device}.{asked.id}",
            lambda: session.create_group(asked.subject, asked.members),
            is_repeat=asked.is_repeat,
        )

    async def _set_group_picture(self, session: HandlesGroups, asked: queries.SetGroupPicture) -> Done:
        await session.set_group_picture(asked.group, await self._bytes_of(asked.picture))
        return Done()

    async def _set_picture(self, session: HasProfile, asked: queries.SetPicture) -> Done:
        await session.set_picture(await self._bytes_of(asked.picture))
        return Done()

    async def _bytes_of(self, picture: Media) -> bytes:
        """Raises RequestFailed."""
        try:
            return b"".join([piece async for piece in StoredMedia(self._media, picture).chunks()])
        except MediaFailed as failed:
            raise RequestFailed(failed.reason, failed.detail, failed.retry_after_s) from failed


def _code_of(reason: Reason, changes: bool) -> ErrorCode:
    match reason:
        case "server_unavailable":
            return "OUTCOME_UNKNOWN" if changes else "NO_ANSWER"
        case "rate_overlimit":
            return "TOO_MANY_REQUESTS"
        case "group_left":
            return "GROUP_NOT_FOUND"
        case "invalid_recipient":
            return "INVALID_RECIPIENT"
    return "REQUEST_REFUSED"


async def _scan(session: DeviceSession, asked: queries.SandboxScan) -> Reply:
    if not isinstance(session.engine_session, Scans):
        is_sandbox = session.device is not None and session.device.engine == "sandbox"
        return Refused(code="DEVICE_NOT_PAIRING" if is_sandbox else "DEVICE_NOT_SANDBOX")
    try:
        return queries.answer(queries.Paired(jid=await session.engine_session.scan(asked.phone)))
    except NotPairing:
        return Refused(code="DEVICE_NOT_PAIRING")


# --- groups ---------------------------------------------------------------------------------------------------------


async def _list_groups(session: HandlesGroups, asked: queries.ListGroups) -> queries.GroupPage:
    page, following = _page(await session.groups(), lambda group: group.jid, asked.after, asked.limit)
    return queries.GroupPage(groups=tuple(map(head_of, page)), next=following)


async def _show_group(session: HandlesGroups, asked: queries.ShowGroup) -> Group:
    return await session.group(asked.group)


async def _change_members(session: HandlesGroups, asked: queries.ChangeMembers) -> queries.MembersChanged:
    return queries.MembersChanged(members=await session.change_members(asked.group, asked.change, asked.members))


async def _show_invite_link(session: HandlesGroups, asked: queries.ShowInviteLink) -> queries.InviteLinkShown:
    return queries.InviteLinkShown(link=await session.invite_link(asked.group, False))


async def _renew_invite_link(session: HandlesGroups, asked: queries.RenewInviteLink) -> queries.InviteLinkShown:
    return queries.InviteLinkShown(link=await session.invite_link(asked.group, True))


async def _set_subject(session: HandlesGroups, asked: queries.SetSubject) -> Done:
    await session.set_subject(asked.group, asked.subject)
    return Done()


async def _set_description(session: HandlesGroups, asked: queries.SetDescription) -> Done:
    await session.set_description(asked.group, asked.description)
    return Done()


async def _set_group_rights(session: HandlesGroups, asked: queries.SetGroupRights) -> Done:
    await session.set_group_rights(asked.group, asked.is_announce, asked.is_locked)
    return Done()


async def _set_disappearing(session: HandlesGroups, asked: queries.SetDisappearing) -> Done:
    await session.set_disappearing(asked.group, asked.seconds)
    return Done()


async def _leave_group(session: HandlesGroups, asked: queries.LeaveGroup) -> Done:
    await session.leave_group(asked.group)
    return Done()


async def _join_group(session: HandlesGroups, asked: queries.JoinGroup) -> queries.Joined:
    return queries.Joined(group=await session.join_group(asked.code))


async def _show_invitation(session: HandlesGroups, asked: queries.ShowInvitation) -> Group:
    return await session.invitation(asked.code)


# --- people ---------------------------------------------------------------------------------------------------------


async def _list_contacts(session: KnowsContacts, asked: queries.ListContacts) -> queries.ContactPage:
    known = await session.contacts()
    page, following = _page(known, lambda contact: contact.address.jid, asked.after, asked.limit)
    return queries.ContactPage(contacts=page, next=following)


async def _check_numbers(session: ChecksNumbers, asked: queries.CheckNumbers) -> queries.NumbersChecked:
    return queries.NumbersChecked(checks=await session.check_numbers(asked.phones))


async def _show_picture(session: ShowsPictures, asked: queries.ShowPicture) -> queries.PictureShown:
    return queries.PictureShown(picture=await session.profile_picture(asked.jid))


async def _show_about(session: HasProfile, asked: queries.ShowAbout) -> queries.AboutShown:
    return queries.AboutShown(about=await session.about(asked.jid))


async def _show_presence(session: ShowsPresence, asked: queries.ShowPresence) -> Done:
    await session.show_online(asked.online)
    return Done()


async def _show_typing(session: ShowsPresence, asked: queries.ShowTyping) -> Done:
    await session.show_typing(asked.chat, asked.state)
    return Done()


async def _watch_presence(session: ShowsPresence, asked: queries.WatchPresence) -> Done:
    await session.watch_presence(asked.jid)
    return Done()


async def _mark_read(session: MarksRead, asked: queries.MarkRead) -> Done:
    await session.mark_read(asked.keys, asked.played)
    return Done()


async def _archive_chat(session: ArrangesChats, asked: queries.ArchiveChat) -> Done:
    await session.archive_chat(asked.chat, asked.archived)
    return Done()


async def _mark_unread(session: ArrangesChats, asked: queries.MarkUnread) -> Done:
    await session.mark_unread(asked.chat)
    return Done()


async def _list_labels(session: LabelsChats, asked: queries.ListLabels) -> queries.LabelsShown:
    return queries.LabelsShown(labels=await session.labels())


async def _label_chat(session: LabelsChats, asked: queries.LabelChat) -> Done:
    await session.label_chat(asked.chat, asked.label, asked.labeled)
    return Done()


# --- the account itself ---------------------------------------------------------------------------------------------


async def _set_name(session: HasProfile, asked: queries.SetName) -> Done:
    await session.set_name(asked.name)
    return Done()


async def _set_about(session: HasProfile, asked: queries.SetAbout) -> Done:
    await session.set_about(asked.about)
    return Done()


async def _remove_picture(session: RemovesPictures, asked: queries.RemovePicture) -> Done:
    await session.remove_picture()
    return Done()


async def _show_privacy(session: KeepsPrivacy, asked: queries.ShowPrivacy) -> Privacy:
    return await session.privacy()


async def _set_privacy(session: KeepsPrivacy, asked: queries.SetPrivacy) -> Privacy:
    return await session.set_privacy(asked.privacy)


async def _list_blocked(session: BlocksPeople, asked: queries.ListBlocked) -> queries.BlockedShown:
    return queries.BlockedShown(people=await session.blocked())


async def _set_blocked(session: BlocksPeople, asked: queries.SetBlocked) -> Done:
    await session.set_blocked(asked.jid, asked.blocked)
    return Done()


def _page(
    all_of_it: tuple[Listed, ...], key_of: Callable[[Listed], str], after: str | None, limit: int
) -> tuple[tuple[Listed, ...], str | None]:
    """What comes after the key `after`, by key, and the key after which the next page begins."""
    rest = sorted((one for one in all_of_it if after is None or key_of(one) > after), key=key_of)
    page = tuple(rest[:limit])
    return page, key_of(page[-1]) if len(rest) > limit else None
