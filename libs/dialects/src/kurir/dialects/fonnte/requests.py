"""What clients send to `/send`, and the messages that it becomes. Pure.

A value may come as JSON or as the text of a form, and numbers as either. What is unknown is ignored, as the original
does; so are its buttons, templates and lists, which WhatsApp does not show any more: the message goes as text.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from kurir.contracts.content import Content, Location, Poll, Text
from kurir.dialects.fonnte.errors import WRONG_MEDIA_TYPE, Refused, invalid
from kurir.dialects.fonnte.fields import MAX_TARGETS, country_code_of, flag, number, text, too_many, whole
from kurir.dialects.orders import File, FileKind, Order

MAX_TEXT: Final = 60_000
MAX_CAPTION: Final = 4096
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_TYPING_S: Final = 20
MAX_URLS: Final = 20  # of files in one request
MAX_DELAY_S: Final = 24 * 3600
FARTHEST: Final = timedelta(days=365)
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # a time that is past by less means now

_RANGE = re.compile(r"([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?")
_VARIABLE = re.compile(r"\{(name|var[1-9][0-9]?)\}")


class Target(Struct, frozen=True):
    """One recipient and what is written to it. `to` is a number as the client wrote it, a JID, or ROTATOR and the name
    of several numbers, of which one is to be chosen."""

    to: str
    message: str | None


class Send(Struct, frozen=True, kw_only=True):
    """A request that was found right: one message for each target.

    `content` is what is sent to all of them; None: text, or a file. The file is at `url`, or came in the form. With
    `is_refused_offline` nothing is accepted while the device is not connected; None leaves that open. `inbox_number`
    is the received message to quote. `starts_at` None means now; `delay_s` are the least and most seconds between one
    target and the next.
    """

    targets: tuple[Target, ...]
    content: Content | None = None
    url: str | None = None
    has_file: bool = False
    file_name: str | None = None
    is_refused_offline: bool | None = None
    inbox_number: int | None = None
    starts_at: datetime | None = None
    delay_s: tuple[int, int] = (0, 0)
    typing_ms: int = 0
    link_preview: bool = True

    def orders(self, now: datetime, chance: Random, kind: FileKind | None = None) -> tuple[Order, ...]:
        """One order for each target, in their order; `kind` is what the file turned out to be."""
        least, most = self.delay_s
        orders, waited = [], 0
        for target in self.targets:
            send_at = self.starts_at
            if waited:
                send_at = (self.starts_at or now) + timedelta(seconds=waited)
            orders.append(
                Order(
                    to=target.to,
                    content=self._content(target) if kind is None else None,
                    file=File(kind=kind, file_name=self.file_name, caption=_caption(kind, target)) if kind else None,
                    send_at=send_at,
                    typing_ms=self.typing_ms,
                )
            )
            waited += chance.randint(least, most)
        return tuple(orders)

    def _content(self, target: Target) -> Content:
        if self.content is not None:
            return self.content
        return Text(text=target.message or "", link_preview=self.link_preview)


def sends_of(fields: Mapping[str, Any], *, now: datetime, has_file: bool = False) -> tuple[Send, ...]:
    """The requests in one: several when `data` holds a list of them, else one. Raises Refused.

    What stands beside `data` counts for those of its requests that do not say otherwise.
    """
    data = fields.get("data")
    if data in (None, ""):
        return (_send(fields, now, has_file=has_file),)
    if isinstance(data, str):
        try:
            data = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            raise Refused(400, "JSON format invalid", "data: this is no JSON.") from None
    if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
        raise Refused(400, "JSON format invalid", "data: give a list of requests.")
    if has_file:
        raise invalid("file", "a file cannot be combined with data.")
    common = {name: value for name, value in fields.items() if name not in ("data", "target", "to")}
    sends = tuple(_send({**common, **one}, now, has_file=False) for one in data)
    if sum(len(send.targets) for send in sends) > MAX_TARGETS:
        raise too_many()
    if len({send.url for send in sends}) > MAX_URLS:
        raise invalid("url", f"at most {MAX_URLS} files in one request.")
    return sends


def to_and_message(fields: Mapping[str, Any]) -> Order:
    """What `POST /api/send-message` asks for. Raises Refused."""
    to, message = _dashboard_text(fields, "to"), _dashboard_text(fields, "message")
    if to is None or message is None:
        raise Refused(400, "Missing required fields: to, message")
    return Order(to=to, content=Text(text=message))


_MEDIA_TYPES: Final[dict[str, FileKind]] = {"image": "image", "video": "video", "document": "document"}


def to_and_media(fields: Mapping[str, Any]) -> tuple[Order, FileKind]:
    """What `POST /api/send-media` asks for, and the kind of the file. Raises Refused."""
    to, url = _dashboard_text(fields, "to"), _dashboard_text(fields, "url")
    if to is None or url is None:
        raise Refused(400, "Missing required fields: to, url")
    given = fields.get("type")
    kind = "image" if given in (None, "") else _MEDIA_TYPES.get(given) if isinstance(given, str) else None
    if kind is None:
        raise Refused(400, WRONG_MEDIA_TYPE)
    return Order(to=to, file=File(kind=kind, url=url, caption=_dashboard_text(fields, "caption"))), kind


def delay_of(fields: Mapping[str, Any]) -> tuple[int, int]:
    """Seconds: `"2"`, or a range to choose from, `"5-10"`. Raises Refused."""
    given = text(fields, "delay")
    if given is None:
        return (0, 0)
    found = _RANGE.fullmatch(given)
    if found is None:
        raise invalid("delay", "give seconds, e.g. 2, or a range such as 5-10.")
    ends = int(found[1]), int(found[2] or found[1])
    if max(ends) > MAX_DELAY_S:
        raise invalid("delay", f"at most {MAX_DELAY_S} seconds.")
    return min(ends), max(ends)


def schedule_of(fields: Mapping[str, Any], now: datetime) -> datetime | None:
    """The time in `schedule` (Unix seconds; 0 is now), plus `followup` seconds; None is now. Raises Refused."""
    seconds = whole(fields, "schedule", 0, 2**40)
    after = whole(fields, "followup", 0, int(FARTHEST.total_seconds())) or 0
    if not seconds:
        return now + timedelta(seconds=after) if after else None
    if not -CLOCKS_DIFFER.total_seconds() < seconds - now.timestamp() <= FARTHEST.total_seconds():
        raise invalid("schedule", "this time (Unix seconds) is past, or more than a year away.")
    at = datetime.fromtimestamp(seconds, UTC) + timedelta(seconds=after)
    return at if at > now else None


def _send(fields: Mapping[str, Any], now: datetime, *, has_file: bool) -> Send:
    message = text(fields, "message", MAX_TEXT)
    url = text(fields, "url", 2048)
    content = _location(fields) or _poll(fields, message)
    if content is None and url is None and not has_file and message is None:
        raise invalid("message", "a message is needed.")
    if (url is not None or has_file) and len(message or "") > MAX_CAPTION:
        raise invalid("message", f"at most {MAX_CAPTION} characters with a file.")
    if url is not None and has_file:
        raise invalid("file", "give a file or a url, not both.")
    is_typing = flag(fields, "typing", False)
    duration = whole(fields, "duration", 0, 24 * 3600)
    flag(fields, "sequence", False)  # messages of a device are always sent in order
    return Send(
        targets=_targets(fields, message),
        content=None if url is not None or has_file else content,
        url=url,
        has_file=has_file,
        file_name=text(fields, "filename", 255),
        is_refused_offline=flag(fields, "connectOnly", True) if fields.get("connectOnly") not in (None, "") else None,
        inbox_number=whole(fields, "inboxid", 0, 2**53),
        starts_at=schedule_of(fields, now),
        delay_s=delay_of(fields),
        typing_ms=min(1 if duration is None else duration, MAX_TYPING_S) * 1000 if is_typing else 0,
        link_preview=flag(fields, "preview", True),
    )


def _targets(fields: Mapping[str, Any], message: str | None) -> tuple[Target, ...]:
    name = "to" if fields.get("target") in (None, "") else "target"
    code = country_code_of(fields)
    found = []
    for one in (text(fields, name) or "").split(","):
        to, *variables = (part.strip() for part in one.split("|"))
        if to:
            found.append(Target(number(to, code), _filled(message, variables)))
    if not found:
        raise Refused(400, "target invalid", "target: a number is needed.")
    if len(found) > MAX_TARGETS:
        raise too_many()
    return tuple(found)


def _filled(message: str | None, variables: list[str]) -> str | None:
    """The message with `{name}`, the first variable, and `{var1}`, `{var2}`, those after it; others stay."""
    if message is None or not variables:
        return message

    def value(found: re.Match[str]) -> str:
        index = 0 if found[1] == "name" else int(found[1][3:])
        return variables[index] if index < len(variables) else found[0]

    return _VARIABLE.sub(value, message)[:MAX_TEXT]


def _location(fields: Mapping[str, Any]) -> Location | None:
    given = text(fields, "location")
    if given is None:
        return None
    try:
        latitude, longitude = (float(part) for part in given.split(","))
    except ValueError:
        latitude = longitude = math.nan
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise invalid("location", "give latitude,longitude in degrees.")
    return Location(latitude=latitude, longitude=longitude, name=text(fields, "message", MAX_TEXT))


def _poll(fields: Mapping[str, Any], message: str | None) -> Poll | None:
    given = text(fields, "choices")
    if given is None:
        return None
    options = tuple(option for part in given.split(",") if (option := part.strip()))
    if not 2 <= len(options) <= 12 or len(set(options)) < len(options) or max(map(len, options)) > 100:
        raise invalid("choices", "give 2 to 12 different choices of up to 100 characters, with commas between them.")
    select = (text(fields, "select") or "single").lower()
    if select not in ("single", "multiple"):
        raise invalid("select", "single or multiple.")
    question = text(fields, "pollname") or message
    if question is None or len(question) > 255:
        raise invalid("pollname", "1 to 255 characters are needed.")
    return Poll(question=question, options=options, selectable=1 if select == "single" else 0)


def _caption(kind: FileKind, target: Target) -> str | None:
    return target.message if kind not in ("audio", "sticker") else None  # WhatsApp shows none there


def _dashboard_text(fields: Mapping[str, Any], name: str) -> str | None:
    try:
        return text(fields, name, MAX_TEXT if name == "message" else 4096)
    except Refused as refused:
        raise Refused(400, f"Invalid field {refused.detail}") from None
