"""Contents as WhatsApp messages. Pure: protobufs out, no I/O. Import only after `library.load()` succeeded.

Shapes follow whatsmeow's examples and neonize's builders; a poll's `messageSecret` is what votes are encrypted with.
"""

import os
import time
from typing import Any

from neonize.proto.Neonize_pb2 import (
    JID,
    GetProfilePictureParams,
    JIDArray,
    PairPhoneParams,
    ReqCreateGroup,
    UploadResponse,
)
from neonize.proto.waCommon.WACommon_pb2 import MessageKey as WhatsAppKey
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    AudioMessage,
    ContactMessage,
    ContactsArrayMessage,
    ContextInfo,
    DocumentMessage,
    ExtendedTextMessage,
    FutureProofMessage,
    ImageMessage,
    ListMessage,
    LocationMessage,
    Message,
    MessageContextInfo,
    PollCreationMessage,
    ProtocolMessage,
    ReactionMessage,
    StickerMessage,
    VideoMessage,
)

from kurir.contracts.content import (
    STATUS,
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
    Location,
    Media,
    MessageKey,
    Poll,
    PollVote,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Style,
    Text,
    Unsupported,
    Video,
    kind_of,
)
from kurir.contracts.people import Privacy
from kurir.session_node.engines.engine import SendFailed
from kurir.session_node.engines.neonize.media_forms import OPUS_MIMETYPE, MediaForm

MEDIA_TYPE: dict[type[Content], int] = {Image: 0, Sticker: 0, Video: 1, Audio: 2, Document: 3}
"""Media types of the upload call, as neonize/utils/enum.py numbers them; they choose the encryption key's purpose."""

SERVERS = frozenset({"s.whatsapp.net", "lid", "g.us"})
OPAQUE = 0xFF000000
WHITE = 0xFFFFFFFF
PAIRING_CLIENT = (1, "Chrome (Linux)")
"""Type and name sent with a phone code. WhatsApp answers 400 to names that are no browser and system."""


def jid(text: str) -> Any:
    """The JID that `text` says, e.g. 628…:12@s.whatsapp.net. Raises ValueError when it is none that can be written to.

    Every field is set: the library reads fields of a JID without looking whether they are there.
    """
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    digits = user.replace("-", "", 1) if server == "g.us" else user
    is_known = text == STATUS or (server in SERVERS and digits.isdecimal() and (device.isdecimal() or not device))
    if not is_known:
        raise ValueError(f"not a JID to send to: {text!r}")
    return JID(User=user, Device=int(device or 0), Server=server, RawAgent=0, Integrator=0, IsEmpty=False)


def device_props(name: str) -> bytes:
    """What the phone shows in its list of linked devices."""
    props: bytes = DeviceProps(os=name[:40], platformType=DeviceProps.CHROME).SerializeToString()
    return props


def pair_phone(phone: str) -> bytes:
    """The order for a pairing code; `phone` is digits with country code."""
    kind, name = PAIRING_CLIENT
    params: bytes = PairPhoneParams(
        phone=phone, showPushNotification=True, clientType=kind, clientDisplayName=name
    ).SerializeToString()
    return params


def picture_request() -> bytes:
    """For the whole picture, not the small one."""
    params: bytes = GetProfilePictureParams(Preview=False).SerializePartialToString()
    return params


def new_group(subject: str, members: tuple[str, ...], key: str) -> bytes:
    """Raises ValueError when a member is no JID."""
    wanted: bytes = ReqCreateGroup(
        name=subject, Participants=[jid(member) for member in members], CreateKey=key
    ).SerializePartialToString()
    return wanted


def jids(texts: tuple[str, ...]) -> bytes:
    """Raises ValueError when one is no JID."""
    array: bytes = JIDArray(JIDS=[jid(text) for text in texts]).SerializeToString()
    return array


_PRIVACY = {
    "last_seen": "last",
    "online": "online",
    "profile_picture": "profile",
    "about": "status",
    "read_receipts": "readreceipts",
    "groups": "groupadd",
    "calls": "calladd",
}
_LEVELS = {"contacts_except": "contact_blacklist"}


def privacy_changes(privacy: Privacy) -> list[tuple[bytes, bytes]]:
    """Name and value of each setting that is to be changed: whatsmeow's types/user.go."""
    given = {name: getattr(privacy, ours) for ours, name in _PRIVACY.items()}
    return [(name.encode(), _LEVELS.get(level, level).encode()) for name, level in given.items() if level is not None]


def message(
    content: Content,
    *,
    upload: Any = None,
    form: MediaForm | None = None,
    quote: Quote | None = None,
    mentions: tuple[str, ...] = (),
    thumbnail: bytes | None = None,
) -> Any:
    """The message of a content. For kinds with media `upload` is the library's UploadResponse, `form` what it uploaded;
    `thumbnail` is the JPEG of a text's preview.

    Raises SendFailed for what cannot be sent.
    """
    context = _context(quote, mentions)
    match content:
        case Text():
            return _text(content, context, thumbnail)
        case Image() | Video() | Audio() | Document() | Sticker():
            return _with_media(content, _media(upload, content.media, form), context)
        case Location():
            return _location(content, context)
        case Contact():
            return _contacts(content, context)
        case Poll():
            return _poll(content, context)
        case List():
            return _list(content, context)
        case Reaction():
            return Message(reactionMessage=ReactionMessage(key=_key(content.target), text=content.emoji))
        case Edit():
            return _edit(content)
        case Revoke():
            return Message(protocolMessage=ProtocolMessage(type=ProtocolMessage.REVOKE, key=_key(content.target)))
        case PollVote() | ListReply() | Unsupported():
            raise SendFailed("kind_not_supported", getattr(content, "whatsapp_type", kind_of(content)))


def _text(content: Text, context: Any, thumbnail: bytes | None) -> Any:
    if context is None and content.preview is None and content.style is None:
        return Message(conversation=content.text)
    shown = {**_shown(content.preview, thumbnail), **_styled(content.style)}
    return Message(extendedTextMessage=ExtendedTextMessage(text=content.text, contextInfo=context, **shown))


def _with_media(content: Image | Video | Audio | Document | Sticker, media: dict[str, Any], context: Any) -> Any:
    match content:
        case Image():
            image = Message(imageMessage=ImageMessage(**media, caption=content.caption, contextInfo=context))
            return _view_once(image) if content.view_once else image
        case Video():
            film = VideoMessage(**media, caption=content.caption, contextInfo=context)
            video = Message(ptvMessage=film) if content.note else Message(videoMessage=film)
            return _view_once(video) if content.view_once else video
        case Audio():
            if content.voice:
                media["mimetype"] = OPUS_MIMETYPE
            return Message(audioMessage=AudioMessage(**media, PTT=content.voice, contextInfo=context))
        case Document():
            name = content.media.file_name or "document"
            document = DocumentMessage(**media, fileName=name, title=name, caption=content.caption, contextInfo=context)
            return Message(documentMessage=document)
        case Sticker():
            return Message(stickerMessage=StickerMessage(**media, contextInfo=context))


def _location(content: Location, context: Any) -> Any:
    location = LocationMessage(
        degreesLatitude=content.latitude,
        degreesLongitude=content.longitude,
        name=content.name,
        address=content.address,
        contextInfo=context,
    )
    return Message(locationMessage=location)


def _poll(content: Poll, context: Any) -> Any:
    """Votes are sealed with the secret."""
    poll = PollCreationMessage(
        name=content.question,
        options=[PollCreationMessage.Option(optionName=option) for option in content.options],
        selectableOptionsCount=content.selectable,
        contextInfo=context,
    )
    return Message(messageContextInfo=MessageContextInfo(messageSecret=os.urandom(32)), pollCreationMessageV3=poll)


def _list(content: List, context: Any) -> Any:
    sections = [
        ListMessage.Section(
            title=section.title,
            rows=[
                ListMessage.Row(rowID=row.id, title=row.title, description=row.description or "")
                for row in section.rows
            ],
        )
        for section in content.sections
    ]
    listed = ListMessage(
        title=content.title or "",
        description=content.text or "",
        buttonText=content.button,
        footerText=content.footer or "",
        listType=ListMessage.SINGLE_SELECT,
        sections=sections,
        contextInfo=context,
    )
    return Message(listMessage=listed)


def _shown(preview: LinkPreview | None, thumbnail: bytes | None) -> dict[str, Any]:
    """Fields of a link's preview; `matchedText` is the link as it stands in the text."""
    if preview is None:
        return {}
    return {
        "matchedText": preview.url,
        "title": preview.title,
        "description": preview.description,
        "previewType": ExtendedTextMessage.NONE,
        "JPEGThumbnail": thumbnail,
    }


def _styled(style: Style | None) -> dict[str, Any]:
    """Fields of a text on a card: white words, as WhatsApp's apps write them."""
    if style is None:
        return {}
    font = style.font if style.font in ExtendedTextMessage.FontType.values() else ExtendedTextMessage.SYSTEM
    return {"textArgb": WHITE, "backgroundArgb": OPAQUE | int(style.background[1:], 16), "font": font}


def _media(upload: Any, media: Media, form: MediaForm | None) -> dict[str, Any]:
    if not isinstance(upload, UploadResponse):
        raise SendFailed("media_missing", "the media was not uploaded")
    return {
        "URL": upload.url,
        "directPath": upload.DirectPath,
        "mediaKey": upload.MediaKey,
        "fileEncSHA256": upload.FileEncSHA256,
        "fileSHA256": upload.FileSHA256,
        "fileLength": upload.FileLength,
        "mimetype": media.mimetype if form is None else form.mimetype,
        "mediaKeyTimestamp": int(time.time()),
        **({} if form is None else form.facts),
    }


def _view_once(inner: Any) -> Any:
    ((_, media),) = inner.ListFields()
    media.viewOnce = True
    return Message(viewOnceMessageV2=FutureProofMessage(message=inner))


def _context(quote: Quote | None, mentions: tuple[str, ...]) -> Any:
    if quote is None and not mentions:
        return None
    context = ContextInfo(mentionedJID=mentions)
    if quote is not None:
        context.stanzaID = quote.key.whatsapp_id
        # Whose message it was: in a chat of two the other one's, if nothing else is said.
        context.participant = quote.key.participant or quote.key.chat
        context.quotedMessage.conversation = quote.text or ""
    return context


def _edit(content: Edit) -> Any:
    """As whatsmeow's BuildEdit makes it. WhatsApp lets nobody edit what others wrote."""
    if not content.target.from_me:
        raise SendFailed("engine_error", "only messages of this device's own account can be edited")
    edit = ProtocolMessage(
        type=ProtocolMessage.MESSAGE_EDIT,
        key=_key(content.target),
        editedMessage=Message(conversation=content.text),
        timestampMS=int(time.time() * 1000),
    )
    return Message(editedMessage=FutureProofMessage(message=Message(protocolMessage=edit)))


def _key(key: MessageKey) -> Any:
    return WhatsAppKey(remoteJID=key.chat, fromMe=key.from_me, ID=key.whatsapp_id, participant=key.participant or None)


def _contacts(content: Contact, context: Any) -> Any:
    cards = [ContactMessage(displayName=card.name, vcard=_vcard(card)) for card in content.contacts]
    if len(cards) == 1:
        cards[0].MergeFrom(ContactMessage(contextInfo=context))
        return Message(contactMessage=cards[0])
    return Message(
        contactsArrayMessage=ContactsArrayMessage(
            displayName=f"{len(cards)} contacts", contacts=cards, contextInfo=context
        )
    )


def _vcard(card: ContactCard) -> str:
    """vCard 3.0 (RFC 2426); `waid` makes WhatsApp offer a chat with the number."""
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{_escaped(card.name)};;;", f"FN:{_escaped(card.name)}"]
    if card.organization:
        lines.append(f"ORG:{_escaped(card.organization)}")
    lines += [f"TEL;type=CELL;waid={phone}:+{phone}" for phone in card.phones]
    if card.email:
        lines.append(f"EMAIL:{_escaped(card.email)}")
    if card.url:
        lines.append(f"URL:{_escaped(card.url)}")
    return "\n".join([*lines, "END:VCARD"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(";", "\\;").replace(",", "\\,")
