"""What a device's engine reports, told to the stream: one after the other, in the order of what happened.

Guarantees: a report is entered before the engine's call returns, held in memory until the stream has it, and overtaken
by none. A report that cannot be told is logged and silences no other. Past WAITING_LIMIT the session is to stop
listening; past DROP_LIMIT what is reported is lost, counted and logged. Presence is let go much earlier, and counted.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import structlog

from kurir.contracts.content import STATUS, PollVote
from kurir.contracts.events import CallUpdated, ConnectionUpdate, Event, MessageUpserted
from kurir.runtime.broker import PublishRefused
from kurir.session_node.engines.engine import CaughtUp, ReceiptSeen, Received
from kurir.session_node.engines.observations import PresenceSeen, Seen
from kurir.session_node.event_log import EventLog
from kurir.session_node.inbound import media_failed_event, message_event, receipt_event
from kurir.session_node.inbound_media import keep_media
from kurir.session_node.look_back import statuses_of_last_day
from kurir.session_node.observed import observed_event
from kurir.session_node.overdue import Overdue, undelivered
from kurir.session_node.polls import Polls
from kurir.session_node.receipts import SentMessages
from kurir.session_node.shared import Shared
from kurir.session_node.tasks import ended

log = structlog.get_logger(__name__)

WAITING_LIMIT = 5_000  # reports, about 1 kB each; at 1,000 messages/s of one device five seconds without the stream
DROP_LIMIT = 2 * WAITING_LIMIT  # what an engine that is being closed may still bring
BATCH = 256
PERISHABLE_LIMIT = BATCH  # more than one batch behind, who types now is old news and only holds up what is not
SEND_WAIT_S = 5.0  # engines tell of a receipt after its send has returned; then its outcome is stored in milliseconds


class _Look:
    """Time to see which messages have got no receipt."""


Report = ConnectionUpdate | Received | ReceiptSeen | CaughtUp | Seen | _Look


class Reports:
    """The reports of one device. `no_send` is set while no send is under way; `when_stored` is called each time that
    all that was reported is stored, `when_received` for each message that is. Messages and receipts are told however
    late, how the connection is only by the device's owner (`is_owner`).
    """

    def __init__(
        self,
        tenant: str,
        device: str,
        shared: Shared,
        event_log: EventLog,
        sent: SentMessages,
        overdue: Overdue,
        polls: Polls,
        no_send: asyncio.Event,
        when_stored: Callable[[], None],
        is_owner: Callable[[], bool],
        when_received: Callable[[MessageUpserted], None],
        when_called: Callable[[CallUpdated], None],
    ) -> None:
        self._tenant = tenant
        self._device = device
        self._shared = shared
        self._log = event_log
        self._sent = sent
        self._overdue = overdue
        self._polls = polls
        self._no_send = no_send
        self._when_stored = when_stored
        self._is_owner = is_owner
        self._when_received = when_received
        self._when_called = when_called
        self._waiting: deque[Report] = deque()
        self._pumping: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many reports are not stored yet and not being stored."""
        return len(self._waiting)

    def take(self, report: Received | ReceiptSeen | CaughtUp | Seen) -> None:
        """Have it told after all that was taken before; returns at once."""
        if isinstance(report, PresenceSeen) and len(self._waiting) >= PERISHABLE_LIMIT:
            self._shared.meters.presence_dropped.add()
            return
        if len(self._waiting) >= DROP_LIMIT:
            self._shared.meters.observations_dropped.add()
            log.error("session.observation_dropped", device=self._device, waiting=len(self._waiting))
            return
        self._enter(report)

    def tell(self, fact: ConnectionUpdate) -> None:
        """Have our own word told after all that was taken before; returns at once."""
        self._enter(fact)

    def look(self) -> None:
        """Have overdue messages told after all that was taken before; returns at once."""
        self._enter(_Look())

    async def stored(self) -> None:
        """Wait until all is stored, or the wait is cancelled: then what is left is lost."""
        await ended(self._pumping)

    def _enter(self, report: Report) -> None:
        self._waiting.append(report)
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                ready: list[Event] = []
                for report in batch:
                    if isinstance(report, _Look) or (isinstance(report, Received) and report.attachment is not None):
                        # A download must not hold what came before it; a look wants to find it stored.
                        await self._append(ready)
                        ready = []
                    try:
                        ready += await self._events_of(report)
                    except Exception:  # one that we cannot tell must not silence the others
                        log.exception("session.observation_not_told", device=self._device)
                await self._append(ready)
        finally:
            self._pumping = None
        self._when_stored()

    async def _append(self, facts: list[Event]) -> None:
        if not facts:
            return
        try:
            await self._log.append(*facts, is_stale=self._is_stale)
        except PublishRefused as error:
            log.error("session.event_refused", device=self._device, ids=[fact.id for fact in facts], error=str(error))
            return
        for fact in facts:
            if isinstance(fact, MessageUpserted):
                self._when_received(fact)
            elif isinstance(fact, CallUpdated):
                self._when_called(fact)

    async def _events_of(self, report: Report) -> list[Event]:
        if isinstance(report, _Look):
            return await self._overdue.facts()
        if isinstance(report, CaughtUp):
            self._overdue.caught_up()
            return []
        if isinstance(report, ConnectionUpdate):
            if report.state == "connected":
                self._overdue.connected()
            else:
                self._overdue.disconnected()
            return [report]
        if isinstance(report, ReceiptSeen):
            return await self._receipts(report)
        if not isinstance(report, Received):
            return [observed_event(self._tenant, self._device, report)]
        content, missing = await keep_media(
            self._shared.media, self._tenant, report, self._shared.inbound_media_max_bytes
        )
        self._polls.remember(report.whatsapp_id, content)
        if isinstance(content, PollVote):
            content = await self._named(content)
        told = message_event(self._tenant, self._device, report, content)
        if missing is None:
            return [told]
        log.warning("inbound.media_missing", device=self._device, message_id=told.message_id, **missing._asdict())
        return [told, media_failed_event(told, missing)]

    async def _named(self, vote: PollVote) -> PollVote:
        if self._polls.find(vote.target.whatsapp_id) is None and self._polls.should_look_back(time.monotonic()):
            await self._look_back()
        return self._polls.named(vote)

    def _is_stale(self, fact: Event) -> bool:
        """Whether it says how the connection is, of a device that is no longer ours: its new owner tells that."""
        return isinstance(fact, ConnectionUpdate) and not self._is_owner()

    async def _receipts(self, seen: ReceiptSeen) -> list[Event]:
        found: list[Event] = []
        for whatsapp_id in seen.whatsapp_ids:
            message = self._sent.find(whatsapp_id)
            if message is None and not self._no_send.is_set():
                # It may be of the message whose send has not returned yet.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SEND_WAIT_S):
                        await self._no_send.wait()
                message = self._sent.find(whatsapp_id)
            if message is None and self._sent.should_look_back(time.monotonic()):
                await self._look_back()
                message = self._sent.find(whatsapp_id)
            if message is None:
                self._shared.meters.unmatched_receipts.add()
            elif seen.status != "unreadable":
                self._sent.received(whatsapp_id)
                self._overdue.received(message.message_id)
                found.append(receipt_event(self._tenant, self._device, seen, seen.status, whatsapp_id, message))
            elif not message.has_receipt and not message.to.endswith(("@g.us", STATUS)):
                # Of several devices one that cannot read it is no news, nor is one of many members or viewers.
                self._overdue.received(message.message_id)
                found.append(
                    undelivered(self._tenant, self._device, whatsapp_id, message, "unreadable", recipient=seen.sender)
                )
        return found

    async def _look_back(self) -> None:
        """Learn from the stream what was sent before us."""
        for whatsapp_id, fact in await statuses_of_last_day(self._shared.bus, self._tenant, self._device):
            self._polls.remember(whatsapp_id, fact.content)
            if fact.status == "sent":
                self._sent.remember(whatsapp_id, fact.message_id, fact.to)
            else:
                self._sent.received(whatsapp_id)
