"""Carrying out one device's commands, one after the other.

Order of a send: `sending` mark stored, engine called, outcome stored, command acknowledged (by the caller). The mark of
the next message, if it waits already, is stored in one go with the outcome of the one before it. A command that comes
again after a crash finds its mark: with an outcome it is done, without one the outcome is unknown and is reported so,
or sent once more if the tenant chose that. Guarantees: nothing is sent twice unless that was chosen, and every command
that is taken ends in a status. WhatsApp's ids cannot be chosen by us, so unknown cannot be asked away.
"""

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, cast

import msgspec
import structlog

from kurir.contracts import content as contents
from kurir.contracts import events, ids, subjects
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Text
from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.contracts.states import MessageStatus, Reason
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import BrokerUnavailable
from kurir.runtime.objects import ObjectNotFound, StoreUnavailable
from kurir.runtime.tracing import child_span, current_traceparent
from kurir.session_node.engines.engine import (
    Capability,
    MediaFailed,
    NotConnected,
    OutcomeUnknown,
    SendFailed,
    SendOrder,
)
from kurir.session_node.event_log import Appended, NotOwner
from kurir.session_node.link_preview import Found
from kurir.session_node.outbound_media import STORE_AWAY_S, StoredMedia
from kurir.session_node.recovery import Verdict, verdict
from kurir.session_node.session import DeviceSession
from kurir.session_node.shared import Shared

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 10  # of an engine that says "later"; longer than that is for the tenant to decide
PAGE = 500
MAX_PAGES = 100
LOOK_AGAIN_S = 0.5
LONG_WAIT_S = 5.0


class Hold(NamedTuple):
    """Not now: look at the command again after so many seconds, or earlier `until_change` of the device."""

    seconds: float
    why: str
    until_change: bool = False


class Done(NamedTuple):
    """The command's outcome is stored; it can be acknowledged."""


DONE = Done()


class Following(NamedTuple):
    """The command that is carried out next, as `carry_out` will get it."""

    command: SendMessage
    stored_at: float
    traceparent: str | None


class Outbound:
    """The sends of one device at one owner. For one caller at a time."""

    def __init__(self, session: DeviceSession, shared: Shared) -> None:
        self._session = session
        self._bus = shared.bus
        self._media = shared.media
        self._meters = shared.meters
        self._previews = shared.previews
        self._marks: dict[str, int] = {}  # message id -> stream sequence of its first mark, by former owners
        self._marks_known_since = math.inf  # of what was stored before, nothing is known yet
        self._held: dict[str, int] = {}  # message id -> next attempt, of commands that wait here: one in each queue
        self._ahead: dict[str, SendMessage] = {}  # marked, and not given to the engine yet: one in each queue
        self._following: Callable[[], Following | None] = _nothing

    async def carry_out(
        self,
        command: SendMessage,
        stored_at: float,
        traceparent: str | None,
        following: Callable[[], Following | None] | None = None,
    ) -> Done | Hold:
        """Send, or report why not, or say when to come again.

        `stored_at` is no later than when the command was first stored, in seconds since the epoch. `following` is asked
        for the command that comes next, if it is known by the time this one has been sent.
        """
        with child_span("session.send", traceparent):
            self._following = following or _nothing
            try:
                return await self._carry_out(command, stored_at)
            except NotOwner:
                return Hold(LOOK_AGAIN_S, "lease_lost")
            except BrokerUnavailable as error:
                log.warning("outbound.bus_away", device=command.device, message_id=command.id, error=str(error))
                return Hold(LOOK_AGAIN_S, "bus_away")

    async def refuse(self, command: SendMessage, reason: Reason, detail: str) -> Done:
        """Report that a command is not going to be sent, whatever waits before it."""
        return await self._report(command, "failed", 1, reason, detail)

    async def give_back(self) -> None:
        """Say of what was marked and will not be begun here that it was not sent: its next owner begins it."""
        ahead, self._ahead = self._ahead, {}
        for command in ahead.values():
            await self._report(command, "retrying", 1, "moved")

    async def _carry_out(self, command: SendMessage, stored_at: float) -> Done | Hold:
        attempt = self._held.pop(command.id, 0)
        if self._ahead.pop(command.id, None) is not None:
            if self._is_free_to_go(command):
                with self._session.sending():
                    return self._fate(command, await self._send(command, 1, None), 2)
            await self._report(command, "retrying", 1, "device_offline")
            attempt = 2
        if not attempt:
            attempt = 1
            mark_seq = await self._mark_of(command.id, stored_at)
            if mark_seq is not None:
                judged = await self._judge(command, mark_seq)
                if judged is None:
                    return DONE
                attempt = judged
        while True:
            stopped = await self._stopped_by(command, attempt)
            if stopped is not None:
                return self._fate(command, stopped, attempt)
            found = await self._preview(command)
            if _is_expired(command):
                return await self._report(command, "expired", attempt, "expired")
            with self._session.sending():
                marked_before = await self._mark(command, attempt)
                if marked_before is None:
                    return self._fate(command, await self._send(command, attempt, found), attempt + 1)
            judged = await self._judge(command, marked_before)
            if judged is None:
                return DONE
            attempt = judged

    def _fate(self, command: SendMessage, fate: Done | Hold, next_attempt: int) -> Done | Hold:
        if isinstance(fate, Hold):
            self._held[command.id] = next_attempt
        return fate

    # Was it begun before?

    async def _mark_of(self, message_id: str, stored_at: float) -> int | None:
        """Where a former owner marked this message, if one did."""
        if stored_at < self._marks_known_since:
            words = await self._session.log.last_words()
            self._marks.clear()
            if words.mark is not None and words.mark_at >= stored_at:
                subject = subjects.event(self._session.tenant, self._session.device_id, "send.message.sending")
                marks = await self._bus.read_from(EVENTS.name, subject, 1, PAGE * MAX_PAGES, since=stored_at)
                for stored in marks:
                    self._marks.setdefault(_message_of(stored.data), stored.seq)
            self._marks_known_since = stored_at
        return self._marks.pop(message_id, None)

    async def _judge(self, command: SendMessage, mark_seq: int) -> int | None:
        """The attempt to make next, or None when the message is done with; an unknown outcome is reported here."""
        judged = await self._verdict(command.id, mark_seq)
        log.info("outbound.begun_before", message_id=command.id, verdict=judged.kind, attempt=judged.attempt)
        if judged.kind == "settled":
            self._meters.commands["settled_before"].add()
            return None
        if judged.kind == "unknown":
            if command.on_unknown == "report":
                await self._report(command, "unknown", judged.attempt, "outcome_unknown")
                return None
            await self._report(command, "retrying", judged.attempt, "outcome_unknown")
        return judged.attempt + 1

    async def _verdict(self, message_id: str, mark_seq: int) -> Verdict:
        subject = subjects.event(self._session.tenant, self._session.device_id, "send.message.>")
        marks: list[MessageSending] = []
        statuses: list[MessageStatusChanged] = []
        next_seq = mark_seq
        for _ in range(MAX_PAGES):
            page = await self._bus.read_from(EVENTS.name, subject, next_seq, PAGE)
            for stored in page:
                with contextlib.suppress(msgspec.DecodeError):
                    fact = events.decode(subjects.parse_event(stored.subject).type, stored.data)
                    if isinstance(fact, MessageSending):
                        marks.append(fact)
                    elif isinstance(fact, MessageStatusChanged):
                        statuses.append(fact)
            judged = verdict(message_id, marks, statuses)
            if judged.kind == "settled" or len(page) < PAGE:
                return judged
            next_seq = page[-1].seq + 1
        return judged

    # May it be sent now?

    async def _stopped_by(self, command: SendMessage, attempt: int) -> Done | Hold | None:
        """What keeps the command from being sent now, None if nothing; one that never will be is reported here."""
        session, now = self._session, datetime.now(UTC)
        if _is_expired(command):
            return await self._report(command, "expired", attempt, "expired")
        if session.refusal is not None:
            return await self._report(command, "failed", attempt, session.refusal)
        left_s = (command.expires_at - now).total_seconds() if command.expires_at is not None else math.inf
        if not session.is_connected:
            return Hold(left_s, "offline", until_change=True)
        kinds = [contents.kind_of(command.content), *(["status"] if command.to == contents.STATUS else [])]
        for kind in kinds:
            if cast(Capability, f"send.{kind}") not in session.capabilities:
                return await self._report(command, "failed", attempt, "kind_not_supported", kind)
        pace = await session.pace()
        wait_s = pace.wait_s(time.monotonic())
        if wait_s > 0:
            # A long wait must not outlast what makes it pointless: a logout, another pace.
            return Hold(min(wait_s, left_s), "paced", until_change=wait_s > LONG_WAIT_S)
        media = contents.media_of(command.content)
        if media is not None:
            try:
                await self._media.info(media.object)
            except ObjectNotFound:
                return await self._report(command, "failed", attempt, "media_missing")
            except StoreUnavailable as error:
                log.warning("outbound.media_store_away", message_id=command.id, error=str(error))
                return Hold(STORE_AWAY_S, "media_store_away")
        pace.take(time.monotonic())
        return None

    # Sending

    async def _mark(self, command: SendMessage, attempt: int) -> int | None:
        """Store the mark; where it stood already, when this attempt was begun before."""
        # Whoever is not the owner any more must not begin: the next owner would take the mark for a send.
        (stored,) = await self._session.log.append(
            _mark_event(command, attempt), traceparent=current_traceparent(), only_while=self._session.lease.valid
        )
        return stored.stored_seq if stored.was_known else None

    async def _preview(self, command: SendMessage) -> Found | None:
        """The preview of a text's link, before anything is said to have begun: a slow page may take seconds."""
        return await self._previews.of(command.tenant, command.content) if isinstance(command.content, Text) else None

    async def _send(self, command: SendMessage, attempt: int, found: Found | None) -> Done | Hold:
        content, media = command.content, contents.media_of(command.content)
        if isinstance(content, Text):
            content = msgspec.structs.replace(content, preview=found.preview if found is not None else None)
        order = SendOrder(
            message_id=command.id,
            to=command.to,
            content=content,
            quote=command.quote,
            mentions=command.mentions,
            media=StoredMedia(self._media, media) if media is not None else None,
            typing_ms=command.typing_ms if command.to != contents.STATUS else 0,
            audience=command.audience,
            thumbnail=found.thumbnail if found is not None else None,
        )
        began = time.perf_counter()
        try:
            sent = await self._session.send(order)
        except NotConnected:
            await self._report(command, "retrying", attempt, "device_offline")
            return Hold(LOOK_AGAIN_S, "offline")
        except (SendFailed, MediaFailed) as error:
            if error.retry_after_s is None or attempt >= MAX_ATTEMPTS:
                return await self._report(command, "failed", attempt, error.reason, error.detail)
            await self._report(command, "retrying", attempt, error.reason, error.detail)
            return Hold(error.retry_after_s, error.reason)
        except OutcomeUnknown as error:
            return await self._unknown(command, attempt, error.reason, error.detail)
        except Exception as error:  # the engine's fault: it may have sent before it failed
            log.exception("outbound.engine_failed", device=command.device, message_id=command.id)
            return await self._unknown(command, attempt, "engine_error", repr(error))
        self._meters.send_seconds.observe(time.perf_counter() - began)
        self._session.was_sent(sent.whatsapp_id, command.id, command.to, content)
        return await self._report(command, "sent", attempt, whatsapp_id=sent.whatsapp_id, at=sent.sent_at)

    async def _unknown(self, command: SendMessage, attempt: int, reason: Reason, detail: str) -> Done | Hold:
        if command.on_unknown == "report" or attempt >= MAX_ATTEMPTS:
            return await self._report(command, "unknown", attempt, reason, detail)
        await self._report(command, "retrying", attempt, reason, detail)
        return Hold(LOOK_AGAIN_S, reason)

    async def _report(
        self,
        command: SendMessage,
        status: MessageStatus,
        attempt: int,
        reason: Reason | None = None,
        detail: str | None = None,
        *,
        whatsapp_id: str | None = None,
        at: datetime | None = None,
    ) -> Done:
        """Store the status, and tell whoever waits for it."""
        fact = MessageStatusChanged(
            id=ids.status_event_id(command.id, status, *((attempt,) if attempt > 1 or status == "retrying" else ())),
            tenant=command.tenant,
            device=command.device,
            at=at or datetime.now(UTC),
            message_id=command.id,
            status=status,
            to=command.to,
            whatsapp_id=whatsapp_id,
            reason=reason,
            detail=detail or None,
            attempt=attempt,
            content=command.content if status == "sent" else None,
        )
        stored = await self._store(fact, await self._next_to_mark() if status == "sent" else None)
        self._meters.commands[status].add()
        if command.reply_to is not None and self._bus.connected:
            await self._bus.nc.publish(command.reply_to, stored.payload)
        return DONE

    # The mark of the next one

    async def _next_to_mark(self) -> Following | None:
        """The next command, if nothing has to be found out or waited for before it is sent."""
        following = self._following()
        if following is None:
            return None
        command = following.command
        is_new = following.stored_at >= self._marks_known_since and command.id not in {*self._marks, *self._held}
        if not is_new or not self._is_free_to_go(command):
            return None
        pace = await self._session.pace()
        if pace.wait_s(time.monotonic()) > 0:
            return None
        pace.take(time.monotonic())
        return following

    def _is_free_to_go(self, command: SendMessage) -> bool:
        """Whether it is a text to a chat without a preview, and could be sent at this moment."""
        content, session = command.content, self._session
        return (
            isinstance(content, Text)
            and command.to != contents.STATUS
            and content.preview is None
            and not content.link_preview
            and not _is_expired(command)
            and session.refusal is None
            and session.is_connected
            and "send.text" in session.capabilities
            and session.lease.valid()
        )

    async def _store(self, outcome: MessageStatusChanged, following: Following | None) -> Appended:
        """Store an outcome, and with it the mark of the next command."""
        log_, trace = self._session.log, current_traceparent()
        if following is not None:
            mark = _mark_event(following.command, 1)
            traces = {mark.id: following.traceparent}
            with contextlib.suppress(NotOwner):  # which keeps us from beginning, and not from telling
                stored, marked = await log_.append(
                    outcome, mark, traceparent=trace, traceparents=traces, only_while=self._session.lease.valid
                )
                if not marked.was_known:
                    self._ahead[following.command.id] = following.command
                return stored
        (stored,) = await log_.append(outcome, traceparent=trace)
        return stored


def _is_expired(command: SendMessage) -> bool:
    return command.expires_at is not None and command.expires_at <= datetime.now(UTC)


def _nothing() -> None:
    """No command is known to follow."""


def _mark_event(command: SendMessage, attempt: int) -> MessageSending:
    return MessageSending(
        id=ids.status_event_id(command.id, "sending", attempt),
        tenant=command.tenant,
        device=command.device,
        at=datetime.now(UTC),
        message_id=command.id,
        to=command.to,
        attempt=attempt,
    )


def _message_of(mark: bytes) -> str:
    return events.decode_head(mark).message_id or ""
