"""What callers send to `/messages/send-…`. Pure."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kurir.api.media.kinds import MediaKind
from kurir.contracts.commands import Priority
from kurir.contracts.content import Content

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
