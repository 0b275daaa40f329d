"""One device at one owner: keeps the connection as the tenant wants it and tells what the engine observes.

Guarantees: one engine session at a time; connect and close never overlap; what the engine reports becomes events in the
same order; a report is held in memory until the stream has it. When events cannot be stored and WAITING_LIMIT of them
wait, the connection is closed, so that WhatsApp keeps what comes, and opened again when all are stored.
Not guaranteed: what the engine took from WhatsApp and had not reported when the process died.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from kurir.contracts import events, subjects
from kurir.contracts.events import ConnectionUpdate, Event, MessageStatusChanged
from kurir.contracts.records import Device, Session
from kurir.contracts.states import Reason
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus, PublishError, PublishRefused
from kurir.runtime.lease import Lease
from kurir.runtime.objects import ObjectStore
from kurir.runtime.registry import KeyExists, Registry, RevisionConflict, key_of
from kurir.session_node.desired import PATIENCE_S, Standing, next_step, retry_pause_s, stays
from kurir.session_node.engine_room import EngineRoom
from kurir.session_node.engines.engine import (
    Capability,
    EngineSession,
    NotConnected,
    Observation,
    ReceiptSeen,
    Received,
    Scans,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.event_log import EventLog
from kurir.session_node.inbound import connection_event, message_event, receipt_event, session_after, stored_content
from kurir.session_node.meters import Meters
from kurir.session_node.pacing import Pace
from kurir.session_node.receipts import LOOK_BACK_EVENTS, LOOK_BACK_S, SentMessages

log = structlog.get_logger(__name__)

WAITING_LIMIT = 5_000  # reports, about 1 kB each; at 1,000 messages/s of one device five seconds without the stream
DROP_LIMIT = 2 * WAITING_LIMIT  # what an engine that is being closed may still bring
BATCH = 256
CONNECTING_PATIENCE_S = 90.0  # WhatsApp's own time-outs are 75 s
CLOSE_TIMEOUT_S = 10.0
SEND_GRACE_S = 10.0  # a wanted close waits so long for the send under way; longest seen 11 s
SEND_WAIT_S = 5.0  # engines tell of a receipt after its send has returned; then its outcome is stored in milliseconds
UNLINK_WAIT_S = 20.0  # a device that is to be unlinked is connected for it
SAVE_PAUSE_S = 0.5
NEVER = datetime.fromtimestamp(0, UTC)


class Shared(NamedTuple):
    """What all sessions of a shard share."""

    bus: Bus
    media: ObjectStore
    sessions: Registry[Session]
    engines: EngineRoom
    meters: Meters
    node: str
    shard: str
    inbound_media_max_bytes: int


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
        self.sent = SentMessages()
        self.lease = lease
        self._shared = shared
        self._on_change = on_change
        self._key = key_of(tenant, device_id)
        self._record = shared.sessions.get(self._key) or Session(
            device=device_id, tenant=tenant, state="disconnected", at=NEVER
        )
        self._standing = Standing(
            state=self._record.state,
            reason=self._record.reason,
            generation=self._record.generation,
            banned_until=self._record.banned_until,
        )
        self._engine_name = device.engine if device is not None else None
        self._is_identified = False
        self._is_forgotten = False
        self._arrived = asyncio.Event()  # the connection that was begun has succeeded, or is over
        self._engine_session: EngineSession | None = None
        self.capabilities: frozenset[Capability] = frozenset()
        """What the engine of the open session can do."""
        self._opened = 0
        self._was_connected = False
        self._failures = 0
        self._pace: Pace | None = None
        self._lifecycle = asyncio.Lock()
        self._has_news = False
        self._stopping = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._reconciling: asyncio.Task[None] | None = None
        self._waiting: deque[ConnectionUpdate | Received | ReceiptSeen] = deque()
        self._pumping: asyncio.Task[None] | None = None
        self._unsaved: Session | None = None
        self._saving: asyncio.Task[None] | None = None
        self._no_send = asyncio.Event()
        self._no_send.set()

    # What outbound asks

    @property
    def is_open(self) -> bool:
        """Whether the engine holds a session of this device."""
        return self._engine_session is not None

    @property
    def is_connected(self) -> bool:
        return self._engine_session is not None and self._standing.state == "connected"

    @property
    def scans(self) -> Scans | None:
        """The open session's way to confirm its own pairing, if its engine has one."""
        session = self._engine_session
        return session if isinstance(session, Scans) else None

    @property
    def refusal(self) -> Reason | None:
        """Why nothing can be sent until the tenant acts; None when it can, now or later."""
        if self.device is None:
            return "device_deleted"
        return "device_logged_out" if self._standing.state == "logged_out" else None

    async def pace(self) -> Pace:
        """The device's pace, which knows of former owners' last send."""
        if self._pace is None:
            words = await self.log.last_words()
            since = time.time() - words.mark_at if words.mark is not None else None
            self._pace = Pace(self.device.pace_per_minute if self.device else 0, time.monotonic(), since)
        return self._pace

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around a send until its outcome is stored: receipts of it wait for that."""
        self._no_send.clear()
        try:
            yield
        finally:
            self._no_send.set()

    async def send(self, order: SendOrder) -> Sent:
        """Send by the engine. Raises what EngineSession.send raises; NotConnected also when we know that ourselves."""
        if self._engine_session is None or self._standing.state != "connected" or not self.lease.valid():
            raise NotConnected
        return await self._engine_session.send(order)

    async def unlink(self) -> None:
        """Unlink the device at WhatsApp, connecting for it if need be, and forget its keys in any case."""
        async with self._lifecycle:
            await self._unlink("requested")
        self._kick()

    # What the partition tells

    def start(self) -> None:
        """Begin to bring the device where it is wanted."""
        self._kick()

    def device_changed(self, device: Device | None) -> None:
        """The tenant wants something else, or has deleted the device."""
        self.device = device
        if device is not None:
            self._engine_name = device.engine
        if self._pace is not None and device is not None:
            self._pace.set_rate(device.pace_per_minute, time.monotonic())
        self._kick()
        self._on_change()

    def backlog_changed(self, *, is_full: bool) -> None:
        """So many messages wait that the api is to accept no more, or room has been made."""
        if self._record.is_backlog_full != is_full:
            log.info("session.backlog", device=self.device_id, is_full=is_full)
            self._record = msgspec.structs.replace(self._record, is_backlog_full=is_full)
            self._save(self._record)

    async def stop(self, *, is_lost: bool) -> None:
        """Close the connection and return when everything it reported is stored.

        With `is_lost` the lease is gone: nothing is said about the connection any more. May take as long as the bus
        is away; the caller sets the limit.
        """
        self._stopping.set()
        if self._timer is not None:
            self._timer.cancel()
        if is_lost and self._engine_session is not None:
            # Not behind the lifecycle lock: whoever holds it may wait for the bus.
            await self._close_engine_session(self._engine_session)
        async with self._lifecycle:
            was_open = self._engine_session is not None
            await self._put_away(grace_s=0.0)
        if was_open and not is_lost and not self._standing.has_ended:
            self._observe(StateChanged(state="disconnected", reason="moved"))
        await self._ended(self._reconciling)
        await self._ended(self._pumping)
        await self._ended(self._saving)

    async def _ended(self, task: "asyncio.Task[None] | None") -> None:
        """Wait for the end of our own task; when the wait is cancelled, so is the task."""
        if task is None:
            return
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise

    # The engine's reports

    def _report(self, number: int, observation: Observation) -> None:
        if number != self._opened:
            return
        if isinstance(observation, StateChanged):
            self._state_changed(observation)
            return
        if len(self._waiting) >= DROP_LIMIT:
            self._shared.meters.observations_dropped.add()
            log.error("session.observation_dropped", device=self.device_id, waiting=len(self._waiting))
            return
        self._take(observation)
        if len(self._waiting) >= WAITING_LIMIT and not self._standing.is_choked:
            log.warning("session.choked", device=self.device_id, waiting=len(self._waiting))
            self._standing.is_choked = True
            self._kick()

    def _state_changed(self, change: StateChanged) -> None:
        standing, now = self._standing, time.monotonic()
        standing.state, standing.reason, standing.banned_until = change.state, change.reason, change.banned_until
        if change.state == "connected":
            self._was_connected, self._failures, standing.retry_at = True, 0, None
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
        self._kick()

    def _observe(self, change: StateChanged) -> None:
        """Make the change known: as an event, in the session's record, and to commands that wait."""
        self._standing.state, self._standing.reason = change.state, change.reason
        self._record = self._signed(session_after(self._record, change, datetime.now(UTC)))
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
        self._take(connection_event(self._record, change))
        self._save(self._record)
        self._on_change()

    def _take(self, observation: ConnectionUpdate | Received | ReceiptSeen) -> None:
        self._waiting.append(observation)
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                ready: list[Event] = []
                for observation in batch:
                    if isinstance(observation, Received) and observation.attachment is not None:
                        await self._append(ready)  # a download must not hold what came before it
                        ready = []
                    try:
                        ready += await self._events_of(observation)
                    except Exception:  # one that we cannot tell must not silence the others
                        log.exception("session.observation_not_told", device=self.device_id)
                await self._append(ready)
        finally:
            self._pumping = None
        if self._standing.is_choked:
            self._standing.is_choked = False
            self._kick()

    async def _append(self, facts: list[Event]) -> None:
        if not facts:
            return
        try:
            await self.log.append(*facts)
        except PublishRefused as error:
            log.error("session.event_refused", device=self.device_id, ids=[fact.id for fact in facts], error=str(error))

    async def _events_of(self, observation: ConnectionUpdate | Received | ReceiptSeen) -> list[Event]:
        if isinstance(observation, ConnectionUpdate):
            return [observation]
        if isinstance(observation, ReceiptSeen):
            return await self._receipts(observation)
        content = await stored_content(
            self._shared.media, self.tenant, self.device_id, observation, self._shared.inbound_media_max_bytes
        )
        return [message_event(self.tenant, self.device_id, observation, content)]

    async def _receipts(self, seen: ReceiptSeen) -> list[Event]:
        found: list[Event] = []
        for whatsapp_id in seen.whatsapp_ids:
            message = self.sent.find(whatsapp_id)
            if message is None and not self._no_send.is_set():
                # It may be of the message whose send has not returned yet.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SEND_WAIT_S):
                        await self._no_send.wait()
                message = self.sent.find(whatsapp_id)
            if message is None and self.sent.should_look_back(time.monotonic()):
                await self._look_back()
                message = self.sent.find(whatsapp_id)
            if message is None:
                self._shared.meters.unmatched_receipts.add()
            else:
                found.append(receipt_event(self.tenant, self.device_id, seen, whatsapp_id, message))
        return found

    async def _look_back(self) -> None:
        """Learn from the stream what was sent before us."""
        subject = subjects.event(self.tenant, self.device_id, "send.message.status")
        while True:
            try:
                stored = await self._shared.bus.read_from(
                    EVENTS.name, subject, 1, LOOK_BACK_EVENTS, since=time.time() - LOOK_BACK_S
                )
                break
            except PublishError:
                await asyncio.sleep(SAVE_PAUSE_S)
        for message in stored:
            with contextlib.suppress(msgspec.DecodeError):
                fact = events.decode("send.message.status", message.data)
                if isinstance(fact, MessageStatusChanged) and fact.status == "sent" and fact.whatsapp_id:
                    self.sent.remember(fact.whatsapp_id, fact.message_id, fact.to)

    # Bringing the device where it is wanted

    def _kick(self) -> None:
        self._has_news = True
        if self._reconciling is None and not self._stopping.is_set():
            self._reconciling = asyncio.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        try:
            while self._has_news and not self._stopping.is_set():
                self._has_news = False
                try:
                    async with self._lifecycle:
                        await self._step()
                except Exception:
                    self._failures += 1
                    log.exception("session.step_failed", device=self.device_id)
                    self._kick_in(retry_pause_s(self._failures))
        finally:
            self._reconciling = None

    async def _step(self) -> None:
        if self._stopping.is_set():
            return
        if self.device is not None and self.device.wanted == "connected":
            await self._identify()
        step, again_in_s = next_step(self.device, self._standing, time.monotonic(), datetime.now(UTC))
        match step:
            case "open":
                await self._open()
            case "reopen":
                await self._put_away(grace_s=0.0)
                await self._open()
            case "discard":
                await self._put_away(grace_s=SEND_GRACE_S)
                if self._standing.is_choked and not self._standing.has_ended:
                    self._observe(
                        StateChanged(
                            state="disconnected", reason="connection_lost", detail="events could not be stored"
                        )
                    )
                self._kick()
            case "close":
                await self._put_away(grace_s=SEND_GRACE_S)
                self._answer_generation()
                self._observe(StateChanged(state="disconnected", reason="requested"))
            case "adopt":
                self._answer_generation()
                self._save(self._record)
            case "forget":
                await self._forget()
            case "rest":
                if again_in_s is not None:
                    self._kick_in(again_in_s)

    def _kick_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._kick)

    async def _open(self) -> None:
        assert self.device is not None
        delay_s = self._shared.engines.login_delay_s(self.device.engine)
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()
        device = self.device
        if self._stopping.is_set() or device is None or device.wanted != "connected" or not self.lease.valid():
            self._has_news = True
            return
        self._answer_generation()
        await self._begin(device.name, device.engine, device.pair_phone)

    async def _begin(self, name: str, engine_name: str, pair_phone: str | None) -> None:
        """Let the engine begin to connect; what comes of it is reported."""
        self._opened += 1
        self._was_connected = False
        self._arrived.clear()
        self._standing.has_ended, self._standing.retry_at = False, None
        spec = SessionSpec(
            tenant=self.tenant,
            device=self.device_id,
            name=name,
            jid=self._record.jid if self._record.paired else None,
            pair_phone=pair_phone,
        )
        try:
            engine = await self._shared.engines.engine(engine_name)
            self.capabilities = engine.capabilities
            self._engine_session = await engine.open(spec, partial(self._report, self._opened))
            self._standing.is_open = True
        except Exception as error:
            log.exception("session.not_opened", device=self.device_id)
            self._state_changed(StateChanged(state="disconnected", reason="server_unavailable", detail=repr(error)))

    async def _identify(self) -> None:
        """Take from the device's last event what its record may have missed when its writer died."""
        if self._is_identified:
            return
        said = (await self.log.last_words()).connection
        if said is not None and said.at > self._record.at:
            self._record = msgspec.structs.replace(
                self._record,
                state=said.state,
                reason=said.reason,
                paired=said.jid is not None,
                jid=said.jid,
                lid=said.lid,
                phone=said.phone,
                push_name=said.push_name,
                banned_until=said.banned_until,
            )
            standing = self._standing
            standing.state, standing.reason, standing.banned_until = said.state, said.reason, said.banned_until
        self._is_identified = True

    def _answer_generation(self) -> None:
        if self.device is not None:
            self._standing.generation = self.device.connect_generation
            self._record = self._signed(self._record)

    def _signed(self, record: Session) -> Session:
        return msgspec.structs.replace(
            record,
            node=self._shared.node,
            shard=self._shared.shard,
            epoch=self.lease.token,
            generation=self._standing.generation,
        )

    async def _put_away(self, *, grace_s: float) -> None:
        """Close the engine session, if there is one, and keep the pairing."""
        session = self._engine_session
        if session is None:
            return
        if grace_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._no_send.wait()
        await self._close_engine_session(session)
        self._engine_session = None
        self._standing.is_open = False

    async def _close_engine_session(self, session: EngineSession) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await session.close()
        except Exception as error:
            log.error("session.not_closed", device=self.device_id, error=repr(error))

    async def _forget(self) -> None:
        """The device was deleted: nothing of it stays here."""
        if self._is_forgotten:
            return
        self._is_forgotten = True
        await self._unlink("device_deleted")
        await self._ended(self._pumping)
        self._unsaved = None
        await self._ended(self._saving)
        await self._shared.sessions.delete(self._key)

    async def _unlink(self, reason: Reason) -> None:
        """Unlink at WhatsApp if that can be said now, and forget the keys in any case."""
        await self._identify()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_GRACE_S):
                await self._no_send.wait()
        if self._record.paired and self._engine_name is not None and self.lease.valid():
            if self._engine_session is None:
                await self._begin("", self._engine_name, None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNLINK_WAIT_S):
                    await self._arrived.wait()
        if self._engine_session is not None and self._standing.state == "connected":
            try:
                async with asyncio.timeout(UNLINK_WAIT_S):
                    await self._engine_session.logout()
            except Exception as error:
                log.warning("session.not_unlinked", device=self.device_id, error=repr(error))
        await self._put_away(grace_s=0.0)
        spec = SessionSpec(tenant=self.tenant, device=self.device_id, name="", jid=self._record.jid)
        for name in (self._engine_name,) if self._engine_name else self._shared.engines.names:
            await (await self._shared.engines.engine(name)).forget(spec)
        if self._record.state != "logged_out":
            self._observe(StateChanged(state="logged_out", reason=reason))

    # The session's record

    def _save(self, record: Session) -> None:
        self._unsaved = record
        if self._saving is None:
            self._saving = asyncio.create_task(self._write_record())

    async def _write_record(self) -> None:
        try:
            while self._unsaved is not None and self.lease.valid():
                record, self._unsaved = self._unsaved, None
                try:
                    await self._write(record)
                except (PublishError, RevisionConflict, KeyExists) as error:
                    log.warning("session.record_not_written", device=self.device_id, error=repr(error))
                    self._unsaved = self._unsaved or record
                    await asyncio.sleep(SAVE_PAUSE_S)
        finally:
            self._saving = None

    async def _write(self, record: Session) -> None:
        """Write unless a later owner has. Raises PublishError, or a conflict that came between."""
        sessions = self._shared.sessions
        entry = sessions.entry(self._key) or await sessions.fetch(self._key)
        try:
            if entry is None:
                await sessions.create(self._key, record)
            elif entry.value.epoch <= record.epoch:
                await sessions.update(self._key, record, entry.revision)
        except (RevisionConflict, KeyExists):
            entry = await sessions.fetch(self._key)
            if entry is not None and entry.value.epoch <= record.epoch:
                await sessions.update(self._key, record, entry.revision)
