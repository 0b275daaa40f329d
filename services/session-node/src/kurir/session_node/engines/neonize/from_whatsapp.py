"""WhatsApp's events as observations, and the library's error texts as failures. Pure: no I/O.

Import only after `library.load()` succeeded. Chats and senders come as hidden ids (LID) with the phone number beside
them; messages that carry nothing for a person (key exchange, history) become None.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from neonize.proto import Neonize_pb2 as neonize
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import ProtocolMessage

from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    Location,
    Media,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Revoke,
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
from kurir.session_node.engines.requests import (
    Group,
    GroupMember,
    KnownContact,
    MemberChanged,
    MemberRole,
    NumberCheck,
    Picture,
    RequestFailed,
)

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

# 9 (inactive) is a delivery to a device that is not looking. 3 asks for the message again; 2, 5,
# 7, 10 and 11 come from the account's own devices.
RECEIPT_STATUS = {1: "delivered", 9: "delivered", 4: "read", 6: "played", 3: "unreadable"}


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
        attachment=attach(inner) if isinstance(content, Image | Video | Audio | Document | Sticker) else None,
    )


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
            return Reaction(target=_key(part.key, speaker), emoji=part.text)
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


# --- answers to requests -----------------------------------------------------------------------------------------


def timestamp_now() -> int:
    """Seconds, as the library takes them."""
    return int(datetime.now(UTC).timestamp())


def require_done(error: str) -> None:
    """Raises RequestFailed or NotConnected by the library's error text, if there is one."""
    if not error:
        return
    failure = send_failure(error)
    if isinstance(failure, SendFailed):
        raise RequestFailed(failure.reason, failure.detail, failure.retry_after_s)
    raise failure if isinstance(failure, NotConnected) else RequestFailed("server_unavailable", error, 30.0)


def number_checks(answer: bytes) -> list[NumberCheck]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.IsOnWhatsAppReturnFunction.FromString(answer)
    require_done(result.Error)
    return [
        NumberCheck(
            phone=found.Query.lstrip("+").partition("@")[0],
            is_on_whatsapp=found.IsIn,
            address=address(found.JID) if found.IsIn else None,
        )
        for found in result.IsOnWhatsAppResponse
    ]


def picture(answer: bytes) -> Picture | None:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetProfilePictureReturnFunction.FromString(answer)
    if re.search(r"does not have a profile picture|hidden|item-not-found|not-authorized|40[14]", result.Error):
        return None
    require_done(result.Error)
    return Picture(id=result.Picture.ID, url=result.Picture.URL)


def contacts(answer: bytes) -> list[KnownContact]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.ContactsGetAllContactsReturnFunction.FromString(answer)
    require_done(result.Error)
    return [
        KnownContact(
            address=address(found.JID),
            name=found.Info.FullName or found.Info.FirstName or None,
            push_name=found.Info.PushName or None,
            business_name=found.Info.BusinessName or None,
        )
        for found in result.Contact
    ]


def groups(answer: bytes) -> tuple[Group, ...]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetJoinedGroupsReturnFunction.FromString(answer)
    require_done(result.Error)
    return tuple(map(_group, result.Group))


def group(answer: bytes) -> Group:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetGroupInfoReturnFunction.FromString(answer)
    require_done(result.Error)
    return _group(result.GroupInfo)


def members_changed(answer: bytes) -> tuple[MemberChanged, ...]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.UpdateGroupParticipantsReturnFunction.FromString(answer)
    require_done(result.Error)
    return tuple(MemberChanged(address=_member_address(each), error=each.Error or None) for each in result.participants)


def invite_link(answer: bytes) -> str:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetGroupInviteLinkReturnFunction.FromString(answer)
    require_done(result.Error)
    return str(result.InviteLink)


def _group(info: Any) -> Group:
    return Group(
        jid=jid_text(info.JID),
        subject=info.GroupName.Name,
        description=info.GroupTopic.Topic or None,
        owner=address(info.OwnerJID, info.OwnerPN) if info.OwnerJID.User else None,
        created_at=moment(int(info.GroupCreated)) if info.GroupCreated > 0 else None,
        members=tuple(GroupMember(address=_member_address(each), role=_role(each)) for each in info.Participants),
        is_announce=info.GroupAnnounce.IsAnnounce,
        is_locked=info.GroupLocked.isLocked,
    )


def _role(member: Any) -> MemberRole:
    return "owner" if member.IsSuperAdmin else "admin" if member.IsAdmin else "member"


def _member_address(member: Any) -> Address:
    return address(member.JID, member.LID if member.JID.Server == "s.whatsapp.net" else member.PhoneNumber)
