"""`POST /message/…`: from v1's nested bodies and v2's flat ones, on the same paths, to orders. Pure.

v1 says `{"number", "options": {…}, "textMessage": {"text"}}`, v2 `{"number", "text", "delay", …}`; which of them it is,
the body's own keys say. What is unknown is ignored, as the original does.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

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
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.orders import File, Order

Version = Literal["v1", "v2"]

MAX_TEXT: Final = 65_536
MAX_CAPTION: Final = 4096
MAX_DELAY_MS: Final = 20_000  # longer ones are typed for as long as WhatsApp shows it

_NUMBER = re.compile(r"[+(]?[0-9][0-9@.+()\s\w-]*")
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
