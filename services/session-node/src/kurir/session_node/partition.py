"""The work on one partition under its lease: a session for each device, and the commands to them.

Guarantees: commands of a device are carried out one at a time in their order, and acknowledged after their outcome is
stored; when work stops, commands under way are finished and the others are given back.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

import msgspec
import structlog

from kurir.contracts import commands, headers, streams, subjects
from kurir.contracts.commands import Logout, SendMessage
from kurir.contracts.records import Device, Session
from kurir.runtime.broker import Incoming, PublishError, Unreachable
from kurir.runtime.lanes import KeyedConsumer
from kurir.runtime.lease import Lease
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry, key_of
from kurir.runtime.settlement import Rejected, Retry
from kurir.runtime.tracing import traceparent_of
from kurir.session_node.desired import LIVE
from kurir.session_node.outbound import Following, Hold, Outbound
from kurir.session_node.session import DeviceSession
from kurir.session_node.shared import Shared

log = structlog.get_logger(__name__)

LONGEST_HOLD_S = 3600.0  # a held command is looked at again after this, whatever was missed
LEASE_LOST_S = 1.0  # we are about to be stopped
CLOCK_SLACK_S = 60.0  # between the api's clock and the stream's
YIELD_S = 0.2  # how soon a message that gave way looks whether the urgent one has gone
LOOK_AT_BACKLOG_S = 5.0
BACKLOG_FULL = streams.COMMAND_BACKLOG * 9 // 10  # room for what is accepted until the api has heard of it
BACKLOG_FREE = streams.COMMAND_BACKLOG * 8 // 10

_URGENCY = {"high": 0, "normal": 1, "bulk": 2}


class _Seat:
    """A device of this partition: its session, its sends, and when a held command is to be looked at again."""

    def __init__(self, session: DeviceSession, outbound: Outbound) -> None:
        self.session = session
        self.outbound = outbound
        self.alarm: asyncio.TimerHandle | None = None
        self.waiting = 0  # messages that wait for their turn
        self._turn = asyncio.Lock()  # the three queues of a device send one message at a time
        self._waiting_until = [0.0, 0.0, 0.0]  # by urgency: a message of that queue waits for the device's pace

    @contextlib.asynccontextmanager
    async def my_turn(self) -> AsyncIterator[None]:
        """Wait until no message of another queue is being sent."""
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    def gives_way(self, command: SendMessage, now: float) -> bool:
        """Whether a more urgent message waits for the device's pace: the next place in it is not for this one."""
        return any(until > now for until in self._waiting_until[: _URGENCY[command.priority]])

    def waits(self, command: SendMessage, until: float) -> None:
        """When this message comes again; 0 when it does not wait any more."""
        self._waiting_until[_URGENCY[command.priority]] = until


class Partition:
    """`closed` is called when the work has ended."""

    def __init__(
        self,
        number: int,
        lease: Lease,
        shared: Shared,
        devices: Registry[Device],
        *,
        closed: Callable[[], Awaitable[None]],
    ) -> None:
        self.number = number
        self._lease = lease
        self._shared = shared
        self._devices = devices
        self._closed = closed
        self._seats: dict[str, _Seat] = {}
        self._consumer = KeyedConsumer(
            shared.bus,
            stream=streams.COMMANDS.name,
            consumer=streams.command_consumer(number),
            key_of=subjects.command_key,
            lane_subject=partial(subjects.command_lane, number),
            lane_filter=subjects.command_lanes_of_partition(number),
            lane_consumer_name=streams.command_lane_consumer,
            handle=self._carry_out,
            ack_wait_s=streams.COMMAND_ACK_WAIT_S,
            overflow=self._refuse,
        )
        self._watching: asyncio.Task[None] | None = None

    @property
    def open_sessions(self) -> int:
        """Sessions that are open at an engine."""
        return sum(seat.session.is_open for seat in self._seats.values())

    def session(self, tenant: str, device: str) -> DeviceSession | None:
        """The session of a device."""
        seat = self._seats.get(key_of(tenant, device)) or self._rising(key_of(tenant, device))
        return seat.session if seat is not None else None

    async def start(self, keys: Iterable[str]) -> None:
        """Bring the devices where they are wanted and begin to take commands. `keys` are those of known devices.

        Those that are to rest, and do, get a session when something is asked of them: a claim costs them nothing.
        """
        for key in keys:
            device = self._devices.get(key)
            is_to_act = await self._is_deleted(key) if device is None else not self._rests(key, device)
            if is_to_act and key not in self._seats:  # it may have changed meanwhile
                self._sit_down(key, device).session.start()
        await self._consumer.start()
        self._watching = asyncio.create_task(self._watch_backlog(), name=f"backlog of partition {self.number}")

    async def stop(self, *, is_lost: bool) -> None:
        """Take no more commands, finish those under way, close the sessions, and return when all is stored.

        May be called with `is_lost` while it is under way without.
        """
        if self._watching is not None:
            self._watching.cancel()
        if is_lost:
            # What is under way may not speak any more, so its session does not wait for its end.
            await asyncio.gather(self._consumer.stop(), self._stop_sessions(is_lost=True))
        else:
            await self._consumer.stop()
            await asyncio.gather(*(seat.outbound.give_back() for seat in self._seats.values()))
        await self._stop_sessions(is_lost=is_lost)
        for seat in self._seats.values():
            if seat.alarm is not None:
                seat.alarm.cancel()
        await self._closed()

    async def _stop_sessions(self, *, is_lost: bool) -> None:
        """Those too of devices that are woken meanwhile: nobody else would ever close them."""
        stopped: set[_Seat] = set()
        while left := set(self._seats.values()) - stopped:
            await asyncio.gather(*(seat.session.stop(is_lost=is_lost) for seat in left))
            stopped |= left

    def device_changed(self, key: str, former: Device | None, device: Device | None) -> None:
        """What the tenant wants of a device has changed, or it was deleted."""
        seat = self._seats.get(key)
        if seat is not None:
            seat.session.device_changed(device)
        elif device is None and former is not None:  # it rested, and may be linked
            self._sit_down(key, former).session.device_changed(None)
        elif device is not None and not self._rests(key, device):
            self._sit_down(key, device).session.start()

    def record_written(self, key: str, record: Session) -> None:
        """The record of a device's session is in the bucket."""
        seat = self._seats.get(key)
        if seat is not None:
            seat.session.record_written(record)

    async def _is_deleted(self, key: str) -> bool:
        return await self._devices.fetch(key) is None

    def _rests(self, key: str, device: Device) -> bool:
        session = self._shared.sessions.get(key)
        return device.wanted == "disconnected" and (session is None or session.state not in LIVE)

    def _rising(self, key: str) -> _Seat | None:
        """A device that rested until now; None when there is none."""
        device = self._devices.get(key)
        if device is None or partition_of(device.id, subjects.COMMAND_PARTITIONS) != self.number:
            return None
        return self._sit_down(key, device)

    def _sit_down(self, key: str, device: Device | None) -> _Seat:
        tenant, _, device_id = key.partition(".")
        session = DeviceSession(
            tenant, device_id, device, self._shared, self._lease, on_change=lambda: self._resume(device_id)
        )
        seat = _Seat(session, Outbound(session, self._shared))
        self._seats[key] = seat
        return seat

    # Commands

    async def _carry_out(self, message: Incoming) -> None:
        """One command of one device. Raises Retry when it has to wait, DecodeError when it cannot be read."""
        if not self._lease.valid():
            # Only leave it: to pause or to move it would take it out of the hands of the next owner.
            raise Retry(LEASE_LOST_S, "lease_lost")
        command = commands.decode(message.data)
        seat = self._seats.get(key_of(command.tenant, command.device)) or await self._found(command)
        if isinstance(command, Logout):
            await seat.session.unlink()
            self._shared.meters.commands["logged_out"].add()
            return
        loop = asyncio.get_running_loop()
        async with seat.my_turn():
            if seat.gives_way(command, loop.time()):
                raise Retry(YIELD_S, "gives_way")
            fate = await seat.outbound.carry_out(
                command,
                _stored_at(command, message),
                traceparent_of(message.headers),
                lambda: self._following(seat, message),
            )
            if not isinstance(fate, Hold):
                seat.waits(command, 0.0)
                return
            if fate.why == "offline":
                seat.session.commands_wait()
            else:
                seat.waits(command, loop.time() + fate.seconds + YIELD_S)
            if fate.until_change and self._lease.valid():
                self._wait_for_change(seat, fate.seconds)
        raise Retry(min(fate.seconds, LONGEST_HOLD_S), fate.why)

    def _following(self, seat: _Seat, message: Incoming) -> Following | None:
        """The command that is carried out after this one: the next of its queue, unless one of another queue waits."""
        found = self._consumer.following(message) if seat.waiting == 0 else None
        if found is None:
            return None
        try:
            command = commands.decode(found.data)
        except msgspec.DecodeError:
            return None
        if not isinstance(command, SendMessage):
            return None
        return Following(command, _stored_at(command, found), traceparent_of(found.headers))

    async def _refuse(self, message: Incoming) -> None:
        """A command that finds the device's lane full: it was accepted, so its end is told."""
        command = commands.decode(message.data)
        if isinstance(command, Logout):
            raise Retry(LONGEST_HOLD_S, "lane_full")
        seat = self._seats.get(key_of(command.tenant, command.device)) or await self._found(command)
        await seat.outbound.refuse(command, "device_offline", "too many messages wait for this device")

    async def _found(self, command: commands.Command) -> _Seat:
        """A device that rested, that the registry did not tell us of yet, or that does not exist.

        Raises Rejected for one of another partition: its session has another owner.
        """
        if partition_of(command.device, subjects.COMMAND_PARTITIONS) != self.number:
            raise Rejected("VALIDATION_ERROR", f"{command.device} does not belong to partition {self.number}")
        key = key_of(command.tenant, command.device)
        if (rising := self._rising(key)) is not None:
            return rising
        entry = await self._devices.fetch(key)
        if key in self._seats:
            return self._seats[key]
        if entry is None:
            session = DeviceSession(
                command.tenant, command.device, None, self._shared, self._lease, on_change=lambda: None
            )
            return _Seat(session, Outbound(session, self._shared))
        seat = self._sit_down(key, entry.value)
        seat.session.start()
        return seat

    def _wait_for_change(self, seat: _Seat, seconds: float) -> None:
        """Nothing of this device until its session says that something changed, or the time is over."""
        device = seat.session.device_id
        for queue in subjects.send_queues(device):
            self._consumer.pause(queue)
        if seat.alarm is not None:
            seat.alarm.cancel()
        loop = asyncio.get_running_loop()
        seat.alarm = loop.call_later(min(seconds, LONGEST_HOLD_S), self._resume, device)

    def _resume(self, device: str) -> None:
        for queue in subjects.send_queues(device):
            self._consumer.resume(queue)

    async def _watch_backlog(self) -> None:
        """Let the api know of devices whose lanes are nearly full, so that it refuses what could not be kept."""
        full: set[str] = set()
        while True:
            await asyncio.sleep(LOOK_AT_BACKLOG_S)
            if not full and not self._consumer.open_lanes:
                continue
            try:
                stored = await self._shared.bus.subjects(
                    streams.COMMANDS.name, subjects.command_lanes_of_partition(self.number)
                )
            except (PublishError, Unreachable) as error:
                log.warning("partition.backlog_not_read", partition=self.number, error=str(error))
                continue
            for key, seat in self._seats.items():
                queues = subjects.send_queues(seat.session.device_id)
                waiting = max(stored.get(subjects.command_lane(self.number, queue), 0) for queue in queues)
                if waiting >= BACKLOG_FULL:
                    full.add(key)
                elif waiting <= BACKLOG_FREE:
                    full.discard(key)
                seat.session.backlog_changed(is_full=key in full)


def _stored_at(command: SendMessage, message: Incoming) -> float:
    """No later than when the command was first stored."""
    if headers.ORIGIN_SEQUENCE in message.headers:
        # In a lane, that is when it was moved there.
        return min(message.published_at, command.accepted_at.timestamp() - CLOCK_SLACK_S)
    return message.published_at
