"""Messages in the form that the Baileys library gives them (WAProto.proto, Message), which several APIs pass on. Pure.

Media are named by the URL where the tenant fetches them. Floats are written as JavaScript writes them.
"""

from typing import Any

from kurir.contracts.content import (
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
)
from kurir.dialects import javascript
from kurir.dialects.dialect import MediaUrl

_REVOKE = 0
_MESSAGE_EDIT = 14
"""Types of WhatsApp's ProtocolMessage, as its protobuf numbers them."""


_SINGLE_SELECT = "SINGLE_SELECT"
"""The protobuf's ListMessage.ListType that is not a list of products."""

FONTS = {
    0: "SYSTEM",
    1: "SYSTEM_TEXT",
    2: "FB_SCRIPT",
    6: "SYSTEM_BOLD",
    7: "MORNINGBREEZE_REGULAR",
    8: "CALISTOGA_REGULAR",
    9: "EXO2_EXTRABOLD",
    10: "COURIERPRIME_BOLD",
}
"""Names of the protobuf's ExtendedTextMessage.FontType, which its JSON form writes."""


def phone_form(address: Address) -> str:
    return address.pn or address.jid


def other_form(address: Address) -> str | None:
    """The hidden identity of somebody whose phone number is known too."""
    return address.lid if address.lid != phone_form(address) else None


def message(
    content: Content, quote: Quote | None, mentions: tuple[str, ...], media_url: MediaUrl
) -> tuple[str, dict[str, Any]]:
    """The name of the content's kind and the content itself, as Baileys shapes a message (WAProto.proto, Message)."""
    context = _context(quote, mentions)
    match content:
        case Text(text=text, preview=None, style=None) if context is None:
            return "conversation", {"conversation": text}
        case Text(text=text, preview=preview, style=style):
            return _wrapped("extendedTextMessage", {"text": text} | _previewed(preview) | _styled(style), context)
        case Image():
            return _wrapped("imageMessage", _media_message(content.media, media_url, content.caption), context)
        case Video():
            name = "ptvMessage" if content.note else "videoMessage"
            return _wrapped(name, _media_message(content.media, media_url, content.caption), context)
        case Audio():
            return _wrapped("audioMessage", {**_media_message(content.media, media_url), "ptt": content.voice}, context)
        case Document():
            named = {
                **_media_message(content.media, media_url, content.caption),
                "fileName": content.media.file_name,
            }
            return _wrapped("documentMessage", named, context)
        case Sticker():
            return _wrapped("stickerMessage", _media_message(content.media, media_url), context)
        case Location():
            place = {
                "degreesLatitude": javascript.number(content.latitude),
                "degreesLongitude": javascript.number(content.longitude),
                "name": content.name,
                "address": content.address,
            }
            return _wrapped("locationMessage", place, context)
        case Contact(contacts=(card,)):
            return _wrapped("contactMessage", _card(card), context)
        case Contact(contacts=cards):
            shown = {"displayName": f"{len(cards)} contacts", "contacts": [_card(card) for card in cards]}
            return _wrapped("contactsArrayMessage", shown, context)
        case Poll():
            poll = {
                "name": content.question,
                "options": [{"optionName": option} for option in content.options],
                "selectableOptionsCount": content.selectable,
            }
            return _wrapped("pollCreationMessage", poll, context)
        case PollVote():
            vote = {"selectedOptions": list(content.options or content.hashes)}
            update = {"pollCreationMessageKey": key_of(content.target), "vote": vote}
            return _wrapped("pollUpdateMessage", update, context)
        case List():
            return _wrapped("listMessage", _list(content), context)
        case ListReply():
            chosen = {
                "title": content.title,
                "listType": _SINGLE_SELECT,
                "singleSelectReply": {"selectedRowId": content.row_id},
                "description": content.description,
            }
            return _wrapped("listResponseMessage", chosen, context)
        case Reaction():
            return _wrapped("reactionMessage", {"key": key_of(content.target), "text": content.emoji}, None)
        case Edit():
            edited = {"extendedTextMessage": {"text": content.text}}
            protocol = {"key": key_of(content.target), "type": _MESSAGE_EDIT, "editedMessage": edited}
            return _wrapped("protocolMessage", protocol, None)
        case Revoke():
            return _wrapped("protocolMessage", {"key": key_of(content.target), "type": _REVOKE}, None)
        case Unsupported(whatsapp_type=whatsapp_type):
            return whatsapp_type, {}


def _list(content: List) -> dict[str, Any]:
    sections = [
        {
            "title": section.title,
            "rows": [{"title": row.title, "description": row.description, "rowId": row.id} for row in section.rows],
        }
        for section in content.sections
    ]
    return {
        "title": content.title,
        "description": content.text,
        "buttonText": content.button,
        "listType": _SINGLE_SELECT,
        "sections": sections,
        "footerText": content.footer,
    }


def _previewed(preview: LinkPreview | None) -> dict[str, Any]:
    if preview is None:
        return {}
    return {"matchedText": preview.url, "title": preview.title, "description": preview.description}


def _styled(style: Style | None) -> dict[str, Any]:
    if style is None:
        return {}
    return {"backgroundArgb": 0xFF000000 | int(style.background[1:], 16), "font": FONTS.get(style.font, FONTS[0])}


def _wrapped(name: str, message: dict[str, Any], context: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    if context is not None:
        message["contextInfo"] = context
    return name, {name: message}


def _media_message(media: Media, media_url: MediaUrl, caption: str | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "url": media_url(media),
        "mimetype": media.mimetype,
        # A 64-bit integer in the protocol, which its JSON form writes as text.
        "fileLength": str(media.size),
    }
    if caption is not None:
        message["caption"] = caption
    return message


def _context(quote: Quote | None, mentions: tuple[str, ...]) -> dict[str, Any] | None:
    if quote is None and not mentions:
        return None
    context: dict[str, Any] = {}
    if quote is not None:
        context["stanzaId"] = quote.key.whatsapp_id
        context["participant"] = quote.key.participant
        context["quotedMessage"] = {"conversation": quote.text} if quote.text is not None else None
    if mentions:
        context["mentionedJid"] = list(mentions)
    return context


def key_of(key: MessageKey) -> dict[str, Any]:
    return {
        "remoteJid": key.chat,
        "fromMe": key.from_me,
        "id": key.whatsapp_id,
        "participant": key.participant,
    }


def _card(card: ContactCard) -> dict[str, Any]:
    return {"displayName": card.name, "vcard": _vcard(card)}


def _vcard(card: ContactCard) -> str:
    """vCard 3.0 (RFC 2426), as WhatsApp writes contacts."""
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"FN:{_escaped(card.name)}", f"N:;{_escaped(card.name)};;;"]
    if card.organization:
        lines.append(f"ORG:{_escaped(card.organization)};")
    lines += [f"TEL;type=CELL;type=VOICE;waid={phone}:+{phone}" for phone in card.phones]
    if card.email:
        lines.append(f"EMAIL:{_escaped(card.email)}")
    if card.url:
        lines.append(f"URL:{_escaped(card.url)}")
    return "\n".join([*lines, "END:VCARD"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "").replace(";", "\\;").replace(",", "\\,")
