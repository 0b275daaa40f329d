"""What a session may be asked besides sending: protocols of their own, which an engine has or not.

Each belongs to one capability. Every call is bounded in time, and raises NotConnected or RequestFailed.
"""

from typing import Protocol, runtime_checkable

from kurir.contracts.content import Address, MessageKey
from kurir.contracts.groups import Group, GroupMember, MemberChange, MemberChanged, MemberRole
from kurir.contracts.people import KnownContact, Label, NumberCheck, Picture, Privacy, TypingState
from kurir.contracts.states import Reason

__all__ = [
    "ArrangesChats",
    "BlocksPeople",
    "ChecksNumbers",
    "Group",
    "GroupMember",
    "HandlesGroups",
    "HasProfile",
    "KeepsPrivacy",
    "KnownContact",
    "KnowsContacts",
    "Label",
    "LabelsChats",
    "MarksRead",
    "MemberChange",
    "MemberChanged",
    "MemberRole",
    "NumberCheck",
    "Picture",
    "Privacy",
    "RejectsCalls",
    "RemovesPictures",
    "RequestFailed",
    "ShowsPictures",
    "ShowsPresence",
    "TypingState",
]


class RequestFailed(Exception):
    """WhatsApp or the engine did not do it. `retry_after_s` is set when asking later may help."""

    def __init__(self, reason: Reason, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


@runtime_checkable
class ShowsPresence(Protocol):
    """Capability `presence`. Contacts see typing only of who is online, who is online sees who else is."""

    async def show_online(self, online: bool) -> None: ...

    async def show_typing(self, chat: str, state: TypingState) -> None:
        """WhatsApp takes it back by itself after some 25 s."""
        ...

    async def watch_presence(self, jid: str) -> None:
        """Have WhatsApp tell when a person is online, as long as this connection lasts and we are online ourselves."""
        ...


@runtime_checkable
class MarksRead(Protocol):
    """Capability `mark_read`."""

    async def mark_read(self, keys: tuple[MessageKey, ...], played: bool) -> None:
        """Tell the senders of messages that these were read, or played."""
        ...


@runtime_checkable
class ChecksNumbers(Protocol):
    """Capability `check_numbers`. WhatsApp punishes who asks much: answers are remembered, new questions are few."""

    async def check_numbers(self, phones: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        """In the order asked. Raises RequestFailed `rate_overlimit` when it would be too many for now."""
        ...


@runtime_checkable
class ShowsPictures(Protocol):
    """Capability `profile_picture`."""

    async def profile_picture(self, jid: str) -> Picture | None:
        """Of a person or group; None when there is none, or none for us."""
        ...


@runtime_checkable
class KnowsContacts(Protocol):
    """Capability `contacts`."""

    async def contacts(self) -> tuple[KnownContact, ...]:
        """Who is in the account's address book or has written."""
        ...


@runtime_checkable
class HasProfile(Protocol):
    """Capability `profile`: what the account shows of itself."""

    async def about(self, jid: str) -> str | None:
        """Of a person, ourselves perhaps; None when there is none, or none for us."""
        ...

    async def set_name(self, name: str) -> None: ...

    async def set_about(self, about: str) -> None: ...

    async def set_picture(self, picture: bytes) -> None:
        """As HandlesGroups.set_group_picture."""
        ...


@runtime_checkable
class RemovesPictures(Protocol):
    """Capability `profile.remove_picture`."""

    async def remove_picture(self) -> None: ...


@runtime_checkable
class KeepsPrivacy(Protocol):
    """Capability `privacy`."""

    async def privacy(self) -> Privacy: ...

    async def set_privacy(self, privacy: Privacy) -> Privacy:
        """What is None stays; what holds then. What fails in the middle has changed what came before it."""
        ...


@runtime_checkable
class BlocksPeople(Protocol):
    """Capability `blocking`."""

    async def blocked(self) -> tuple[Address, ...]: ...

    async def set_blocked(self, jid: str, blocked: bool) -> None: ...


@runtime_checkable
class RejectsCalls(Protocol):
    """Capability `reject_calls`."""

    async def reject_call(self, caller: str, call_id: str) -> None:
        """`caller` is the JID under which the call was reported."""
        ...


@runtime_checkable
class ArrangesChats(Protocol):
    """Capability `archive`: how chats stand on the account's own devices."""

    async def archive_chat(self, chat: str, archived: bool) -> None: ...

    async def mark_unread(self, chat: str) -> None: ...


@runtime_checkable
class LabelsChats(Protocol):
    """Capability `labels`, of business accounts."""

    async def labels(self) -> tuple[Label, ...]: ...

    async def label_chat(self, chat: str, label: str, labeled: bool) -> None:
        """Raises RequestFailed `not_allowed` when there is no such label."""
        ...


@runtime_checkable
class HandlesGroups(Protocol):
    """Capability `groups`. `jid` is a group's, members are JIDs of persons."""

    async def groups(self) -> tuple[Group, ...]: ...

    async def group(self, jid: str) -> Group: ...

    async def create_group(self, subject: str, members: tuple[str, ...]) -> Group: ...

    async def change_members(
        self, jid: str, change: MemberChange, members: tuple[str, ...]
    ) -> tuple[MemberChanged, ...]: ...

    async def invite_link(self, jid: str, renew: bool) -> str:
        """`renew` makes the former link invalid."""
        ...

    async def set_subject(self, jid: str, subject: str) -> None: ...

    async def set_description(self, jid: str, description: str) -> None: ...

    async def set_group_rights(self, jid: str, is_announce: bool | None, is_locked: bool | None) -> None:
        """What is None stays."""
        ...

    async def set_disappearing(self, jid: str, seconds: int) -> None:
        """0 lets messages stay."""
        ...

    async def set_group_picture(self, jid: str, picture: bytes) -> None:
        """`picture` is an image of a usual kind. Raises RequestFailed `media_refused` when it cannot be read."""
        ...

    async def leave_group(self, jid: str) -> None: ...

    async def join_group(self, code: str) -> str:
        """Join by the code of an invitation link; the group's JID. Where admins admit, it is only asked for."""
        ...

    async def invitation(self, code: str) -> Group:
        """The group that the code of an invitation link leads to, without joining it."""
        ...
