"""What a message says: one struct per kind, the same for sending and receiving.

Media bytes never travel inside messages: `Media` names an object in the media store.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kurir.contracts.states import Reason

STATUS = "status@broadcast"
"""The JID that status updates are sent to. It is no chat: who sees them, the account's settings say."""

Kind = Literal[
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contact",
    "poll",
    "poll_vote",
    "list",
    "list_reply",
    "reaction",
    "edit",
    "revoke",
    "unsupported",
]


class Media(Struct, frozen=True, kw_only=True):
    """Bytes in the media store: `object` is `<tenant>/<id>`, `size` in bytes, `sha256` in lower-case hex.

    Of a received file that was not kept `object` is empty and `missing` says why; the rest is what the sender says.
    """

    object: str
    mimetype: str
    size: int
    sha256: str
    file_name: str | None = None
    missing: Reason | None = None


class LinkPreview(Struct, frozen=True, kw_only=True):
    """What is shown of the page `url`. `image` is where its picture is; a received preview names none."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    title: Annotated[str, Meta(min_length=1, max_length=300)]
    description: Annotated[str, Meta(max_length=1000)] | None = None
    image: Annotated[str, Meta(max_length=2048)] | None = None


class Style(Struct, frozen=True, kw_only=True):
    """How the words of a status stand on their card. `font` is WhatsApp's number of one; it has no 3, 4 and 5 any more,
    which are drawn as 0.
    """

    background: Annotated[str, Meta(pattern="^#[0-9A-Fa-f]{6}$")] = "#000000"
    font: Annotated[int, Meta(ge=0, le=10)] = 0


class Text(Struct, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """Words. With `link_preview` the first link's page is read for a preview, unless `preview` says what to show.

    `style` is for a status.
    """

    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    link_preview: bool = False
    preview: LinkPreview | None = None
    style: Style | None = None


class Image(Struct, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    media: Media
    caption: str | None = None
    view_once: bool = False


class Video(Struct, frozen=True, kw_only=True, tag_field="kind", tag="video"):
    """Film; `note` sends it as a video note (round, played at once), which has no caption to show."""

    media: Media
    caption: str | None = None
    view_once: bool = False
    note: bool = False


class Audio(Struct, frozen=True, kw_only=True, tag_field="kind", tag="audio"):
    """Sound; `voice` sends it as a voice note (ogg/opus, push to talk)."""

    media: Media
    voice: bool = False


class Document(Struct, frozen=True, kw_only=True, tag_field="kind", tag="document"):
    media: Media
    caption: str | None = None


class Sticker(Struct, frozen=True, kw_only=True, tag_field="kind", tag="sticker"):
    media: Media


class Location(Struct, frozen=True, kw_only=True, tag_field="kind", tag="location"):
    """A place; degrees in WGS 84."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: str | None = None
    address: str | None = None


class ContactCard(Struct, frozen=True, kw_only=True):
    """One person of a contact message; `phones` are digits with country code."""

    name: str
    phones: tuple[str, ...] = ()
    organization: str | None = None
    email: str | None = None
    url: str | None = None


class Contact(Struct, frozen=True, kw_only=True, tag_field="kind", tag="contact"):
    contacts: Annotated[tuple[ContactCard, ...], Meta(min_length=1)]


class Poll(Struct, frozen=True, kw_only=True, tag_field="kind", tag="poll"):
    """A question with 2 to 12 options; `selectable` 0 means any number of answers."""

    question: Annotated[str, Meta(min_length=1, max_length=255)]
    options: Annotated[tuple[str, ...], Meta(min_length=2, max_length=12)]
    selectable: Annotated[int, Meta(ge=0, le=12)] = 1


class ListRow(Struct, frozen=True, kw_only=True):
    """One of the things to choose from; who chooses it answers with its `id`."""

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    title: Annotated[str, Meta(min_length=1, max_length=255)]
    description: Annotated[str, Meta(max_length=1024)] | None = None


class ListSection(Struct, frozen=True, kw_only=True):
    """Rows under a title, which may be empty."""

    title: Annotated[str, Meta(max_length=255)] = ""
    rows: Annotated[tuple[ListRow, ...], Meta(min_length=1, max_length=100)]


class List(Struct, frozen=True, kw_only=True, tag_field="kind", tag="list"):
    """Things to choose one from, behind a button; `text` stands above it."""

    button: Annotated[str, Meta(min_length=1, max_length=255)]
    sections: Annotated[tuple[ListSection, ...], Meta(min_length=1, max_length=20)]
    title: Annotated[str, Meta(max_length=1024)] | None = None
    text: Annotated[str, Meta(max_length=4096)] | None = None
    footer: Annotated[str, Meta(max_length=1024)] | None = None


class ListReply(Struct, frozen=True, kw_only=True, tag_field="kind", tag="list_reply"):
    """What somebody chose from a list; the message quotes the list."""

    row_id: Annotated[str, Meta(max_length=200)]
    title: Annotated[str, Meta(max_length=1024)] = ""
    description: Annotated[str, Meta(max_length=4096)] | None = None


class MessageKey(Struct, frozen=True, kw_only=True):
    """How WhatsApp names a message: its id is unique only together with chat and sender."""

    chat: str
    whatsapp_id: str
    from_me: bool = False
    participant: str | None = None


class Reaction(Struct, frozen=True, kw_only=True, tag_field="kind", tag="reaction"):
    """An emoji on another message; an empty `emoji` takes it back."""

    target: MessageKey
    emoji: str


class PollVote(Struct, frozen=True, kw_only=True, tag_field="kind", tag="poll_vote"):
    """What somebody chooses in the poll `target` from now on; an empty choice takes the vote back.

    WhatsApp tells `hashes`, the SHA-256 of each chosen option's text in lower-case hex; `options` are their texts, none
    of a poll that is not known here.
    """

    target: MessageKey
    hashes: tuple[str, ...]
    options: tuple[str, ...] = ()


class Edit(Struct, frozen=True, kw_only=True, tag_field="kind", tag="edit"):
    """Another text for a message, WhatsApp allows it for 15 minutes; for media the new caption."""

    target: MessageKey
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]


class Revoke(Struct, frozen=True, kw_only=True, tag_field="kind", tag="revoke"):
    """Deletes a message for everyone."""

    target: MessageKey


class Unsupported(Struct, frozen=True, kw_only=True, tag_field="kind", tag="unsupported"):
    """A received message of a kind that has no struct yet; `whatsapp_type` is WhatsApp's own name of it."""

    whatsapp_type: str


Content = (
    Text
    | Image
    | Video
    | Audio
    | Document
    | Sticker
    | Location
    | Contact
    | Poll
    | PollVote
    | List
    | ListReply
    | Reaction
    | Edit
    | Revoke
    | Unsupported
)


class Quote(Struct, frozen=True, kw_only=True):
    """The message that a message answers; `text` is shown above the answer."""

    key: MessageKey
    text: str | None = None


class Address(Struct, frozen=True, kw_only=True):
    """Who or where, in every form known: `jid` as WhatsApp said it, `pn` the phone-number JID, `lid` the hidden one."""

    jid: str
    pn: str | None = None
    lid: str | None = None


def kind_of(content: Content) -> Kind:
    """The kind's name as it stands on the wire."""
    kind: Kind = content.__struct_config__.tag  # type: ignore[assignment]
    return kind


def media_of(content: Content) -> Media | None:
    """The media that a content refers to, if its kind has any."""
    return getattr(content, "media", None)
