"""One device at one owner: keeps the connection as the tenant wants it and tells what the engine observes.

Guarantees: one engine session at a time; connect and close never overlap; what the engine reports becomes events in the
same order (`reports`). When events cannot be stored and WAITING_LIMIT of them wait, the connection is closed, so that
WhatsApp keeps what comes, and opened again when all are stored.
Not guaranteed: what the engine took from WhatsApp and had not reported when the process died.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec
import structlog

from kurir.contracts.content import Content
from kurir.contracts.records import Device, Session
from kurir.contracts.states import Reason
from kurir.runtime.lease import Lease
from kurir.session_node.connection import Connection
from kurir.session_node.desired import LONGEST_PAUSE_S, PATIENCE_S, Standing, next_step, retry_pause_s, stays
from kurir.session_node.engines.engine import (
    Capability,
    EngineSession,
    NotConnected,
    Observation,
    SendOrder,
    Sent,
    StateChanged,
)
from kurir.session_node.engines.observations import StatusPosted
from kurir.session_node.event_log import EventLog
from kurir.session_node.habits import Habits
from kurir.session_node.inbound import connection_event, session_after
from kurir.session_node.overdue import Overdue
from kurir.session_node.own_messages import order
from kurir.session_node.pacing import Pace
from kurir.session_node.polls import Polls
from kurir.session_node.receipts import SentMessages
from kurir.session_node.reports import WAITING_LIMIT, Reports
from kurir.session_node.session_record import SessionRecord
from kurir.session_node.shared import Shared
from kurir.session_node.steps import Steps

log = structlog.get_logger(__name__)

CONNECTING_PATIENCE_S = 90.0  # WhatsApp's own time-outs are 75 s
SEND_GRACE_S = 10.0  # a wanted close waits so long for the send under way; longest seen 11 s
BAN_WAITED_OUT_S = 900.0  # by messages; of a longer one their senders are to know
LOOK_AGAIN_S = 1.0
UNLINK_WAIT_S = 20.0  # a device that is to be unlinked is connected for it


class DeviceSession:
    """`on_change` is called when commands that wait for the device should be looked at again."""

    def __init__(
        self,
        tenant: str,
        device_id: str,
        device: Device | None,
        shared: Shared,
        lease: Lease,
        on_change: Callable[[], None],
    ) -> None:
        self.tenant = tenant
        self.device_id = device_id
        self.device = device
        self.log = EventLog(shared.bus, tenant, device_id, lease.token, shared.meters.events)
        self._sent = SentMessages()
        self.lease = lease
        self._shared = shared
        self._on_change = on_change
        self._record = SessionRecord(tenant, device_id, shared, lease)
        self._standing = Standing()
        self._stand_as_recorded()
        # Of the last that was known of the device: a deleted one is unlinked by them.
        self._engine_name = device.engine if device is not None else None
        self._proxy = self._proxy_used = device.proxy if device is not None else None
        self._is_identified = False
        self._is_forgotten = False
        self._arrived = asyncio.Event()  # the connection that was begun has succeeded, or is over
        self._was_connected = False
        self._failures = 0
        self._pace: Pace | None = None
        self._steps = Steps(self._step, self._step_failed)
        self._commands_wait = False
        self._polls = Polls()
        self._overdue = Overdue(tenant, device_id, shared.bus, self._sent, look=lambda: self._reports.look())
        self._connection = Connection(tenant, device_id, shared, self._report, self._is_silent)
        self._habits = Habits(device_id, lambda: self.engine_session, partial(order, shared.bus))
        self._reports = Reports(
            tenant,
            device_id,
            shared,
            self.log,
            self._sent,
            self._overdue,
            self._polls,
            self._connection.no_send,
            self._all_stored,
            lease.valid,
            self._habits.received,
            self._habits.called,
        )
        if device is not None:
            self._heed(device)

    # What outbound asks

    @property
    def is_open(self) -> bool:
        """Whether the engine holds a session of this device."""
        return self._connection.session is not None

    @property
    def is_connected(self) -> bool:
        return self.is_open and self._standing.state == "connected" and not self._connection.is_leaving

    @property
    def is_stopping(self) -> bool:
        """Whether the device is on its way to another owner."""
        return self._steps.stopping.is_set()

    @property
    def engine_session(self) -> EngineSession | None:
        """The open session, for what its engine can do besides sending."""
        return self._connection.session

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the engine of the open session can do."""
        return self._connection.capabilities

    @property
    def refusal(self) -> Reason | None:
        """Why nothing can be sent until the tenant acts; None when it can, now or later."""
        if self.device is None:
            return "device_deleted"
        if self._standing.state == "banned" and self._ban_left_s() > BAN_WAITED_OUT_S:
            return "device_banned"
        return "device_logged_out" if self._standing.state == "logged_out" else None

    # What admission asks

    @property
    def is_urgent(self) -> bool:
        """Whether commands wait until the device is connected."""
        return self._commands_wait

    def room_is_made(self) -> None:
        """There is room for this session, which was refused for want of it."""
        self._standing.retry_at = None
        self._steps.kick()

    def _ban_left_s(self) -> float:
        until = self._standing.banned_until
        return math.inf if until is None else (until - datetime.now(UTC)).total_seconds()

    async def pace(self) -> Pace:
        """The device's pace, which knows of former owners' last send."""
        if self._pace is None:
            words = await self.log.last_words()
            since = time.time() - words.mark_at if words.mark is not None else None
            self._pace = Pace(self.device.pace_per_minute if self.device else 0, time.monotonic(), since)
        return self._pace

    def sending(self) -> contextlib.AbstractContextManager[None]:
        """Around a send until its outcome is stored: receipts of it wait for that."""
        return self._connection.sending()

    async def send(self, order: SendOrder) -> Sent:
        """Send by the engine. Raises what EngineSession.send raises; NotConnected also when we know that ourselves."""
        if not self.is_connected or not self.lease.valid():
            raise NotConnected
        return await self._connection.send(order)

    def was_sent(self, whatsapp_id: str, message_id: str, to: str, content: Content | None = None) -> None:
        """A message has got WhatsApp's id, by which its receipts and votes will be known. Call it before the send is
        over.
        """
        self._polls.remember(whatsapp_id, content)
        self._sent.remember(whatsapp_id, message_id, to)
        self._overdue.sent(whatsapp_id, message_id, to)

    async def unlink(self) -> None:
        """Unlink the device at WhatsApp, connecting for it if need be, and forget its keys in any case."""
        async with self._steps.alone:
            await self._unlink("requested")
        self._steps.kick()

    # What the partition tells

    def start(self) -> None:
        """Begin to bring the device where it is wanted."""
        self._steps.kick()

    def device_changed(self, device: Device | None) -> None:
        """The tenant wants something else, or has deleted the device."""
        self.device = device
        if device is not None:
            self._engine_name, self._proxy = device.engine, device.proxy
            self._heed(device)
        if self._pace is not None and device is not None:
            self._pace.set_rate(device.pace_per_minute, time.monotonic())
        self._steps.kick()
        self._on_change()

    def record_written(self, record: Session) -> None:
        """The session's record is in the bucket, written by us or by somebody else."""
        if not record.shard and not self.is_open and not self.is_stopping:
            self._record.adopt(record)
            self._stand_as_recorded()

    def _heed(self, device: Device) -> None:
        """What the tenant chose that holds for an open connection, too."""
        self._overdue.be_patient(device.undelivered_after_s)
        self._habits.settings = device.settings

    def commands_wait(self) -> None:
        """A command found the device offline, and waits."""
        self._commands_wait = True

    def backlog_changed(self, *, is_full: bool) -> None:
        """So many messages wait that the api is to accept no more, or room has been made."""
        if self._record.now.is_backlog_full != is_full:
            log.info("session.backlog", device=self.device_id, is_full=is_full)
            self._record.now = msgspec.structs.replace(self._record.now, is_backlog_full=is_full)
            self._record.save()

    async def stop(self, *, is_lost: bool) -> None:
        """Close the connection and return when everything it reported is stored.

        With `is_lost` the lease is gone: nothing is said about the connection any more. May take as long as the bus
        is away; the caller sets the limit.
        """
        self._steps.stop()
        self._overdue.stop()
        self._connection.watchdog.stop()
        if is_lost:
            # Not after the step that is under way: it may wait for the bus.
            await self._connection.cut()
        async with self._steps.alone:
            was_open = self.is_open
            await self._put_away(grace_s=0.0)
        if was_open and not is_lost and not self._standing.has_ended:
            self._observe(StateChanged(state="disconnected", reason="moved"))
        await self._steps.ended()
        await self._reports.stored()
        await self._habits.stop()
        await self._record.saved()

    # The engine's reports

    def _report(self, observation: Observation) -> None:
        if isinstance(observation, StateChanged):
            self._state_changed(observation)
            return
        if isinstance(observation, StatusPosted):
            self._habits.posted(observation)
            return
        self._reports.take(observation)
        if self._reports.waiting >= WAITING_LIMIT and not self._standing.is_choked:
            log.warning("session.choked", device=self.device_id, waiting=self._reports.waiting)
            self._standing.is_choked = True
            self._steps.kick()

    def _all_stored(self) -> None:
        if self._standing.is_choked:
            self._standing.is_choked = False
            self._steps.kick()

    def _state_changed(self, change: StateChanged) -> None:
        standing, now = self._standing, time.monotonic()
        self._connection.watchdog.stop()
        standing.state, standing.reason, standing.banned_until = change.state, change.reason, change.banned_until
        if change.state == "connected":
            self._was_connected, self._failures, standing.retry_at = True, 0, None
            self._commands_wait = False
            self._connection.watchdog.watch()
            self._habits.connected()
        elif change.state == "banned" or stays(standing):
            standing.has_ended, standing.retry_at = True, None
            if change.banned_until is not None and self._pace is not None:
                self._pace.pause_until(now + (change.banned_until - datetime.now(UTC)).total_seconds())
        elif change.state == "disconnected":
            self._failures += 1
            standing.retry_at = now + (PATIENCE_S if self._was_connected else retry_pause_s(self._failures))
        else:
            standing.retry_at = now + CONNECTING_PATIENCE_S if change.state == "connecting" else None
        if standing.has_ended or change.state == "connected":
            self._arrived.set()
        self._observe(change)
        self._steps.kick()

    def _is_silent(self, why: str) -> None:
        """The session says connected and does not answer: say that it is not, and open it again at once."""
        log.warning("session.silent", tenant=self.tenant, device=self.device_id, detail=why)
        self._shared.meters.silent_sessions.add()
        self._state_changed(StateChanged(state="disconnected", reason="connection_lost", detail=f"silent: {why}"))
        self._standing.retry_at = time.monotonic()

    def _observe(self, change: StateChanged) -> None:
        """Make the change known: as an event, in the session's record, and to commands that wait."""
        self._standing.state, self._standing.reason = change.state, change.reason
        self._sign(session_after(self._record.now, change, datetime.now(UTC)))
        self._shared.meters.connection_changes.add(state=change.state)
        log.info(
            "session.changed",
            tenant=self.tenant,
            device=self.device_id,
            state=change.state,
            reason=change.reason,
            detail=change.detail,
            epoch=self.lease.token,
        )
        self._reports.tell(connection_event(self._record.now, change))
        self._record.save()
        self._on_change()

    # Bringing the device where it is wanted

    def _step_failed(self) -> float:
        self._failures += 1
        log.exception("session.step_failed", device=self.device_id)
        return retry_pause_s(self._failures)

    async def _step(self) -> None:
        if self.device is not None and self.device.wanted == "connected":
            await self._identify()
        else:
            self._shared.admission.withdraw(self)
        self._standing.is_detoured = self._standing.is_open and self._proxy != self._proxy_used
        step, again_in_s = next_step(self.device, self._standing, time.monotonic(), datetime.now(UTC))
        match step:
            case "open":
                await self._open()
            case "reopen":
                await self._put_away(grace_s=SEND_GRACE_S if self.is_connected else 0.0, is_for_good=False)
                await self._open()
            case "discard":
                await self._put_away(grace_s=SEND_GRACE_S)
                if self._standing.is_choked and not self._standing.has_ended:
                    self._observe(
                        StateChanged(
                            state="disconnected", reason="connection_lost", detail="events could not be stored"
                        )
                    )
                self._steps.kick()
            case "close":
                await self._put_away(grace_s=SEND_GRACE_S)
                self._answer_generation()
                self._observe(StateChanged(state="disconnected", reason="requested"))
            case "adopt":
                self._answer_generation()
                self._record.save()
            case "forget":
                await self._forget()
            case "rest":
                if again_in_s is not None:
                    self._steps.kick_in(again_in_s)

    async def _open(self) -> None:
        assert self.device is not None
        shortage = self._shared.admission.take(self, self.device.engine)
        if shortage is not None:
            self._wait_for_room(shortage)
            return
        await self._shared.admission.turn(self, self.device.engine, self._steps.stopping)
        device = self.device
        is_ours = not self.is_stopping and self.lease.valid()
        if not is_ours or device is None or device.wanted != "connected":
            self._shared.admission.leave(self)
            # A lease that has run out is about to be renewed or told lost, which needs a pause of ours.
            self._steps.kick_in(0.0 if is_ours else LOOK_AGAIN_S)
            return
        self._answer_generation()
        await self._begin(device.name, device.engine, device.pair_phone)

    def _wait_for_room(self, shortage: str) -> None:
        """Say once that there is no room here; admission tells when there is."""
        self._answer_generation()
        if (self._standing.state, self._standing.reason) != ("disconnected", "no_capacity"):
            self._observe(StateChanged(state="disconnected", reason="no_capacity", detail=shortage))
        self._standing.retry_at = time.monotonic() + LONGEST_PAUSE_S
        self._steps.kick_in(LONGEST_PAUSE_S)

    async def _begin(self, name: str, engine_name: str, pair_phone: str | None) -> None:
        """Let the engine begin to connect; what comes of it is reported."""
        self._was_connected = False
        self._arrived.clear()
        self._standing.has_ended, self._standing.retry_at = False, None
        self._proxy_used = self._proxy
        failure = await self._connection.open(
            engine_name,
            name=name,
            jid=self._record.now.jid if self._record.now.paired else None,
            pair_phone=pair_phone,
            proxy=self._proxy,
        )
        if failure is not None:
            self._shared.admission.leave(self)
            self._state_changed(failure)
        else:
            self._standing.is_open = True

    async def _identify(self) -> None:
        """Take from the device's last event what its record may have missed when its writer died."""
        if self._is_identified:
            return
        is_news = await self._record.catch_up()
        said = (await self.log.last_words()).connection
        if (said is not None and self._record.take(said)) or is_news:
            self._stand_as_recorded()
        self._is_identified = True

    def _stand_as_recorded(self) -> None:
        standing, now = self._standing, self._record.now
        standing.state, standing.reason = now.state, now.reason
        standing.generation, standing.banned_until = now.generation, now.banned_until

    def _answer_generation(self) -> None:
        if self.device is not None:
            self._standing.generation = self.device.connect_generation
            self._sign(self._record.now)

    def _sign(self, record: Session) -> None:
        self._record.sign(record, self._standing.generation)

    async def _put_away(self, *, grace_s: float, is_for_good: bool = True) -> None:
        """Close the engine session, if there is one, and keep the pairing; if not for good, keep the place too."""
        await self._connection.close(grace_s=grace_s)
        self._standing.is_open = False
        if is_for_good:
            self._shared.admission.leave(self)

    async def _forget(self) -> None:
        """The device was deleted: nothing of it stays here."""
        if self._is_forgotten:
            return
        await self._unlink("device_deleted")
        await self._reports.stored()
        await self._record.delete()
        self._is_forgotten = True

    async def _unlink(self, reason: Reason) -> None:
        """Unlink at WhatsApp if that can be said now, and forget the keys in any case."""
        await self._identify()
        await self._connection.let_send_end(SEND_GRACE_S)
        if self._record.now.paired and self._engine_name is not None and self.lease.valid():
            if not self.is_open:
                await self._begin("", self._engine_name, None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNLINK_WAIT_S):
                    await self._arrived.wait()
        if self._standing.state == "connected":
            await self._connection.logout(UNLINK_WAIT_S)
        await self._put_away(grace_s=0.0)
        await self._connection.forget(self._engine_name, self._record.now.jid)
        if self._record.now.state != "logged_out":
            self._observe(StateChanged(state="logged_out", reason=reason))
