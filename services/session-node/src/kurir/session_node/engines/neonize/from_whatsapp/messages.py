"""Received messages. What carries nothing for a person (key exchange, history) becomes None."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from neonize.proto import Neonize_pb2 as neonize
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as WhatsAppMessage
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import ProtocolMessage

from kurir.contracts.content import (
    STATUS,
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    LinkPreview,
    List,
    ListReply,
    ListRow,
    ListSection,
    Location,
    Media,
    MessageKey,
    Poll,
    PollVote,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Text,
    Unsupported,
    Video,
)
from kurir.session_node.engines.engine import Attachment, Received
from kurir.session_node.engines.neonize.from_whatsapp.who import address, jid_text, moment
from kurir.session_node.engines.observations import StatusPosted

TEXT_LIMIT = 65_536


def received(data: bytes, own: frozenset[str], attach: Callable[[Any], Attachment]) -> Received | None:
    """A message for a person to see. `own` are our JIDs; `attach` makes the attachment of a message with media."""
    event = neonize.Message.FromString(data)
    info = event.Info
    source = info.MessageSource
    if source.Chat.Server not in ("s.whatsapp.net", "lid", "g.us"):
        return None  # status updates, newsletters and broadcast lists
    inner, view_once = _unwrapped(event.Message)
    chat = address(
        source.Chat, None if source.IsGroup else source.RecipientAlt if source.IsFromMe else source.SenderAlt
    )
    speaker = _Speaker(chat=chat.jid, sender=jid_text(source.Sender), is_us=source.IsFromMe, own=own)
    content = _content(inner, view_once or event.IsViewOnce or event.IsViewOnceV2, speaker)
    if content is None:
        return None
    context = _context_of(inner)
    return Received(
        whatsapp_id=info.ID,
        chat=chat,
        sender=address(source.Sender, source.SenderAlt),
        content=content,
        sent_at=moment(info.Timestamp),
        from_me=source.IsFromMe,
        is_group=source.IsGroup,
        push_name=info.Pushname or None,
        quote=None if context is None else _quote(context, chat, own),
        mentions=() if context is None else tuple(context.mentionedJID),
        attachment=attach(_fetchable(inner))
        if isinstance(content, Image | Video | Audio | Document | Sticker)
        else None,
    )


def opened_vote(data: bytes, answer: bytes, own: frozenset[str]) -> PollVote | None:
    """The vote in a message, by what the library answered to its decryption; None when it could not be."""
    event, result = neonize.Message.FromString(data), neonize.ReturnFunctionWithError.FromString(answer)
    if result.Error:
        return None
    source = event.Info.MessageSource
    speaker = _Speaker(chat=jid_text(source.Chat), sender=jid_text(source.Sender), is_us=source.IsFromMe, own=own)
    target = _key(event.Message.pollUpdateMessage.pollCreationMessageKey, speaker)
    hashes = tuple(one.hex() for one in result.PollVoteMessage.selectedOptions)
    return PollVote(target=target, hashes=hashes)


class _Speaker(Struct, frozen=True, kw_only=True):
    """Who says something where; `own` are our JIDs."""

    chat: str
    sender: str
    is_us: bool
    own: frozenset[str]


_WRAPPERS = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "groupMentionedMessage",
    "associatedChildMessage",
    "editedMessage",
    "lottieStickerMessage",
)
_POLLS = ("pollCreationMessage", "pollCreationMessageV2", "pollCreationMessageV3", "pollCreationMessageV5")
_NOT_CONTENT = frozenset(
    {"senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo"}
)


def status_posted(data: bytes) -> StatusPosted | None:
    """Somebody else's status update; None for everything else."""
    event = neonize.Message.FromString(data)
    source = event.Info.MessageSource
    if jid_text(source.Chat) != STATUS or source.IsFromMe:
        return None
    inner, _ = _unwrapped(event.Message)
    if all(field.name in _NOT_CONTENT for field, _ in inner.ListFields()):
        return None
    return StatusPosted(whatsapp_id=event.Info.ID, sender=address(source.Sender, source.SenderAlt))


def _unwrapped(message: Any) -> tuple[Any, bool]:
    view_once = False
    if message.HasField("deviceSentMessage"):
        message = message.deviceSentMessage.message
    while wrapper := next((name for name in _WRAPPERS if message.HasField(name)), None):
        view_once = view_once or wrapper.startswith("viewOnce")
        message = getattr(message, wrapper).message
    return message, view_once


def _content(message: Any, view_once: bool, speaker: _Speaker) -> Content | None:
    names = [field.name for field, _ in message.ListFields() if field.name not in _NOT_CONTENT]
    if not names:
        return None
    name = names[0]
    content = _known_content(name, getattr(message, name), view_once, speaker)
    try:
        # What others send may break the limits of our contracts, and would then be unreadable for every subscriber.
        return None if content is None else msgspec.convert(msgspec.to_builtins(content), type(content))
    except msgspec.ValidationError:
        return Unsupported(whatsapp_type=name)


def _known_content(name: str, part: Any, view_once: bool, speaker: _Speaker) -> Content | None:
    match name:
        case "protocolMessage" if part.type == ProtocolMessage.REVOKE:
            return Revoke(target=_key(part.key, speaker))
        case "protocolMessage" if part.type == ProtocolMessage.MESSAGE_EDIT:
            return Edit(target=_key(part.key, speaker), text=(_words(part.editedMessage) or "")[:TEXT_LIMIT])
        case "protocolMessage":
            return None
        case "conversation":
            return Text(text=part[:TEXT_LIMIT])
        case "extendedTextMessage":
            return Text(text=part.text[:TEXT_LIMIT], preview=_preview(part))
        case "imageMessage":
            return Image(media=_media(part), caption=part.caption or None, view_once=view_once or part.viewOnce)
        case "videoMessage" | "ptvMessage":
            return Video(
                media=_media(part),
                caption=part.caption or None,
                view_once=view_once or part.viewOnce,
                note=name == "ptvMessage",
            )
        case "audioMessage":
            return Audio(media=_media(part), voice=part.PTT)
        case "documentMessage":
            return Document(media=_media(part, part.fileName or part.title or None), caption=part.caption or None)
        case "stickerMessage":
            return Sticker(media=_media(part))
        case "locationMessage" | "liveLocationMessage":
            return Location(
                latitude=part.degreesLatitude,
                longitude=part.degreesLongitude,
                name=getattr(part, "name", None) or None,
                address=getattr(part, "address", None) or None,
            )
        case "contactMessage":
            return Contact(contacts=(_card(part),))
        case "contactsArrayMessage":
            return Contact(contacts=tuple(_card(each) for each in part.contacts))
        case "reactionMessage":
            return Reaction(target=_key(part.key, speaker), emoji=part.text)
        case "listMessage":
            return _list(part)
        case "listResponseMessage":
            return ListReply(
                row_id=part.singleSelectReply.selectedRowID,
                title=part.title,
                description=part.description or None,
            )
        case poll if poll in _POLLS:
            return Poll(
                question=part.name,
                options=tuple(option.optionName for option in part.options),
                selectable=part.selectableOptionsCount,
            )
        case _:
            return Unsupported(whatsapp_type=name)


def _list(part: Any) -> List:
    sections = (
        ListSection(
            title=section.title,
            rows=tuple(
                ListRow(id=row.rowID, title=row.title, description=row.description or None) for row in section.rows
            ),
        )
        for section in part.sections
    )
    return List(
        title=part.title or None,
        text=part.description or None,
        button=part.buttonText,
        footer=part.footerText or None,
        sections=tuple(sections),
    )


def _fetchable(message: Any) -> Any:
    """The message as the library finds a file in it: of a video note it does not look (whatsmeow's DownloadAny)."""
    return WhatsAppMessage(videoMessage=message.ptvMessage) if message.HasField("ptvMessage") else message


def _preview(part: Any) -> LinkPreview | None:
    """What the sender shows of a link; the small picture is left out."""
    if not part.matchedText or not part.title:
        return None
    description = part.description[:1000] or None
    return LinkPreview(url=part.matchedText[:2048], title=part.title[:300], description=description)


def _media(part: Any, file_name: str | None = None) -> Media:
    return Media(
        object="",
        mimetype=part.mimetype or "application/octet-stream",
        size=part.fileLength,
        sha256=part.fileSHA256.hex(),
        file_name=file_name,
    )


def _key(key: Any, speaker: _Speaker) -> MessageKey:
    """The message that the speaker means, as it is from here: in the key "me" is the speaker."""
    if speaker.is_us:
        author, is_ours = key.participant or None, key.fromMe
    elif key.fromMe:
        author, is_ours = speaker.sender, False
    else:
        author, is_ours = key.participant or None, not key.participant or key.participant in speaker.own
    participant = author if speaker.chat.endswith("@g.us") else None
    return MessageKey(chat=speaker.chat, whatsapp_id=key.ID, from_me=is_ours, participant=participant)


_VCARD_LINE = re.compile(r"(?im)^(?:item\d+\.)?(FN|ORG|TEL|EMAIL|URL)([^:\r\n]*):(.*?)\r?$")


def _card(part: Any) -> ContactCard:
    found: dict[str, str] = {}
    phones = []
    for name, parameters, value in _VCARD_LINE.findall(part.vcard):
        if name.upper() == "TEL":
            waid = re.search(r"waid=(\d+)", parameters)
            phones.append(waid.group(1) if waid else re.sub(r"\D", "", value))
        else:
            found.setdefault(name.upper(), re.sub(r"\\(.)", r"\1", value).rstrip(";"))
    return ContactCard(
        name=part.displayName or found.get("FN", ""),
        phones=tuple(phone for phone in phones if phone),
        organization=found.get("ORG"),
        email=found.get("EMAIL"),
        url=found.get("URL"),
    )


def _context_of(message: Any) -> Any:
    for field, part in message.ListFields():
        if field.message_type is not None and "contextInfo" in field.message_type.fields_by_name:
            return part.contextInfo if part.HasField("contextInfo") else None
    return None


def _quote(context: Any, chat: Address, own: frozenset[str]) -> Quote | None:
    if not context.stanzaID:
        return None
    return Quote(
        key=MessageKey(
            chat=context.remoteJID or chat.jid,
            whatsapp_id=context.stanzaID,
            from_me=context.participant in own,
            participant=context.participant or None,
        ),
        text=_words(context.quotedMessage),
    )


def _words(message: Any) -> str | None:
    """The text or caption of a message inside another one."""
    inner, _ = _unwrapped(message)
    for field, part in inner.ListFields():
        if field.name == "conversation":
            return str(part)
        text = getattr(part, "text", None) or getattr(part, "caption", None)
        if isinstance(text, str) and text:
            return text
    return None
