"""Questions to the owner of a device, answered at once or refused: request and reply over core NATS.

A reply is always `Answer | Refused`; nobody there to ask means that no shard owns the partition at the moment. No reply
in time says nothing about what was done: `changes` tells for each method whether that matters. Lists come in pages,
because a reply is one message of the bus.
"""

from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from kurir.contracts.content import Address, Media, MessageKey
from kurir.contracts.errors import ErrorCode
from kurir.contracts.groups import Group, GroupHead, MemberChange, MemberChanged
from kurir.contracts.people import KnownContact, Label, NumberCheck, Picture, Privacy, TypingState
from kurir.contracts.states import Reason

ANSWER_WITHIN_S = 35.0
"""The owner answers within this: an engine gives WhatsApp 30 s, and a turn has to be waited for."""

ASK_TIMEOUT_S = ANSWER_WITHIN_S + 5.0
"""Who asks waits so long: for the way there and back, and an owner whose processor is busy."""

PAGE_LIMIT = 1000
"""Of groups or contacts: some 300 bytes each, far from the bus's 1 MB."""

Limit = Annotated[int, Meta(ge=1, le=PAGE_LIMIT)]
A = TypeVar("A", covariant=True)


# --- answers --------------------------------------------------------------------------------------------------------


class Done(Struct, frozen=True, kw_only=True):
    """There is nothing more to say."""


class Paired(Struct, frozen=True, kw_only=True):
    jid: str


class GroupPage(Struct, frozen=True, kw_only=True):
    """Groups by JID; `next` is what to ask for with `after`, None on the last page."""

    groups: tuple[GroupHead, ...]
    next: str | None = None


class MembersChanged(Struct, frozen=True, kw_only=True):
    members: tuple[MemberChanged, ...]


class InviteLinkShown(Struct, frozen=True, kw_only=True):
    link: str


class Joined(Struct, frozen=True, kw_only=True):
    group: str


class ContactPage(Struct, frozen=True, kw_only=True):
    """Contacts by JID; `next` as in GroupPage."""

    contacts: tuple[KnownContact, ...]
    next: str | None = None


class NumbersChecked(Struct, frozen=True, kw_only=True):
    """In the order asked."""

    checks: tuple[NumberCheck, ...]


class PictureShown(Struct, frozen=True, kw_only=True):
    """None: there is no picture, or none for this device to see."""

    picture: Picture | None = None


class AboutShown(Struct, frozen=True, kw_only=True):
    """None: there is no about text, or none for this device to see."""

    about: str | None = None


class LabelsShown(Struct, frozen=True, kw_only=True):
    labels: tuple[Label, ...]


class BlockedShown(Struct, frozen=True, kw_only=True):
    people: tuple[Address, ...]


# --- questions ------------------------------------------------------------------------------------------------------


class Question(Struct, Generic[A], frozen=True, kw_only=True):
    """What every question says; `A` is the body of its answer."""

    tenant: str
    device: str


class SandboxScan(Question[Paired], frozen=True, kw_only=True):
    """`phone` is the number that the sandbox device gets, digits with country code; absent picks one."""

    phone: str | None = None


class ListGroups(Question[GroupPage], frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 100


class ShowGroup(Question[Group], frozen=True, kw_only=True):
    group: str


class CreateGroup(Question[Group], frozen=True, kw_only=True):
    """`id` names the creation: asked again under the same id, the owner answers what became of the first time.

    With `is_repeat` the first time may have been elsewhere: an owner that does not know of it refuses with
    OUTCOME_UNKNOWN rather than make a second group.
    """

    id: str
    subject: str
    members: tuple[str, ...] = ()
    is_repeat: bool = False


class ChangeMembers(Question[MembersChanged], frozen=True, kw_only=True):
    group: str
    change: MemberChange
    members: tuple[str, ...]


class ShowInviteLink(Question[InviteLinkShown], frozen=True, kw_only=True):
    group: str


class RenewInviteLink(Question[InviteLinkShown], frozen=True, kw_only=True):
    """Makes another link; the former one leads nowhere then."""

    group: str


class SetSubject(Question[Done], frozen=True, kw_only=True):
    group: str
    subject: str


class SetDescription(Question[Done], frozen=True, kw_only=True):
    """An empty description takes it away."""

    group: str
    description: str


class SetGroupRights(Question[Done], frozen=True, kw_only=True):
    """What is None stays. `is_announce`: only admins write; `is_locked`: only admins change subject and description."""

    group: str
    is_announce: bool | None = None
    is_locked: bool | None = None


class SetDisappearing(Question[Done], frozen=True, kw_only=True):
    """After how many seconds a group's new messages disappear; 0: they stay."""

    group: str
    seconds: Annotated[int, Meta(ge=0, le=365 * 24 * 3600)]


class SetGroupPicture(Question[Done], frozen=True, kw_only=True):
    """`picture` is an image in the media store; the engine gives it WhatsApp's form."""

    group: str
    picture: Media


class LeaveGroup(Question[Done], frozen=True, kw_only=True):
    group: str


class ShowInvitation(Question[Group], frozen=True, kw_only=True):
    """`code` as for JoinGroup; the answer has as much of the group as WhatsApp tells who is not in it."""

    code: str


class JoinGroup(Question[Joined], frozen=True, kw_only=True):
    """`code` is the last part of an invitation link."""

    code: str


class ListContacts(Question[ContactPage], frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 100


class CheckNumbers(Question[NumbersChecked], frozen=True, kw_only=True):
    """`phones` are digits with country code."""

    phones: tuple[str, ...]


class ShowPicture(Question[PictureShown], frozen=True, kw_only=True):
    """`jid` is a person's or a group's."""

    jid: str


class ShowAbout(Question[AboutShown], frozen=True, kw_only=True):
    """The about text of a person, ourselves perhaps."""

    jid: str


class SetName(Question[Done], frozen=True, kw_only=True):
    """What the account calls itself."""

    name: str


class SetAbout(Question[Done], frozen=True, kw_only=True):
    """An empty text takes it away."""

    about: str


class SetPicture(Question[Done], frozen=True, kw_only=True):
    """The account's own; `picture` as in SetGroupPicture."""

    picture: Media


class RemovePicture(Question[Done], frozen=True, kw_only=True):
    """The account's own."""


class ShowPrivacy(Question[Privacy], frozen=True, kw_only=True):
    pass


class SetPrivacy(Question[Privacy], frozen=True, kw_only=True):
    """What is None stays; the answer is what holds then."""

    privacy: Privacy


class ListBlocked(Question[BlockedShown], frozen=True, kw_only=True):
    pass


class SetBlocked(Question[Done], frozen=True, kw_only=True):
    """Whether a person can write to the account and call it."""

    jid: str
    blocked: bool


class ShowPresence(Question[Done], frozen=True, kw_only=True):
    online: bool


class ShowTyping(Question[Done], frozen=True, kw_only=True):
    chat: str
    state: TypingState


class WatchPresence(Question[Done], frozen=True, kw_only=True):
    """Have WhatsApp tell when this person is online, until the connection ends."""

    jid: str


class MarkRead(Question[Done], frozen=True, kw_only=True):
    keys: tuple[MessageKey, ...]
    played: bool = False


class ArchiveChat(Question[Done], frozen=True, kw_only=True):
    """Put a chat away on all of the account's devices, or take it out again."""

    chat: str
    archived: bool


class MarkUnread(Question[Done], frozen=True, kw_only=True):
    """Mark a chat as one to look at, on all of the account's devices; its sender learns nothing of it."""

    chat: str


class ListLabels(Question[LabelsShown], frozen=True, kw_only=True):
    pass


class LabelChat(Question[Done], frozen=True, kw_only=True):
    chat: str
    label: str
    labeled: bool


# --- methods --------------------------------------------------------------------------------------------------------


class Method(NamedTuple):
    """`changes`: without an answer it is not known whether it was done; otherwise asking again is harmless."""

    name: str
    question: type[Question[Any]]
    answer: type[Struct]
    changes: bool
    description: str


_ALL = (
    Method(
        "sandbox.scan",
        SandboxScan,
        Paired,
        True,
        "Confirm the pairing of a sandbox device, as a phone would by scanning its QR code.",
    ),
    Method("groups.list", ListGroups, GroupPage, False, "The groups that the device is in, without their members."),
    Method("groups.info", ShowGroup, Group, False, "One group with its members."),
    Method("groups.create", CreateGroup, Group, True, "Make a group."),
    Method("groups.members.change", ChangeMembers, MembersChanged, True, "Add, remove, promote or demote members."),
    Method("groups.invite_link", ShowInviteLink, InviteLinkShown, False, "The link by which others join a group."),
    Method("groups.invite_link.renew", RenewInviteLink, InviteLinkShown, True, "Make another invitation link."),
    Method("groups.subject", SetSubject, Done, True, "Rename a group."),
    Method("groups.description", SetDescription, Done, True, "Describe a group."),
    Method("groups.rights", SetGroupRights, Done, True, "Say what only admins of a group may do."),
    Method("groups.disappearing", SetDisappearing, Done, True, "Let a group's messages disappear, or stay."),
    Method("groups.picture", SetGroupPicture, Done, True, "Give a group another picture."),
    Method("groups.leave", LeaveGroup, Done, True, "Leave a group."),
    Method("groups.join", JoinGroup, Joined, True, "Join a group by an invitation link's code."),
    Method("groups.invitation", ShowInvitation, Group, False, "The group that an invitation link's code leads to."),
    Method("contacts.list", ListContacts, ContactPage, False, "Who is in the account's address book or has written."),
    Method("numbers.check", CheckNumbers, NumbersChecked, False, "Which phone numbers have WhatsApp."),
    Method("picture.get", ShowPicture, PictureShown, False, "The profile picture of a person or group."),
    Method("about.get", ShowAbout, AboutShown, False, "The about text of a person."),
    Method("profile.name", SetName, Done, True, "Say what the account calls itself."),
    Method("profile.about", SetAbout, Done, True, "Write the account's about text."),
    Method("profile.picture", SetPicture, Done, True, "Give the account another picture."),
    Method("profile.picture.remove", RemovePicture, Done, True, "Take the account's picture away."),
    Method("privacy.get", ShowPrivacy, Privacy, False, "Who sees what of the account."),
    Method("privacy.set", SetPrivacy, Privacy, True, "Say who sees what of the account."),
    Method("blocked.list", ListBlocked, BlockedShown, False, "Who is blocked."),
    Method("blocked.set", SetBlocked, Done, True, "Block a person, or no longer."),
    Method("presence.show", ShowPresence, Done, False, "Appear online, or not."),
    Method("presence.typing", ShowTyping, Done, False, "Appear to be typing or recording in a chat."),
    Method("presence.watch", WatchPresence, Done, False, "Hear when a person is online."),
    Method("chats.read", MarkRead, Done, False, "Mark messages as read or played."),
    Method("chats.archive", ArchiveChat, Done, True, "Archive a chat, or take it out of the archive."),
    Method("chats.unread", MarkUnread, Done, True, "Mark a chat as unread."),
    Method("labels.list", ListLabels, LabelsShown, False, "The labels of a business account."),
    Method("labels.set", LabelChat, Done, True, "Give a chat a label, or take it off."),
)

METHODS = {method.name: method for method in _ALL}
_METHOD_OF = {method.question: method for method in _ALL}


def method_of(question: Question[Any]) -> Method:
    return _METHOD_OF[type(question)]


# --- replies --------------------------------------------------------------------------------------------------------


class Answer(Struct, frozen=True, kw_only=True, tag_field="reply", tag="answer"):
    """`body` is the answer of the method that was asked."""

    body: Raw


class Refused(Struct, frozen=True, kw_only=True, tag_field="reply", tag="refused"):
    """`capability` is what the device's engine lacks, `reason` why WhatsApp did not do it."""

    code: ErrorCode
    detail: str | None = None
    capability: str | None = None
    reason: Reason | None = None
    retry_after_s: float | None = None


Reply = Answer | Refused

_encoder = msgspec.json.Encoder()
_reply_decoder = msgspec.json.Decoder(Reply)
_question_decoders = {name: msgspec.json.Decoder(method.question) for name, method in METHODS.items()}
_answer_decoders: dict[type[Question[Any]], msgspec.json.Decoder[Any]] = {
    method.question: msgspec.json.Decoder(method.answer) for method in _ALL
}


def decode_question(method: str, data: bytes) -> Question[Any]:
    """Decode what was asked on a method's subject. Raises msgspec.DecodeError, or KeyError for an unknown method."""
    question: Question[Any] = _question_decoders[method].decode(data)
    return question


def answer(body: Struct) -> Answer:
    return Answer(body=Raw(_encoder.encode(body)))


def decode_any_reply(data: bytes) -> Reply:
    """What was replied to a question that is not asked of a device. Raises msgspec.DecodeError."""
    reply: Reply = _reply_decoder.decode(data)
    return reply


def decode_reply(question: Question[A], data: bytes) -> A | Refused:
    """What the owner replied to a question. Raises msgspec.DecodeError."""
    reply: Reply = _reply_decoder.decode(data)
    if isinstance(reply, Refused):
        return reply
    body: A = _answer_decoders[type(question)].decode(reply.body)
    return body
