"""What becomes of the body of a send: the content of a message, and the message that it answers. Pure."""

from kurir.api.messages.requests import (
    ContactIn,
    ListSectionIn,
    SendContact,
    SendContent,
    SendList,
    SendLocation,
    SendMedia,
    SendPoll,
    SendReaction,
    SendRequest,
    SendText,
)
from kurir.api.people import person_in
from kurir.api.problems import Problem
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
