"""What a session may be asked besides sending: protocols of their own, which an engine has or not.

Each belongs to one capability. Every call is bounded in time, and raises NotConnected or RequestFailed.
"""

from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from kurir.contracts.content import Address, MessageKey
from kurir.contracts.states import Reason

TypingState = Literal["typing", "recording", "paused"]
MemberChange = Literal["add", "remove", "promote", "demote"]
MemberRole = Literal["member", "admin", "owner"]


class RequestFailed(Exception):
    """WhatsApp or the engine did not do it. `retry_after_s` is set when asking later may help."""

    def __init__(self, reason: Reason, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class NumberCheck(Struct, frozen=True, kw_only=True):
    """Whether a phone number (digits with country code) has WhatsApp, and its address there."""

    phone: str
    is_on_whatsapp: bool
    address: Address | None = None


class Picture(Struct, frozen=True, kw_only=True):
    """A profile picture; the URL is WhatsApp's, and valid for some days. `id` changes with the picture."""

    id: str
    url: str


class KnownContact(Struct, frozen=True, kw_only=True):
    """`name` is what the account's owner calls the contact, `push_name` what it calls itself."""

    address: Address
    name: str | None = None
    push_name: str | None = None
    business_name: str | None = None


class GroupMember(Struct, frozen=True, kw_only=True):
    address: Address
    role: MemberRole = "member"


class Group(Struct, frozen=True, kw_only=True):
    """`is_announce`: only admins write; `is_locked`: only admins change subject and description."""

    jid: str
    subject: str
    description: str | None = None
    owner: Address | None = None
    created_at: datetime | None = None
    members: tuple[GroupMember, ...] = ()
    is_announce: bool = False
    is_locked: bool = False


class MemberChanged(Struct, frozen=True, kw_only=True):
    """What became of a change of one member; `error` is WhatsApp's code, 403 for who lets nobody add him."""

    address: Address
    error: int | None = None


@runtime_checkable
class ShowsPresence(Protocol):
    """Capability `presence`. Contacts see typing only of who is online."""

    async def show_online(self, online: bool) -> None: ...

    async def show_typing(self, chat: str, state: TypingState) -> None:
        """WhatsApp takes it back by itself after some 25 s."""
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

    async def leave_group(self, jid: str) -> None: ...
