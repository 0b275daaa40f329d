"""Messages that the virtual phones send, built from what the control API is told."""

import hashlib
import secrets
import time
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import json_format

from tests.support.whatsapp_emulator.jid import Jid
from tests.support.whatsapp_emulator.keys import hkdf
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.protobufs import e2e

MediaKind = Literal["image", "video", "audio", "document", "sticker"]

MEDIA_FIELDS: dict[str, str] = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "ptv",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}
"""The field of a message that holds a kind of media."""

_WRAPPERS = ("ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "documentWithCaptionMessage")


class MediaFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`data` is base64 in JSON. The message may lie about its file: by its size, or by the hash of another file."""

    kind: MediaKind
    data: bytes
    mimetype: str
    caption: str | None = None
    file_name: str | None = None
    is_voice: bool = False
    said_size: int | None = None
    is_other_file: bool = False


class Quote(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The message that is answered; `participant` is its author's JID."""

    id: str
    participant: str
    text: str


class Reaction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """To a message of `chat`; an empty text takes it back. `is_own` when the reacting account wrote the message."""

    id: str
    chat: str
    text: str
    is_own: bool = False
    participant: str | None = None


class Poll(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A question; `selectable` 0 is as many as one likes."""

    name: str
    options: list[str]
    selectable: int = 1


class Vote(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The options that are chosen in a poll, which this phone has read; `author` is the JID of who asked."""

    id: str
    author: str
    options: list[str]


class Edit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Another text for a message sent before."""

    id: str
    text: str


class Saying(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a phone says: exactly one content. `to` is a number, or a JID of an account or a group.

    `message` is a Message in protobuf's JSON, for everything that has no field of its own here.
    With `count` the same goes out so many times, "{n}" in a text being the number from 0 on. What is damaged cannot be
    read at first, and is sent again to devices that ask for it.
    """

    to: str
    text: str | None = None
    media: MediaFile | None = None
    reaction: Reaction | None = None
    poll: Poll | None = None
    vote: Vote | None = None
    edit: Edit | None = None
    revoke: str | None = None
    message: dict[str, Any] | None = None
    quote: Quote | None = None
    mentions: list[str] = []
    id: str | None = None
    count: int = 1
    is_damaged: bool = False


def message_of(saying: Saying, number: int, media: MediaHost) -> Any:
    """The protobuf. Raises ValueError when there is not exactly one content."""
    given = [name for name in _BUILDERS if getattr(saying, name) is not None]
    if len(given) != 1:
        raise ValueError(f"a message has one content of {', '.join(_BUILDERS)}; got {given}")
    return _BUILDERS[given[0]](saying, number, media)


def stanza_type(message: Any) -> str:
    """The attribute `type` of a message's stanza."""
    if message.HasField("reactionMessage"):
        return "reaction"
    if any(message.HasField(f"pollCreationMessage{version}") for version in ("", "V2", "V3")):
        return "poll"
    return "media" if any(message.HasField(name) for name in MEDIA_FIELDS) else "text"


def edit_attribute(message: Any) -> str | None:
    """The attribute `edit` of a message's stanza: 1 for an edit, 7 for a revoke by the author."""
    if not message.HasField("protocolMessage"):
        return None
    protocol = e2e.ProtocolMessage
    known: dict[int, str] = {protocol.MESSAGE_EDIT: "1", protocol.REVOKE: "7"}
    return known.get(message.protocolMessage.type)


def vote_of(vote: Vote, poll: Any, voter: Jid, group: str | None) -> Any:
    """A vote in a poll, which is sealed with the poll's secret: whatsmeow's msgsecret.go."""
    chat = group or vote.author
    info = f"{vote.id}{vote.author}{voter}Poll Vote".encode()
    secret = hkdf(poll.messageContextInfo.messageSecret, 32, info=info)
    chosen = [hashlib.sha256(option.encode()).digest() for option in vote.options]
    iv = secrets.token_bytes(12)
    said = e2e.PollVoteMessage(selectedOptions=chosen).SerializeToString()
    sealed = AESGCM(secret).encrypt(iv, said, f"{vote.id}\0{voter}".encode())
    update = e2e.PollUpdateMessage(
        vote=e2e.PollEncValue(encPayload=sealed, encIV=iv), senderTimestampMS=int(time.time() * 1000)
    )
    key = update.pollCreationMessageKey
    key.ID, key.fromMe, key.remoteJID = vote.id, False, chat
    if chat != vote.author:
        key.participant = vote.author
    return e2e.Message(pollUpdateMessage=update)


def media_in(message: Any) -> tuple[Any, str] | None:
    """The media of a message and its kind, also when it is wrapped."""
    for wrapper in _WRAPPERS:
        if message.HasField(wrapper):
            return media_in(getattr(message, wrapper).message)
    for name, kind in MEDIA_FIELDS.items():
        if message.HasField(name):
            return getattr(message, name), kind
    return None


def text_of(message: Any) -> str:
    text: str = message.conversation or message.extendedTextMessage.text
    return text


def _text(saying: Saying, number: int, media: MediaHost) -> Any:
    text = (saying.text or "").replace("{n}", str(number))
    if saying.quote is None and not saying.mentions:
        return e2e.Message(conversation=text)
    context = e2e.ContextInfo(mentionedJID=saying.mentions)
    if saying.quote is not None:
        context.stanzaID, context.participant = saying.quote.id, saying.quote.participant
        context.quotedMessage.conversation = saying.quote.text
    return e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text=text, contextInfo=context))


def _media(saying: Saying, number: int, media: MediaHost) -> Any:
    assert saying.media is not None
    file = saying.media
    stored = media.keep(file.data, file.kind)
    message = e2e.Message()
    content = getattr(message, f"{file.kind}Message")
    content.URL, content.directPath, content.mediaKey = stored.url, stored.direct_path, stored.key
    content.fileSHA256, content.fileEncSHA256 = stored.sha256, stored.encrypted_sha256
    content.fileLength, content.mimetype = file.said_size or stored.size, file.mimetype
    if file.is_other_file:
        content.fileSHA256 = bytes(len(stored.sha256))
    content.mediaKeyTimestamp = int(time.time())
    if file.caption is not None:
        content.caption = file.caption
    if file.file_name is not None:
        content.fileName = file.file_name
    if file.is_voice:
        content.PTT = True
    return message


def _reaction(saying: Saying, number: int, media: MediaHost) -> Any:
    assert saying.reaction is not None
    reaction = e2e.ReactionMessage(text=saying.reaction.text, senderTimestampMS=int(time.time() * 1000))
    reaction.key.ID, reaction.key.remoteJID = saying.reaction.id, saying.reaction.chat
    reaction.key.fromMe = saying.reaction.is_own
    if saying.reaction.participant is not None:
        reaction.key.participant = saying.reaction.participant
    return e2e.Message(reactionMessage=reaction)


def _poll(saying: Saying, number: int, media: MediaHost) -> Any:
    assert saying.poll is not None
    options = [e2e.PollCreationMessage.Option(optionName=option) for option in saying.poll.options]
    poll = e2e.PollCreationMessage(
        name=saying.poll.name, options=options, selectableOptionsCount=saying.poll.selectable
    )
    secret = e2e.MessageContextInfo(messageSecret=secrets.token_bytes(32))
    return e2e.Message(pollCreationMessageV3=poll, messageContextInfo=secret)


def _edit(saying: Saying, number: int, media: MediaHost) -> Any:
    assert saying.edit is not None
    protocol = e2e.ProtocolMessage(type=e2e.ProtocolMessage.MESSAGE_EDIT, timestampMS=int(time.time() * 1000))
    protocol.key.ID, protocol.key.fromMe = saying.edit.id, True
    protocol.editedMessage.conversation = saying.edit.text
    return e2e.Message(protocolMessage=protocol)


def _revoke(saying: Saying, number: int, media: MediaHost) -> Any:
    protocol = e2e.ProtocolMessage(type=e2e.ProtocolMessage.REVOKE)
    protocol.key.ID, protocol.key.fromMe = saying.revoke, True
    return e2e.Message(protocolMessage=protocol)


def _message(saying: Saying, number: int, media: MediaHost) -> Any:
    return json_format.ParseDict(saying.message, e2e.Message())


_BUILDERS = {
    "text": _text,
    "media": _media,
    "reaction": _reaction,
    "poll": _poll,
    "edit": _edit,
    "revoke": _revoke,
    "message": _message,
}
