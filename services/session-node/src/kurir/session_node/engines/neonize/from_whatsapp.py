"""WhatsApp's events as observations, and the library's error texts as failures. Pure: no I/O.

Import only after `library.load()` succeeded. Chats and senders come as hidden ids (LID) with the phone number beside
them; messages that carry nothing for a person (key exchange, history) become None.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from neonize.proto import Neonize_pb2 as neonize
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import ProtocolMessage

from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Image,
    Location,
    Media,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Sticker,
    Text,
    Unsupported,
    Video,
)
from kurir.contracts.states import Reason
from kurir.session_node.engines.engine import (
    Attachment,
    NotConnected,
    OutcomeUnknown,
    ReceiptSeen,
    Received,
    SendFailed,
    Sent,
    StateChanged,
)
from kurir.session_node.engines.neonize import library

TEXT_LIMIT = 65_536

# --- who ---------------------------------------------------------------------------------------------------------


def jid_text(jid: Any, *, device: bool = False) -> str:
    """A JID as text; with its device number when asked and when there is one."""
    if not jid.User:
        return str(jid.Server)
    return f"{jid.User}:{jid.Device}@{jid.Server}" if device and jid.Device else f"{jid.User}@{jid.Server}"


def address(jid: Any, other: Any = None) -> Address:
    """A person or group in every form that the two JIDs of one event tell."""
    known = {each.Server: jid_text(each) for each in (other, jid) if each is not None and each.User}
    return Address(jid=jid_text(jid), pn=known.get("s.whatsapp.net"), lid=known.get("lid"))


def connected(data: bytes) -> StateChanged:
    """Who the library says that we are (its Device event)."""
    device = neonize.Device.FromString(data)
    return StateChanged(
        state="connected",
        jid=jid_text(device.JID, device=True),
        lid=jid_text(device.LID) if device.LID.User else None,
        phone=device.JID.User or None,
        push_name=device.PushName or None,
    )


# --- states ------------------------------------------------------------------------------------------------------


def final_state(kind: int, data: bytes, now: datetime) -> StateChanged | None:
    """The state that ends the session, if the event is one that does."""
    if kind == library.LOGGED_OUT:
        event = neonize.LoggedOut.FromString(data)
        detail = neonize.ConnectFailureReason.Name(event.Reason) if event.HasField("Reason") else None
        return StateChanged(state="logged_out", reason="device_logged_out", detail=detail)
    if kind == library.STREAM_REPLACED:
        return StateChanged(state="replaced", reason="device_replaced")
    if kind == library.CLIENT_OUTDATED:
        return StateChanged(state="outdated", reason="client_outdated")
    if kind == library.TEMPORARY_BAN:
        ban = neonize.TemporaryBan.FromString(data)
        return StateChanged(
            state="banned",
            reason="device_banned",
            detail=neonize.TemporaryBan.TempBanReason.Name(ban.Code) if ban.HasField("Code") else None,
            banned_until=now + timedelta(seconds=ban.Expire) if ban.Expire > 0 else None,
        )
    return None


def connect_failure(data: bytes) -> str:
    """What WhatsApp said when it refused the login for a reason that has no event of its own."""
    event = neonize.ConnectFailure.FromString(data)
    reason = neonize.ConnectFailureReason.Name(event.Reason) if event.HasField("Reason") else "unknown"
    return f"{reason}: {event.Message}" if event.Message else reason


# --- receipts ----------------------------------------------------------------------------------------------------

# 9 (inactive) is a delivery to a device that is not looking. 3 asks for a resend, which whatsmeow does by itself;
# 2, 5, 7, 10 and 11 come from the account's own devices.
RECEIPT_STATUS = {1: "delivered", 9: "delivered", 4: "read", 6: "played"}


def receipt(data: bytes) -> ReceiptSeen | None:
    """A receipt of somebody else for messages that we sent."""
    event = neonize.Receipt.FromString(data)
    status = RECEIPT_STATUS.get(event.Type)
    source = event.MessageSource
    if status is None or source.IsFromMe or not event.MessageIDs:
        return None
    return ReceiptSeen(
        whatsapp_ids=tuple(event.MessageIDs),
        status=status,  # type: ignore[arg-type]
        chat=address(source.Chat, None if source.IsGroup else source.SenderAlt),
        sender=address(source.Sender, source.SenderAlt),
        at=moment(event.Timestamp),
    )


def moment(timestamp: int) -> datetime:
    """The library gives seconds in some places and milliseconds in others."""
    return datetime.fromtimestamp(timestamp / 1000 if timestamp > 100_000_000_000 else timestamp, UTC)


# --- messages ----------------------------------------------------------------------------------------------------


def received(data: bytes, own: frozenset[str], attach: Callable[[Any], Attachment]) -> Received | None:
    """A message for a person to see. `own` are our JIDs; `attach` makes the attachment of a message with media."""
    event = neonize.Message.FromString(data)
    info = event.Info
    source = info.MessageSource
    if source.Chat.Server not in ("s.whatsapp.net", "lid", "g.us"):
        return None  # status updates, newsletters and broadcast lists
    inner, view_once = _unwrapped(event.Message)
    content = _content(inner, view_once or event.IsViewOnce)
    if content is None:
        return None
    chat = address(
        source.Chat, None if source.IsGroup else source.RecipientAlt if source.IsFromMe else source.SenderAlt
    )
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
        attachment=attach(inner) if isinstance(content, Image | Video | Audio | Document | Sticker) else None,
    )


_WRAPPERS = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "groupMentionedMessage",
    "associatedChildMessage",
    "lottieStickerMessage",
)
_POLLS = ("pollCreationMessage", "pollCreationMessageV2", "pollCreationMessageV3", "pollCreationMessageV5")
_NOT_CONTENT = frozenset(
    {"senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo"}
)
_FOR_PEOPLE = frozenset({ProtocolMessage.REVOKE, ProtocolMessage.MESSAGE_EDIT})


def _unwrapped(message: Any) -> tuple[Any, bool]:
    view_once = False
    if message.HasField("deviceSentMessage"):
        message = message.deviceSentMessage.message
    while wrapper := next((name for name in _WRAPPERS if message.HasField(name)), None):
        view_once = view_once or wrapper.startswith("viewOnce")
        message = getattr(message, wrapper).message
    return message, view_once


def _content(message: Any, view_once: bool) -> Content | None:
    names = [field.name for field, _ in message.ListFields() if field.name not in _NOT_CONTENT]
    if not names:
        return None
    name = names[0]
    if name == "protocolMessage":
        kind = message.protocolMessage.type
        if kind not in _FOR_PEOPLE:
            return None
        return Unsupported(whatsapp_type=f"protocolMessage.{ProtocolMessage.Type.Name(kind)}")
    content = _known_content(name, getattr(message, name), view_once)
    try:
        # What others send may break the limits of our contracts, and would then be unreadable for every subscriber.
        return None if content is None else msgspec.convert(msgspec.to_builtins(content), type(content))
    except msgspec.ValidationError:
        return Unsupported(whatsapp_type=name)


def _known_content(name: str, part: Any, view_once: bool) -> Content:
    match name:
        case "conversation":
            return Text(text=part[:TEXT_LIMIT])
        case "extendedTextMessage":
            return Text(text=part.text[:TEXT_LIMIT])
        case "imageMessage":
            return Image(media=_media(part), caption=part.caption or None, view_once=view_once or part.viewOnce)
        case "videoMessage" | "ptvMessage":
            return Video(media=_media(part), caption=part.caption or None, view_once=view_once or part.viewOnce)
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
            return Reaction(target=_key(part.key), emoji=part.text)
        case poll if poll in _POLLS:
            return Poll(
                question=part.name,
                options=tuple(option.optionName for option in part.options),
                selectable=part.selectableOptionsCount,
            )
        case _:
            return Unsupported(whatsapp_type=name)


def _media(part: Any, file_name: str | None = None) -> Media:
    return Media(
        object="",
        mimetype=part.mimetype or "application/octet-stream",
        size=part.fileLength,
        sha256=part.fileSHA256.hex(),
        file_name=file_name,
    )


def _key(key: Any) -> MessageKey:
    return MessageKey(chat=key.remoteJID, whatsapp_id=key.ID, from_me=key.fromMe, participant=key.participant or None)


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
    content = _content(_unwrapped(message)[0], view_once=False)
    if isinstance(content, Text):
        return content.text
    return getattr(content, "caption", None)


# --- answers of a send -------------------------------------------------------------------------------------------


def sent(answer: bytes, to: str) -> Sent:
    """What became of a message to the JID `to`: its chat is named as we named it, with the hidden id if that was used.

    Raises SendFailed, OutcomeUnknown or NotConnected by the library's error text.
    """
    result = neonize.SendMessageReturnFunction.FromString(answer)
    if result.Error:
        raise send_failure(result.Error)
    response = result.SendResponse
    server = to.partition("@")[2]
    hidden = jid_text(response.Chat) if response.Chat.Server == "lid" else None
    chat = Address(jid=to, pn=to if server == "s.whatsapp.net" else None, lid=to if server == "lid" else hidden)
    return Sent(whatsapp_id=response.ID, sent_at=moment(response.Timestamp), chat=chat)


# Texts of whatsmeow's errors (errors.go, send.go, request.go), first match counts. A reason is for messages that were
# certainly not sent; None means that the message had left when the error came.
_FAILURES: tuple[tuple[str, Reason | None, float | None], ...] = (
    (r"server returned error 463\b", "reachout_timelock", None),
    (r"server returned error 429\b|rate-overlimit", "rate_overlimit", 60.0),
    (r"server returned error (?:403|420|421)\b", "group_left", None),
    (r"server returned error", "engine_error", None),
    (r"no LID found|not on whatsapp", "not_on_whatsapp", None),
    (r"timed out waiting for message send response", None, None),
    (r"disconnected before message send returned", None, None),
    (r"not participating in that group|not a participant", "group_left", None),
    (r"that group does not exist", "invalid_recipient", None),
    (r"group members.*(?:forbidden|item-not-found|not-authorized|40[134])", "group_left", None),
    (r"unknown (?:user )?server|invalid (?:recipient|jid)|recipient JID", "invalid_recipient", None),
    (r"info query timed out|disconnected before info query", "server_unavailable", 10.0),
)
_NO_CONNECTION = re.compile(r"websocket not connected|doesn't contain a device JID|not logged in|client is nil")


def send_failure(text: str) -> Exception:
    """The failure that an error text of the library means: SendFailed, OutcomeUnknown or NotConnected."""
    if _NO_CONNECTION.search(text):
        return NotConnected()
    for pattern, reason, retry_after_s in _FAILURES:
        if re.search(pattern, text, re.IGNORECASE):
            return OutcomeUnknown(text) if reason is None else SendFailed(reason, text, retry_after_s)
    if "failed to send message node" in text:
        return OutcomeUnknown(text)
    return SendFailed("engine_error", text)


def uploaded(answer: bytes) -> Any:
    """The answer of an upload. Raises SendFailed."""
    result = neonize.UploadReturnFunction.FromString(answer)
    if not result.Error:
        return result.UploadResponse
    failure = send_failure(result.Error)
    if isinstance(failure, NotConnected):
        raise failure
    refused = re.search(r"status code 4\d\d", result.Error)
    raise SendFailed("media_refused" if refused else "server_unavailable", result.Error, None if refused else 30.0)


def downloaded(answer: bytes) -> tuple[bytes, str]:
    """The bytes of a download, or "" and why not."""
    result = neonize.DownloadReturnFunction.FromString(answer)
    return result.Binary, result.Error


def pairing_code(answer: bytes) -> tuple[str, str]:
    """The code for the phone, or "" and why not."""
    result = neonize.PairPhoneReturnFunction.FromString(answer)
    return result.Code, result.Error
