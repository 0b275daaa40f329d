"""The Engine protocol: what a session needs of whatever speaks WhatsApp.

A small required core and optional capabilities; those that are calls of their own are protocols in `requests`.
Engines are independent of each other; `tests/contract/engine` runs the same behaviours over all of them.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from kurir.contracts.content import Address, Content, Media, Quote
from kurir.contracts.states import ConnectionState, Reason
from kurir.session_node.engines.observations import Seen, StatusPosted

Capability = Literal[
    "pair_qr",
    "pair_code",
    "scan",
    "send.text",
    "send.image",
    "send.video",
    "send.audio",
    "send.document",
    "send.sticker",
    "send.location",
    "send.contact",
    "send.poll",
    "send.list",
    "send.reaction",
    "send.edit",
    "send.revoke",
    "send.quote",
    "send.mentions",
    "send.status",
    "presence",
    "mark_read",
    "check_numbers",
    "profile_picture",
    "contacts",
    "groups",
    "profile",
    "profile.remove_picture",
    "privacy",
    "blocking",
    "reject_calls",
    "archive",
    "labels",
]


class SessionSpec(Struct, frozen=True, kw_only=True):
    """Which account to speak for. With `jid` the device is paired and logs in from the engine's store; without it
    pairing begins, by phone code when `pair_phone` (digits with country code) is given, else by QR. `name` is what the
    phone shows among its linked devices from the pairing on. `proxy` is the device's own, as a URL with credentials.
    """

    tenant: str
    device: str
    name: str
    jid: str | None = None
    pair_phone: str | None = None
    proxy: str | None = None


class StateChanged(Struct, frozen=True, kw_only=True):
    """The connection changed. `state` connected carries who it is; qr and pairing_code carry what to show.

    A state of logged_out, banned, replaced, outdated or passkey_required ends the session: the engine does not retry
    by itself. `code` is WhatsApp's own number for the reason, where it gave one.
    """

    state: ConnectionState
    reason: Reason | None = None
    detail: str | None = None
    code: int | None = None
    qr: str | None = None
    qr_expires_at: datetime | None = None
    pairing_code: str | None = None
    jid: str | None = None
    lid: str | None = None
    phone: str | None = None
    push_name: str | None = None
    banned_until: datetime | None = None


class Attachment(Protocol):
    """Media of a received message, not fetched yet. `size` in bytes as the sender says it, None when unknown."""

    mimetype: str
    size: int | None
    file_name: str | None

    def chunks(self) -> AsyncIterator[bytes]:
        """Fetch and decrypt. Raises MediaFailed."""
        ...


class Received(Struct, frozen=True, kw_only=True):
    """A message arrived. A content with media has an empty `Media.object`; `attachment` yields the bytes."""

    whatsapp_id: str
    chat: Address
    sender: Address
    content: Content
    sent_at: datetime
    from_me: bool = False
    is_group: bool = False
    push_name: str | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    attachment: Attachment | None = None


class ReceiptSeen(Struct, frozen=True, kw_only=True):
    """Messages that we sent were delivered, read or played by `sender` (in groups one of many).

    `unreadable`: a device of theirs could not decrypt it and asked for it again, and the engine cannot send it again.
    """

    whatsapp_ids: tuple[str, ...]
    status: Literal["delivered", "read", "played", "unreadable"]
    chat: Address
    sender: Address
    at: datetime


class CaughtUp(Struct, frozen=True, kw_only=True):
    """All that waited at WhatsApp while the device was away has been reported, receipts too."""


Observation = StateChanged | Received | ReceiptSeen | CaughtUp | StatusPosted | Seen

Report = Callable[[Observation], None]
"""Called on the event loop, in the order of what happened; must not block and must not raise."""


class Outgoing(Protocol):
    """Media of a message to send."""

    media: Media

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the media store. Raises MediaFailed when they are gone or cannot be read now."""
        ...


class SendOrder(Struct, frozen=True, kw_only=True):
    """One message to send; `to` is a JID. `thumbnail` is a small JPEG for the preview of a text's link.

    With `audience` nobody else may see a status; an engine that cannot see to that refuses it.
    """

    message_id: str
    to: str
    content: Content
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    media: Outgoing | None = None
    typing_ms: int = 0
    thumbnail: bytes | None = None
    audience: tuple[str, ...] = ()


class Sent(Struct, frozen=True, kw_only=True):
    """WhatsApp's server took the message: sent, not delivered. `sent_at` is the server's time."""

    whatsapp_id: str
    sent_at: datetime
    chat: Address


class SendFailed(Exception):
    """The message was certainly not sent. `retry_after_s` is set when the same order may succeed later."""

    def __init__(self, reason: Reason, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class OutcomeUnknown(Exception):
    """The message may or may not have been sent: never retry blindly."""

    def __init__(self, detail: str = "", reason: Reason = "send_timeout") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class NotConnected(Exception):
    """The session has no connection at the moment; nothing was sent. The command waits."""


class MediaFailed(Exception):
    """Media could not be read; `reason` says why. `retry_after_s` is set when it may be read later."""

    def __init__(self, reason: Reason, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class EngineSession(Protocol):
    """One device's connection. All methods are bounded in time by the engine itself."""

    async def send(self, order: SendOrder) -> Sent:
        """Send and wait for the server's ack. Raises SendFailed, OutcomeUnknown or NotConnected."""
        ...

    async def logout(self) -> None:
        """Unlink the device at WhatsApp and forget its keys. Raises NotConnected when that cannot be said now."""
        ...

    async def close(self) -> None:
        """Close the connection and keep the pairing. After it returns nothing is reported any more. Idempotent."""
        ...


class Engine(Protocol):
    """Opens sessions. One per shard process."""

    name: str
    capabilities: frozenset[Capability]

    async def start(self) -> None: ...

    async def open(self, spec: SessionSpec, report: Report) -> EngineSession:
        """Begin to connect or to pair and return at once; what comes of it is reported."""
        ...

    async def forget(self, spec: SessionSpec) -> None:
        """Remove the device's key material. Idempotent."""
        ...

    async def stop(self) -> None:
        """Close what is still open and free everything."""
        ...


@runtime_checkable
class AnswersPings(Protocol):
    """A session that can be asked whether it is still there."""

    async def ping(self) -> None:
        """Ask WhatsApp what changes nothing, and return when it has answered.

        Raises NotConnected, or RequestFailed when the answer does not come.
        """
        ...


@runtime_checkable
class Scans(Protocol):
    """Capability `scan`: a session that can confirm its own pairing, because there is no phone."""

    async def scan(self, phone: str | None) -> str:
        """Scan the QR code that is shown; returns the JID that was paired. Raises NotPairing."""
        ...


class NotPairing(Exception):
    """There is no QR code to scan at the moment."""
