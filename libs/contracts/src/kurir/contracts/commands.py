"""Orders to one device. Published by api and scheduler, and by the owner for what a device writes by itself; carried
out by the shard that owns the device.

Every command names its tenant and device although the subject does too: a command that is moved to a lane, kept
in DEAD or scheduled for later still says whose it is.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from kurir.contracts.content import Content, Quote

Priority = Literal["high", "normal", "bulk"]
OnUnknown = Literal["report", "resend"]
When = Annotated[datetime, Meta(tz=True)]

KINDS = ("send-high", "send", "send-bulk", "control")
"""Last token of a command's subject. Each has its own backlog limit per device."""

_KIND_OF_PRIORITY: dict[Priority, str] = {"high": "send-high", "normal": "send", "bulk": "send-bulk"}


class SendMessage(Struct, frozen=True, kw_only=True, tag_field="command", tag="send"):
    """Send one message. `id` is the message id: UUIDv7, the idempotency key of everything that follows.

    `to` is a JID (`628…@s.whatsapp.net`, `…@g.us`, `…@lid`), or content.STATUS; `audience` are the JIDs of those who
    may see a status, () leaves it to the account's settings. After `expires_at` it is reported `expired` instead of
    sent. `reply_to` is a core subject on which a waiting caller hears the outcome. `metadata` is the
    caller's own; nobody is sent it.
    """

    id: str
    tenant: str
    device: str
    to: str
    content: Content
    accepted_at: When
    priority: Priority = "normal"
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    expires_at: When | None = None
    on_unknown: OnUnknown = "report"
    typing_ms: int = 0
    reply_to: str | None = None
    metadata: dict[str, Any] | None = None
    audience: tuple[str, ...] = ()


class Logout(Struct, frozen=True, kw_only=True, tag_field="command", tag="logout"):
    """Unlink the device from its WhatsApp account."""

    id: str
    tenant: str
    device: str
    accepted_at: When


Command = SendMessage | Logout

_decoder = msgspec.json.Decoder(Command)


def decode(data: bytes) -> Command:
    """Decode a command. Raises msgspec.ValidationError for one of an unknown kind or shape."""
    command: Command = _decoder.decode(data)
    return command


def kind_of(command: Command) -> str:
    """Last token of the command's subject."""
    return _KIND_OF_PRIORITY[command.priority] if isinstance(command, SendMessage) else "control"
