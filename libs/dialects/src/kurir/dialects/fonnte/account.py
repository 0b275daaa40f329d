"""What clients send to the paths of Fonnte's account, beside `/send`. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from kurir.dialects.fonnte.errors import Refused, invalid
from kurir.dialects.fonnte.fields import flag, text

_NUMBER = re.compile(r"\+?[0-9]{8,15}")
_OTP = re.compile(r"[0-9]{6}")

WebhookKind = Literal["incoming", "device", "status"]

WEBHOOKS: Final[dict[str, tuple[WebhookKind, str]]] = {
    "webhook": ("incoming", "messages.upsert"),
    "webhookconnect": ("device", "connection.update"),
    "webhookstatus": ("status", "send.message.status"),
}
"""The fields that hold a URL, what it is told, and the event type that this is made of."""

NOT_KEPT: Final = (
    "quick",
    "resend",
    "target",
    "countryCode",
    "webhookchaining",
)
"""Settings of a device that have no counterpart here."""

_SAYS_NOTHING: Final = frozenset({"", "0", "false", "off", "none", "null"})


class NewDevice(Struct, frozen=True):
    """`number` is what the client calls the device; it is not necessarily the one that it is paired with."""

    name: str
    number: str
    is_autoread: bool
    not_kept: tuple[str, ...]


class DeviceChange(Struct, frozen=True):
    """What is None stays. `webhooks` are URLs by the event type that they are told, "" for none any more."""

    name: str | None
    number: str | None
    is_autoread: bool | None
    webhooks: dict[str, str]
    not_kept: tuple[str, ...]


def new_device(fields: Mapping[str, Any]) -> NewDevice:
    """Raises Refused."""
    name, number = _name(fields), _number(fields)
    if name is None:
        raise invalid("name", "2 to 30 characters are needed.")
    if number is None:
        raise invalid("device", "8 to 15 digits are needed.")
    is_autoread = flag(fields, "autoread", False)
    return NewDevice(name, number, is_autoread, _not_kept(fields, is_autoread))


def device_change(fields: Mapping[str, Any]) -> DeviceChange:
    """Raises Refused."""
    webhooks = {}
    for field, (_, type_) in WEBHOOKS.items():
        if field in fields:
            webhooks[type_] = text(fields, field, 2048) or ""
    is_autoread = flag(fields, "autoread", False) if fields.get("autoread") not in (None, "") else None
    return DeviceChange(_name(fields), _number(fields), is_autoread, webhooks, _not_kept(fields, is_autoread))


def is_code_wanted(fields: Mapping[str, Any]) -> bool:
    """Whether `/qr` is to answer with a code to type on the phone. Raises Refused."""
    kind = (text(fields, "type") or "qr").lower()
    if kind not in ("qr", "code"):
        raise invalid("type", "qr or code.")
    return kind == "code"


def otp_of(fields: Mapping[str, Any]) -> str | None:
    """The code that was given; None when one is asked for. Raises Refused."""
    given = text(fields, "otp")
    if given is not None and not _OTP.fullmatch(given):
        raise Refused(400, "incorrect OTP")
    return given


def message_of(fields: Mapping[str, Any]) -> str:
    """A message's number, or its id. Raises Refused."""
    given = text(fields, "id", 64)
    if given is None:
        raise Refused(400, "id required")
    return given


def is_by_schedule(fields: Mapping[str, Any]) -> bool:
    """Raises Refused."""
    return flag(fields, "byschedule", False)


def _name(fields: Mapping[str, Any]) -> str | None:
    name = text(fields, "name")
    if name is not None and not 2 <= len(name) <= 30:
        raise invalid("name", "2 to 30 characters are needed.")
    return name


def _number(fields: Mapping[str, Any]) -> str | None:
    number = text(fields, "device")
    if number is not None and not _NUMBER.fullmatch(number):
        raise invalid("device", "8 to 15 digits are needed.")
    return number


def _not_kept(fields: Mapping[str, Any], is_autoread: bool | None) -> tuple[str, ...]:
    """The settings in `fields` that ask for something, and have no effect. A device reads all chats, or none."""
    of_chats = [name for name in ("personal", "group") if _differs(fields, name, is_autoread)]
    others = [name for name in NOT_KEPT if str(fields.get(name) or "").strip().lower() not in _SAYS_NOTHING]
    return (*of_chats, *others)


def _differs(fields: Mapping[str, Any], name: str, is_autoread: bool | None) -> bool:
    return is_autoread is not None and flag(fields, name, is_autoread) != is_autoread
