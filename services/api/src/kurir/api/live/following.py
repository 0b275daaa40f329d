"""A tenant's events as they happen, to whoever follows them: from now on, or from the event that was seen last.

Guarantees: in the order of the stream, none lost and none doubled behind the id that a follower names, whichever
replica it asks and whatever was restarted. Each follower reads the stream at its own pace: one that is slow holds up
nobody, and costs one batch of memory. A point that is no longer kept is told as a gap.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from datetime import tzinfo
from typing import NamedTuple

import msgspec
from msgspec import Struct

from kurir.api.problems import Problem
from kurir.contracts import streams, subjects
from kurir.contracts.content import Media
from kurir.contracts.records import Device, PayloadOptions, PayloadShape, Session
from kurir.contracts.subjects import parse_event
from kurir.dialects.dialect import JAKARTA, Context
from kurir.dialects.event_patterns import tellings
from kurir.dialects.shapes import SHAPES
from kurir.runtime import logs
from kurir.runtime.broker import Bus, Stored
from kurir.runtime.registry import Registry
from kurir.runtime.tail import Tail, bounds

BATCH = 64  # events read at once; each is 100 kB at most as it is told
HEARTBEAT_S = 15.0  # proxies close what is silent for a minute
TOLD_WITHIN_S = 2.0  # that it ends; who does not read must not hold up the end of the process
MAX_FOLLOWERS = 50  # of one tenant at one replica: a dashboard per employee, and some that forgot to close theirs

GAP = "stream.gap"
POSITION = "stream.position"
CLOSING = "stream.closing"

log = logs.get("kurir.api.live")


class Wanted(Struct, frozen=True):
    """Whose events, and which: `device` None means all devices, `patterns` are those of webhooks.

    `options` are what a dialect leaves to choose, `key` the API key that it is to repeat, if any, `zone` that of times.
    """

    tenant: str
    device: str | None
    patterns: tuple[str, ...]
    payload: PayloadShape
    options: PayloadOptions = PayloadOptions()
    key: str | None = None
    zone: tzinfo = JAKARTA


class Told(NamedTuple):
    """One event, `body` as a webhook's, or something about the stream itself. `seq` is where to resume from."""

    seq: int
    event: str
    body: bytes


class Point(NamedTuple):
    """Where following begins: behind `seq`. `asked` is there when what was asked for is no longer kept."""

    seq: int
    asked: int | None = None


class LiveEvents:
    """`stop` to end all following."""

    def __init__(self, bus: Bus, public_url: str, devices: Registry[Device], sessions: Registry[Session]) -> None:
        self._bus = bus
        self._server_url = public_url.rstrip("/")
        self._devices = devices
        self._sessions = sessions
        self._followers: Counter[str] = Counter()
        self._tails: set[Tail] = set()
        self._telling: set[asyncio.Task[object]] = set()
        self._is_stopped = False

    @property
    def followers(self) -> int:
        return self._followers.total()

    async def stop(self) -> None:
        """End all following, so that open streams do not hold up the end of the process; return when it was told.

        The server below ends its websockets without another word.
        """
        self._is_stopped = True
        for tail in self._tails:
            tail.end()
        if self._telling:
            await asyncio.wait(self._telling, timeout=TOLD_WITHIN_S)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Around all that the task at hand tells one follower, its last words included: `stop` waits for these."""
        task = asyncio.current_task()
        assert task is not None
        self._telling.add(task)
        try:
            yield
        finally:
            self._telling.discard(task)

    def admit(self, tenant: str) -> None:
        """Raise Problem LIMIT_REACHED when as many follow the tenant as may. Ask before the answer has begun."""
        if self._followers[tenant] >= MAX_FOLLOWERS:
            raise Problem("LIMIT_REACHED", "Too many follow the events of this account at once.")

    async def point(self, after: int | None) -> Point:
        """Behind sequence `after`, or now. Raises BrokerUnavailable."""
        first, last = await bounds(self._bus, streams.EVENTS.name)
        if after is None:
            return Point(last)
        return Point(after) if first - 1 <= after <= last else Point(first - 1, after)

    async def follow(self, wanted: Wanted, point: Point) -> AsyncGenerator[Told]:
        """What is wanted behind `point`; ends with `stop`. Raises BrokerUnavailable.

        The position is told at once and then every HEARTBEAT_S, so that a follower of rare events resumes close by.
        """
        device = subjects.events_of_device(wanted.tenant, wanted.device) if wanted.device else None
        subject = device or subjects.events_of_tenant(wanted.tenant)
        self._followers[wanted.tenant] += 1
        try:
            async with Tail(self._bus, streams.EVENTS.name, subject) as tail:
                self._tails.add(tail)
                try:
                    async for told in self._read(tail, wanted, point):
                        yield told
                finally:
                    self._tails.discard(tail)
        finally:
            self._followers[wanted.tenant] -= 1
            self._followers += Counter()  # forget those that are at zero

    async def _read(self, tail: Tail, wanted: Wanted, point: Point) -> AsyncGenerator[Told]:
        now = asyncio.get_running_loop().time
        position = point.seq
        if point.asked is not None:
            yield _about(position, GAP, {"after": str(point.asked), "resumedAfter": str(position)})
        yield _about(position, POSITION, {})
        told_at = now()
        while not self._is_stopped:
            for stored in await tail.after(position, limit=BATCH, wait_s=max(0.0, told_at + HEARTBEAT_S - now())):
                position = stored.seq
                for told in self._told(stored, wanted):
                    yield told
            if now() >= told_at + HEARTBEAT_S:
                yield _about(position, POSITION, {})
                told_at = now()

    def _told(self, stored: Stored, wanted: Wanted) -> list[Told]:
        """What a follower is told of an event: one thing, or, in the words of some shapes, several or nothing."""
        _, device, type_ = parse_event(stored.subject)
        tell = SHAPES[wanted.payload].payload
        try:
            names = tellings(wanted.payload, wanted.patterns, type_, stored.data)
            if not names:
                return []
            context = self._context(wanted, device)
            payloads = [tell(type_, stored.data, context, told_as) for told_as in names]
        except msgspec.DecodeError as error:
            log.error("live.event_unreadable", tenant=wanted.tenant, type=type_, seq=stored.seq, error=str(error))
            return []
        # Who leaves between two of several things is told them again: each but the last resumes before the event.
        last = len(payloads) - 1
        return [Told(stored.seq - (at < last), one.event, one.body) for at, one in enumerate(payloads)]

    def _context(self, wanted: Wanted, device: str) -> Context:
        name = f"{wanted.tenant}.{device}"
        record, session = self._devices.get(name), self._sessions.get(name)
        return Context(
            media_url=self._media_url,
            code=record.code if record is not None else None,
            owner=session.jid if session is not None else None,
            server_url=self._server_url,
            options=wanted.options,
            key=wanted.key,
            zone=wanted.zone,
        )

    def _media_url(self, media: Media) -> str | None:
        identifier = media.object.partition("/")[2]
        return f"{self._server_url}/media/{identifier}" if identifier else None


def closing(position: int | None, reason: str) -> Told:
    """The last thing that a follower is told: why, and behind which id to resume."""
    resume = {"resumeAfter": str(position)} if position is not None else {}
    return _about(position or 0, CLOSING, {"reason": reason, **resume})


def _about(seq: int, event: str, data: dict[str, str]) -> Told:
    # Named in the words of either shape.
    return Told(seq, event, msgspec.json.encode({"event": event, "type": event, "data": data}))
