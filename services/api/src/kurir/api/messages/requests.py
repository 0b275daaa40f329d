"""What callers send to `/messages/send-…`, and the content that it becomes. Pure."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from kurir.api.people import person_in
from kurir.api.problems import Problem
from kurir.contracts.commands import Priority
from kurir.contracts.content import (
    STATUS,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Image,
    LinkPreview,
    List,
    ListRow,
    ListSection,
    Location,
    Media,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Style,
    Text,
    Video,
)

_STATUS_FILES = frozenset({"image", "video", "audio"})
MediaKind = Literal["image", "video", "audio", "document", "sticker"]
Caption = Annotated[str, Meta(max_length=4096)]
WhatsAppId = Annotated[str, Meta(min_length=1, max_length=128)]
Seconds = Annotated[int, Meta(ge=1, le=30 * 24 * 3600)]
Option = Annotated[str, Meta(min_length=1, max_length=100)]
Jid = Annotated[str, Meta(max_length=64)]


class QuoteIn(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The message to answer: `messageId` is WhatsApp's (`3EB0…`), `text` is shown above the answer."""

    message_id: WhatsAppId
    from_me: bool = False
    participant: Jid | None = None
    text: Annotated[str, Meta(max_length=4096)] | None = None


class SendRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`to` is a phone number or a group id; `quote` the message to answer, `mentions` whom to name; `sendAt` a time
    with zone, in the future; after `expiresIn` seconds the message is not sent any more; of what waits for a device,
    `priority` high goes first and bulk last; for `typingMs` milliseconds before, the chat shows that you are typing;
    `metadata` is your own object, up to 16 kB, told again with the message and never sent. To `status@broadcast` it is
    a status update, which `audience` alone may see, without one whoever the account's settings say."""

    device_id: str
    to: Annotated[str, Meta(min_length=1, max_length=64)]
    quote: QuoteIn | None = None
    mentions: Annotated[tuple[Jid, ...], Meta(max_length=1024)] = ()
    send_at: Annotated[datetime, Meta(tz=True)] | None = None
    priority: Priority = "normal"
    expires_in: Seconds | None = None
    typing_ms: Annotated[int, Meta(ge=0, le=20_000)] = 0
    metadata: dict[str, Any] | None = None
    audience: Annotated[tuple[Jid, ...], Meta(max_length=1024)] = ()


class PreviewIn(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to show of the link `url`, which stands in the text; `image` is the URL of a picture."""

    url: Annotated[str, Meta(min_length=8, max_length=2048, pattern="^https?://")]
    title: Annotated[str, Meta(min_length=1, max_length=300)]
    description: Annotated[str, Meta(max_length=1000)] | None = None
    image: Annotated[str, Meta(max_length=2048, pattern="^https?://")] | None = None


class SendText(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """With `linkPreview` the page of the first link in the text is read for a preview, within five seconds; `preview`
    says what to show instead. `background` (`#RRGGBB`) and `font` (WhatsApp's number of one) are for a status."""

    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    link_preview: bool = False
    preview: PreviewIn | None = None
    background: Annotated[str, Meta(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    font: Annotated[int, Meta(ge=0, le=10)] | None = None


class SendMedia(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A file, by `url` in JSON or as part `file` of multipart/form-data. What it is, its bytes say: `mimetype` is
    read and not relied on. `ptt` sends audio as a voice note, `ptv` a video as a round video note."""

    kind: MediaKind
    url: Annotated[str, Meta(min_length=8, max_length=2048)] | None = None
    caption: Caption | None = None
    file_name: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    mimetype: Annotated[str, Meta(max_length=127)] | None = None
    ptt: bool = False
    ptv: bool = False
    view_once: bool = False


class SendLocation(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A place, in degrees of WGS 84."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Annotated[str, Meta(max_length=255)] | None = None
    address: Annotated[str, Meta(max_length=1024)] | None = None


class ContactIn(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One person; `phones` are digits with country code."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    phones: Annotated[tuple[Annotated[str, Meta(pattern="^[0-9]{5,15}$")], ...], Meta(min_length=1, max_length=10)]
    organization: Annotated[str, Meta(max_length=255)] | None = None
    email: Annotated[str, Meta(max_length=255)] | None = None
    url: Annotated[str, Meta(max_length=2048)] | None = None


class SendContact(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    contacts: Annotated[tuple[ContactIn, ...], Meta(min_length=1, max_length=20)]


class SendPoll(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A question with 2 to 12 options; `selectable` 0 means any number of answers."""

    question: Annotated[str, Meta(min_length=1, max_length=255)]
    options: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...], Meta(min_length=2, max_length=12)
    ]
    selectable: Annotated[int, Meta(ge=0, le=12)] = 1


class ListRowIn(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One thing to choose."""

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    title: Annotated[str, Meta(min_length=1, max_length=255)]
    description: Annotated[str, Meta(max_length=1024)] | None = None


class ListSectionIn(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    rows: Annotated[tuple[ListRowIn, ...], Meta(min_length=1, max_length=100)]
    title: Annotated[str, Meta(max_length=255)] = ""


class SendList(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Things to choose one from, behind `button`. Who chooses answers with the row's `id`, which is unlike all others.

    WhatsApp decides which apps show a list; a poll is shown by all.
    """

    button: Annotated[str, Meta(min_length=1, max_length=255)]
    sections: Annotated[tuple[ListSectionIn, ...], Meta(min_length=1, max_length=20)]
    title: Annotated[str, Meta(max_length=1024)] | None = None
    text: Annotated[str, Meta(max_length=4096)] | None = None
    footer: Annotated[str, Meta(max_length=1024)] | None = None


class SendReaction(SendRequest, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An emoji on the message `messageId` (WhatsApp's, `3EB0…`) in the chat `to`; an empty one takes it back."""

    message_id: WhatsAppId
    emoji: Annotated[str, Meta(max_length=32)]
    from_me: bool = False
    participant: Jid | None = None


class SendContent(SendRequest, frozen=True, kw_only=True, rename="camel"):
    """A content that is ready as it is: what requests in other APIs' words become."""

    content: Content


class EditMessage(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the message says from now on."""

    text: Annotated[str, Meta(min_length=1, max_length=65_536)]


class SendEdit(SendRequest, frozen=True, kw_only=True, rename="camel"):
    """Another text for the message `message`, which is our id."""

    message: str
    text: str


class SendRevoke(SendRequest, frozen=True, kw_only=True, rename="camel"):
    """The deletion of the message `message`, which is our id, for everyone."""

    message: str


def content_of(request: SendRequest, to: str, country: str) -> Content:
    """The content of a message without a file, to the JID `to`. Raises Problem naming the field."""
    match request:
        case SendContent():
            return request.content
        case SendText():
            preview = _preview(request)
            return Text(text=request.text, link_preview=request.link_preview, preview=preview, style=_style(request))
        case SendLocation():
            return Location(
                latitude=request.latitude, longitude=request.longitude, name=request.name, address=request.address
            )
        case SendContact():
            return Contact(contacts=tuple(_card(one) for one in request.contacts))
        case SendPoll():
            if request.selectable > len(request.options):
                raise Problem("VALIDATION_ERROR", "There are fewer options than that.", field="selectable")
            return Poll(question=request.question, options=request.options, selectable=request.selectable)
        case SendList():
            ids = [row.id for section in request.sections for row in section.rows]
            if len(set(ids)) < len(ids):
                raise Problem("VALIDATION_ERROR", "Two rows have the same id.", field="sections")
            return List(
                title=request.title,
                text=request.text,
                button=request.button,
                footer=request.footer,
                sections=tuple(_section(one) for one in request.sections),
            )
        case SendReaction():
            participant = request.participant and person_in(request.participant, country, "participant")
            target = MessageKey(
                chat=to, whatsapp_id=request.message_id, from_me=request.from_me, participant=participant
            )
            return Reaction(target=target, emoji=request.emoji)
    raise TypeError(f"no content for {type(request).__name__}")


def require_fitting(request: SendRequest, to: str, content: Content | None) -> None:
    """What only a status has, and what none has. `content` is None for a file. Raises Problem naming the field."""
    if to != STATUS:
        if request.audience:
            raise Problem("VALIDATION_ERROR", "Only a status has an audience.", field="audience")
        if isinstance(request, SendText) and (request.background or request.font is not None):
            field = "background" if request.background else "font"
            raise Problem("VALIDATION_ERROR", "Only a status is shown on a card.", field=field)
        return
    if not (request.kind in _STATUS_FILES if isinstance(request, SendMedia) else isinstance(content, Text | Revoke)):
        raise Problem("VALIDATION_ERROR", "A status is a text, an image, a video or audio.", field="to")
    if request.quote is not None:
        raise Problem("VALIDATION_ERROR", "A status answers nothing.", field="quote")
    if request.mentions:
        raise Problem("VALIDATION_ERROR", "A status mentions nobody.", field="mentions")


def quote_of(request: SendRequest, to: str, country: str) -> Quote | None:
    """Raises Problem naming the field."""
    quote = request.quote
    if quote is None:
        return None
    participant = quote.participant and person_in(quote.participant, country, "quote.participant")
    key = MessageKey(chat=to, whatsapp_id=quote.message_id, from_me=quote.from_me, participant=participant)
    return Quote(key=key, text=quote.text)


def send_media_from_form(fields: dict[str, str]) -> SendMedia:
    """A SendMedia from the text parts of a form. `quote` and `metadata` are JSON, `mentions` and `audience` JSON or
    separated by commas.

    Raises msgspec.ValidationError or msgspec.DecodeError.
    """
    given: dict[str, object] = dict(fields)
    if quote := fields.get("quote"):
        given["quote"] = msgspec.json.decode(quote)
    for name in ("mentions", "audience"):
        if people := fields.get(name):
            is_json = people.lstrip().startswith("[")
            given[name] = msgspec.json.decode(people) if is_json else [one.strip() for one in people.split(",")]
    if metadata := fields.get("metadata"):
        given["metadata"] = msgspec.json.decode(metadata)
    return msgspec.convert(given, SendMedia, strict=False)


def media_content(request: SendMedia, media: Media) -> Content:
    """The content of a message with a file, which is stored as `media`."""
    match request.kind:
        case "image":
            return Image(media=media, caption=request.caption, view_once=request.view_once)
        case "video":
            return Video(media=media, caption=request.caption, view_once=request.view_once, note=request.ptv)
        case "audio":
            return Audio(media=media, voice=request.ptt)
        case "document":
            return Document(media=media, caption=request.caption)
        case "sticker":
            return Sticker(media=media)


def _preview(request: SendText) -> LinkPreview | None:
    given = request.preview
    if given is None:
        return None
    if given.url not in request.text:
        raise Problem("VALIDATION_ERROR", "The text does not contain this link.", field="preview.url")
    return LinkPreview(url=given.url, title=given.title, description=given.description, image=given.image)


def _style(request: SendText) -> Style | None:
    if request.background is None and request.font is None:
        return None
    return Style(background=request.background or "#000000", font=request.font or 0)


def _section(section: ListSectionIn) -> ListSection:
    rows = (ListRow(id=row.id, title=row.title, description=row.description) for row in section.rows)
    return ListSection(title=section.title, rows=tuple(rows))


def _card(contact: ContactIn) -> ContactCard:
    return ContactCard(
        name=contact.name,
        phones=contact.phones,
        organization=contact.organization,
        email=contact.email,
        url=contact.url,
    )
