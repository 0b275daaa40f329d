"""What a device sees besides its own connection, messages and receipts.

Each has the fields of the event that it becomes (contracts/events.py), and `at`, when it happened.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from kurir.contracts.content import Address
from kurir.contracts.groups import GroupMember

CallState = Literal["offered", "accepted", "rejected", "missed", "ended"]
MembershipAction = Literal["add", "remove", "promote", "demote", "join", "leave"]


class PresenceSeen(Struct, frozen=True, kw_only=True):
    """Somebody is online or not, or types or records in `chat`. May be dropped when much else is to be told."""

    chat: Address
    sender: Address
    presence: Literal["available", "unavailable", "composing", "recording", "paused"]
    last_seen: datetime | None = None
    at: datetime


class CallSeen(Struct, frozen=True, kw_only=True):
    """A call rings, or what became of it. Of one call each state is reported once, or equal."""

    call_id: str
    chat: Address
    sender: Address
    state: CallState
    is_video: bool = False
    is_group: bool = False
    reason: str | None = None
    at: datetime


class GroupJoined(Struct, frozen=True, kw_only=True):
    """We are in a group from now on."""

    chat: Address
    subject: str
    description: str | None = None
    owner: Address | None = None
    created_at: datetime | None = None
    members: tuple[GroupMember, ...] = ()
    is_announce: bool = False
    is_locked: bool = False
    author: Address | None = None
    reason: str | None = None
    at: datetime


class GroupChanged(Struct, frozen=True, kw_only=True):
    """A group was changed by `author`; what is None stayed."""

    chat: Address
    author: Address | None = None
    subject: str | None = None
    description: str | None = None
    is_announce: bool | None = None
    is_locked: bool | None = None
    ephemeral_s: int | None = None
    invite_link: str | None = None
    picture: Literal["changed", "removed"] | None = None
    is_deleted: bool | None = None
    at: datetime


class MembershipChanged(Struct, frozen=True, kw_only=True):
    """Members of a group came, went or got another role; `includes_me` when we are one of them."""

    chat: Address
    action: MembershipAction
    participants: tuple[Address, ...]
    author: Address | None = None
    includes_me: bool = False
    reason: str | None = None
    at: datetime


class ContactChanged(Struct, frozen=True, kw_only=True):
    """A person, we perhaps, changed the profile picture."""

    contact: Address
    picture: Literal["changed", "removed"]
    at: datetime


class StatusPosted(Struct, frozen=True, kw_only=True):
    """Somebody showed a status update: not told of, and so that it can be said to be seen."""

    whatsapp_id: str
    sender: Address


Seen = PresenceSeen | CallSeen | GroupJoined | GroupChanged | MembershipChanged | ContactChanged
