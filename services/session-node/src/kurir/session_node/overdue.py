"""Which of a device's messages have got no receipt in time.

A message that is `sent` waits here for its first receipt; without one after the device's `undelivered_after_s` it is
reported `undelivered`, once. Nothing is judged before the device is connected and has what waited for it at WhatsApp.
Costs memory only, and nothing when it is off. What memory does not have, after a takeover or past AWAITED messages, is
read from the status events; those of a day before the time limit are looked at, older messages are not reported.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import structlog

from kurir.contracts import events, ids, subjects
from kurir.contracts.content import STATUS, Address
from kurir.contracts.events import Event, MessageStatusChanged
from kurir.contracts.states import Reason
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus, PublishError
from kurir.session_node.receipts import SentMessage, SentMessages

log = structlog.get_logger(__name__)

AWAITED = 5_000  # messages per device, about 400 bytes each
LOOK_BACK_S = 24 * 3600.0  # how long a device may have been away
PAGE = 500
PAGES_AT_ONCE = 20  # then the device's other reports have their turn
TOLD_AT_ONCE = 256
CATCH_UP_S = 60.0  # an engine that says nothing of what waited for it is believed to have it after this
LOOK_AGAIN_S = 1.0
LONGEST_SLEEP_S = 3600.0


class _Awaited(NamedTuple):
    """`sent_at` in seconds since the epoch."""

    whatsapp_id: str
    to: str
    sent_at: float


class Overdue:
    """Of one device at one owner. `look` is to have `facts` called, after all that was reported before."""

    def __init__(
        self,
        tenant: str,
        device: str,
        bus: Bus,
        sent: SentMessages,
        look: Callable[[], None],
        *,
        now: Callable[[], float] = time.time,
        limit: int = AWAITED,
    ) -> None:
        self._tenant = tenant
        self._device = device
        self._bus = bus
        self._sent = sent
        self._look = look
        self._now = now
        self._limit = limit
        self._after_s: int | None = None
        self._patience = 0  # how often that changed
        self._awaited: dict[str, _Awaited] = {}  # by message id, sent first comes first
        self._unread_since: float | None = None  # the stream may have messages from here on that memory has not
        self._next_seq: int | None = None  # of a look back that is under way
        self._reading_since = 0.0
        self._connected_at: float | None = None
        self._is_caught_up = False
        self._timer: asyncio.TimerHandle | None = None

    def be_patient(self, after_s: int | None) -> None:
        """Report after so many seconds from now on; None reports nothing."""
        if after_s == self._after_s:
            return
        self._after_s = after_s
        self._patience += 1
        self._awaited.clear()
        self._next_seq = None
        self._unread_since = None if after_s is None else self._now() - after_s - LOOK_BACK_S
        if self._is_ready():
            self._look()

    def sent(self, whatsapp_id: str, message_id: str, to: str) -> None:
        """The server took a message just now. Of a status nobody has to say that they have it."""
        if self._after_s is None or to == STATUS:
            return
        now = self._now()
        if len(self._awaited) >= self._limit:
            self._unread_since = now if self._unread_since is None else min(now, self._unread_since)
            return
        self._awaited[message_id] = _Awaited(whatsapp_id, to, now)
        if self._timer is None:
            self._wake_in(self._after_s)

    def received(self, message_id: str) -> None:
        """A device of a receiver has said something of this message."""
        self._awaited.pop(message_id, None)

    def connected(self) -> None:
        if self._connected_at is None:
            self._connected_at = self._now()
            if self._after_s is not None:
                self._wake_in(0.0 if self._is_caught_up else CATCH_UP_S)

    def caught_up(self) -> None:
        """All that waited at WhatsApp has been reported."""
        self._is_caught_up = True
        if self._after_s is not None:
            self._wake_in(0.0)

    def disconnected(self) -> None:
        self._connected_at, self._is_caught_up = None, False

    def stop(self) -> None:
        """Ask for no more looks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.disconnected()

    async def facts(self) -> list[Event]:
        """What is to be reported now. Call it when all receipts that came before are stored."""
        if self._after_s is None or not self._is_ready():
            return []
        has_room = len(self._awaited) <= self._limit // 2
        if self._next_seq is not None or (self._unread_since is not None and has_room):
            try:
                is_read = await self._look_back()
            except PublishError as error:
                log.warning("overdue.not_read", device=self._device, error=str(error))
                is_read = False
            if not is_read:
                self._wake_in(LOOK_AGAIN_S)
                return []
        told = self._due(self._after_s)
        if self._awaited:
            first = next(iter(self._awaited.values()))
            self._wake_in(first.sent_at + self._after_s - self._now())
        elif self._unread_since is not None:
            self._wake_in(LOOK_AGAIN_S)
        return told

    def _due(self, after_s: int) -> list[Event]:
        now, told = self._now(), list[Event]()
        while self._awaited and len(told) < TOLD_AT_ONCE:
            message_id, awaited = next(iter(self._awaited.items()))
            if awaited.sent_at + after_s > now:
                break
            del self._awaited[message_id]
            message = SentMessage(message_id, awaited.to)
            told.append(
                undelivered(
                    self._tenant, self._device, awaited.whatsapp_id, message, "no_receipt", f"none in {after_s} s"
                )
            )
        return told

    def _is_ready(self) -> bool:
        if self._connected_at is None:
            return False
        return self._is_caught_up or self._now() - self._connected_at >= CATCH_UP_S

    async def _look_back(self) -> bool:
        """Read on in the stream; True when all of it was read. Raises PublishError."""
        if self._next_seq is None and self._unread_since is not None:
            self._next_seq, self._reading_since, self._unread_since = 1, self._unread_since, None
        subject = subjects.event(self._tenant, self._device, "send.message.status")
        for _ in range(PAGES_AT_ONCE):
            seq, began = self._next_seq, self._patience
            since = self._reading_since if seq == 1 else None
            page = await self._bus.read_from(EVENTS.name, subject, seq or 1, PAGE, since=since)
            if began != self._patience:
                return False  # the tenant has just set another time
            for stored in page:
                self._learn(stored.data, stored.published_at)
            if len(page) < PAGE:
                self._next_seq = None
                self._awaited = dict(sorted(self._awaited.items(), key=lambda item: item[1].sent_at))
                return True
            self._next_seq = page[-1].seq + 1
        return False

    def _learn(self, data: bytes, stored_at: float) -> None:
        try:
            fact = events.decode("send.message.status", data)
        except msgspec.DecodeError:
            return
        if not isinstance(fact, MessageStatusChanged):
            return
        if fact.status != "sent" or fact.whatsapp_id is None:
            self._awaited.pop(fact.message_id, None)
        elif fact.to == STATUS:
            return
        elif len(self._awaited) >= self._limit:
            if self._unread_since is None:
                self._unread_since = stored_at
        else:
            self._awaited.setdefault(fact.message_id, _Awaited(fact.whatsapp_id, fact.to, stored_at))
            self._sent.remember(fact.whatsapp_id, fact.message_id, fact.to)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(min(max(seconds, 0.0), LONGEST_SLEEP_S), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._look()


def undelivered(
    tenant: str,
    device: str,
    whatsapp_id: str,
    message: SentMessage,
    reason: Reason,
    detail: str | None = None,
    recipient: Address | None = None,
) -> MessageStatusChanged:
    """The event of a message that WhatsApp took and that was not delivered as far as is known."""
    return MessageStatusChanged(
        id=ids.status_event_id(message.message_id, "undelivered"),
        tenant=tenant,
        device=device,
        at=datetime.now(UTC),
        message_id=message.message_id,
        status="undelivered",
        to=message.to,
        whatsapp_id=whatsapp_id,
        reason=reason,
        detail=detail,
        recipient=recipient,
    )
