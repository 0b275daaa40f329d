"""`POST /message/…`: from v1's nested bodies and v2's flat ones, on the same paths, to orders. Pure.

v1 says `{"number", "options": {…}, "textMessage": {"text"}}`, v2 `{"number", "text", "delay", …}`; which of them it is,
the body's own keys say. What is unknown is ignored, as the original does.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from kurir.contracts.content import (
    Contact,
    ContactCard,
    Content,
    Location,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Text,
)
from kurir.dialects.evolution import errors
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.orders import File, FileKind, Order

Version = Literal["v1", "v2"]

MAX_TEXT: Final = 65_536
MAX_CAPTION: Final = 4096
MAX_DELAY_MS: Final = 20_000  # longer ones are typed for as long as WhatsApp shows it
MEDIA_TYPES: Final = ("image", "document", "video", "audio", "ptv")
DEFAULT_NAMES: Final[dict[str, str | None]] = {"image": "image.png", "video": "video.mp4", "ptv": "video.mp4"}

_NUMBER = re.compile(r"[+(]?[0-9][0-9@.+()\s\w-]*")
_DATA_URL = re.compile(r"data:[^,]{0,255};base64,")
_KEY = ("id", "remoteJid")
_NOT_MENTIONS = '"mentioned" must be an array of numeric strings'


class Send(Struct, frozen=True, kw_only=True):
    """A request that was found right. `number` is the recipient as it was written; `version` says how to answer.

    `is_everyone`: all members of the group are to be mentioned. An order whose `file` has neither URL nor data means
    the file of the form.
    """

    order: Order
    number: str
    version: Version
    is_everyone: bool = False


def send_text(values: Mapping[str, Any]) -> Send:
    """Raises Invalid."""
    fields = Fields(values)
    body, version = inner(fields, "textMessage")
    body.require("text")
    text = body.text("text", min_length=1, max_length=MAX_TEXT)
    preview = _options(fields).flag("linkPreview", True)
    return send_around(fields, version, content=Text(text=text, link_preview=preview))


def send_media(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """`has_file`: the form holds the file. Raises Invalid or Refused."""
    fields = Fields(values)
    body, version = inner(fields, "mediaMessage")
    body.require("mediatype", *(() if has_file else ("media",)))
    kind = body.text("mediatype", allowed=MEDIA_TYPES)
    body.text("mimetype", max_length=255)  # what a file is, its bytes say
    name = body.optional("fileName", max_length=255)
    caption = body.optional("caption", max_length=MAX_CAPTION)
    media = None if has_file else body.raw("media")
    if kind == "document" and isinstance(media, str) and name is None:
        if not _is_url(media):
            raise Refused(errors.NO_FILE_NAME)
        name = unquote(urlsplit(media).path.rpartition("/")[2])[-255:] or None
    return send_around(
        fields,
        version,
        file=named_file(
            fields,
            "video" if kind == "ptv" else cast(FileKind, kind),
            media,
            has_file=has_file,
            name=name or DEFAULT_NAMES.get(kind),
            caption=caption if kind not in ("audio", "ptv") else None,
            note=kind == "ptv",
        ),
    )


def send_audio(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """A voice note. Raises Invalid or Refused."""
    return _send_file(values, "audioMessage", ("audio",), "audio", has_file=has_file, voice=True)


def send_video_note(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """Raises Invalid or Refused."""
    return _send_file(values, "ptvMessage", ("video",), "video", has_file=has_file, note=True)


def send_sticker(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """Raises Invalid or Refused."""
    return _send_file(values, "stickerMessage", ("image", "sticker"), "sticker", has_file=has_file)


def send_location(values: Mapping[str, Any]) -> Send:
    """Raises Invalid."""
    fields = Fields(values)
    body, version = inner(fields, "locationMessage")
    body.require("latitude", "longitude")
    content = Location(
        latitude=body.number("latitude", least=-90, most=90),
        longitude=body.number("longitude", least=-180, most=180),
        name=body.optional("name", max_length=255),
        address=body.optional("address", max_length=1024),
    )
    return send_around(fields, version, content=content)


def send_contact(values: Mapping[str, Any]) -> Send:
    """Raises Invalid."""
    fields = Fields(values)
    version: Version = "v1" if fields.has("contactMessage") or fields.has("options") else "v2"
    name = "contactMessage" if version == "v1" else "contact"
    fields.require(name)
    cards = tuple(_card(one) for one in fields.parts(name, least=1, most=20))
    return send_around(fields, version, content=Contact(contacts=cards or (ContactCard(name="-"),)))


def send_reaction(values: Mapping[str, Any]) -> Send:
    """The chat is that of the message. Raises Invalid."""
    fields = Fields(values)
    body, version = inner(fields, "reactionMessage")
    body.require("key", "reaction")
    emoji = body.text("reaction", max_length=32)
    target = message_key(body.part("key"))
    return send_around(fields, version, to=target.chat, content=Reaction(target=target, emoji=emoji))


def send_poll(values: Mapping[str, Any]) -> Send:
    """Raises Invalid."""
    fields = Fields(values)
    body, version = inner(fields, "pollMessage")
    body.require("name", "selectableCount", "values")
    question = body.text("name", "?", min_length=1, max_length=255)
    options = body.texts("values", least=2, most=10, max_length=100)
    if len(set(options)) < len(options):
        body.find("values", "contains duplicate item")
    selectable = body.whole("selectableCount", most=10)
    if options and selectable > len(options):
        body.find("selectableCount", f"must be less than or equal to {len(options)}")
    return send_around(fields, version, content=Poll(question=question, options=options, selectable=selectable))


def message_key(key: Fields) -> MessageKey:
    """`{"remoteJid", "fromMe", "id", "participant"?}`; what is wrong is noted in `key`."""
    key.require(*_KEY)
    return MessageKey(
        chat=recipient(key.text("remoteJid", min_length=1, max_length=64)),
        whatsapp_id=key.text("id", min_length=1, max_length=128),
        from_me=key.flag("fromMe"),
        participant=key.optional("participant", max_length=64),
    )


def number_of(fields: Fields, name: str = "number") -> str:
    """The field as it was written."""
    fields.require(name)
    number = fields.text(name, max_length=64, says="Invalid format").strip()
    if fields.has(name) and isinstance(fields.raw(name), str) and not _NUMBER.fullmatch(number):
        fields.findings.append("Invalid format")
    return number


def send_around(
    fields: Fields, version: Version, *, content: Content | None = None, file: File | None = None, to: str | None = None
) -> Send:
    """The request around a content or a file. Raises Invalid for anything that was found wrong in it."""
    number = number_of(fields) if to is None else to
    options = _options(fields)
    mentions = options.part("mentions") if version == "v1" else options
    everyone = mentions.flag("everyOne") or mentions.flag("mentionsEveryOne")
    order = Order(
        to=recipient(number),
        content=content,
        file=file,
        quote=_quote(options) if options.has("quoted") else None,
        mentions=tuple(recipient(one) for one in mentions.texts("mentioned", max_length=64, says=_NOT_MENTIONS)),
        typing_ms=min(options.whole("delay"), MAX_DELAY_MS),
    )
    options.text("presence", allowed=("unavailable", "available", "composing", "recording", "paused"))
    fields.check()
    return Send(order=order, number=number, version=version, is_everyone=everyone)


def inner(fields: Fields, name: str) -> tuple[Fields, Version]:
    """Where the message itself stands: in a part of v1's body, or at the top of v2's."""
    if fields.has(name):
        return fields.part(name), "v1"
    if fields.has("options"):
        fields.require(name)
        return fields.part(name), "v1"
    return fields, "v2"


def _options(fields: Fields) -> Fields:
    return fields.part("options") if fields.has("options") else fields


def _quote(options: Fields) -> Quote:
    quoted = options.part("quoted")
    quoted.require("key")
    key = quoted.part("key")
    key.require("id")
    message = quoted.part("message")
    text = message.optional("conversation", max_length=MAX_TEXT)
    if text is None and message.has("extendedTextMessage"):
        text = message.part("extendedTextMessage").optional("text", max_length=MAX_TEXT)
    return Quote(
        key=MessageKey(
            chat=key.text("remoteJid", max_length=64),
            whatsapp_id=key.text("id", min_length=1, max_length=128),
            from_me=key.flag("fromMe"),
            participant=key.optional("participant", max_length=64),
        ),
        text=text and text[:MAX_CAPTION],
    )


def _send_file(
    values: Mapping[str, Any],
    name: str,
    within: tuple[str, ...],
    kind: FileKind,
    *,
    has_file: bool,
    voice: bool = False,
    note: bool = False,
) -> Send:
    fields = Fields(values)
    body, version = inner(fields, name)
    where = next((one for one in within if body.has(one)), within[0 if version == "v1" else -1])
    if not has_file:
        body.require(where)
    return send_around(
        fields, version, file=named_file(fields, kind, body.raw(where), has_file=has_file, voice=voice, note=note)
    )


def named_file(
    fields: Fields,
    kind: FileKind,
    media: Any,
    *,
    has_file: bool,
    name: str | None = None,
    caption: str | None = None,
    voice: bool = False,
    note: bool = False,
) -> File | None:
    """The file that is meant. None where something before it was wrong already. Raises Refused for neither URL nor
    base64."""
    if has_file:
        return File(kind=kind, file_name=name, caption=caption, voice=voice, note=note)
    if fields.findings:
        return None
    if not isinstance(media, str):
        raise Refused(errors.NOT_MEDIA)
    if _is_url(media):
        if len(media) > 2048 or not media.isprintable():
            raise Refused(errors.NOT_MEDIA)
        return File(kind=kind, url=media, file_name=name, caption=caption, voice=voice, note=note)
    return File(kind=kind, data=_decoded(media), file_name=name, caption=caption, voice=voice, note=note)


def _is_url(media: str) -> bool:
    return media.startswith(("http://", "https://"))


def _decoded(media: str) -> bytes:
    """Base64, bare or as a data URL. Raises Refused."""
    found = _DATA_URL.match(media)
    try:
        data = base64.b64decode("".join(media[found.end() if found else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(errors.NOT_MEDIA) from None
    if not data:
        raise Refused(errors.NOT_MEDIA)
    return data


def _card(person: Fields) -> ContactCard:
    person.require("fullName")
    phone = person.text("wuid", max_length=64) or person.text("phoneNumber", max_length=64)
    digits = re.sub(r"[^0-9]", "", phone.partition("@")[0])
    if not 5 <= len(digits) <= 15:
        person.find("phoneNumber", "is not a phone number")
    return ContactCard(
        name=person.text("fullName", min_length=1, max_length=255),
        phones=(digits,),
        organization=person.optional("organization", max_length=255),
        email=person.optional("email", max_length=255),
        url=person.optional("url", max_length=2048),
    )
