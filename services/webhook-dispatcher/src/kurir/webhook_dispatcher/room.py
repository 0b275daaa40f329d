"""How much may wait in DELIVERIES: in all, for one tenant, for one endpoint.

DELIVERIES must never meet a limit, so while too much waits in all no event is fanned out (`has_room`), for anybody. It
does not come to that by those who are down or slow: what is for an endpoint that has its share waiting goes to DEAD
(`is_full`) until less waits. Its share is `per_endpoint`, less when the others of its tenant have much waiting, and
less for everybody the less room is left: so however many are down at once, they never fill it together.

Counted is what waits for the endpoint: in its lane and, while it fails, for the time of a next attempt. What is due
waits for a dispatcher; and an endpoint that is well again gets what is new, however many retries wait for their time.

Nobody counts before so much waits in all that one endpoint could be over its share, and retries no more than
COUNTING_PART of the time: those that were not counted at this look are the first at the next. Every dispatcher counts
for itself, and a little late: an endpoint gets more than its share by what all of them fan out for it between two
counts, which is every LOOK_EVERY_S when few fail, and every minute or so when thousands do.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kurir.contracts import streams, subjects
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.webhook_dispatcher.endpoint_health import EndpointHealth
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.lookout import Lookout
from kurir.webhook_dispatcher.measures import Measures

log = get("kurir.room")

LOOK_EVERY_S: Final = 2.0
COUNTING_PART: Final = 1 / 40
"""Of the time of the server, which stores and delivers nothing while it counts: 100,000 retries in 5 to 40 ms."""
TENANTS_PART: Final = 4
"""A tenant gets a fourth of the room that is left. So one alone leaves four fifths to others, ten leave two sevenths,
and whatever their number they leave something: a dynamic threshold, as switches share a buffer."""
KEPT: Final = 0.05
"""Of all, for what is fanned out between two counts, and for who is neither behind nor failing."""
FOR_REPLAYS: Final = 0.5
"""Of its share: no replay takes the room of what happens now."""

_LANES: Final = "kurir.dlvlane.>"


@dataclass(frozen=True, slots=True)
class Shares:
    """Deliveries that may wait, of one endpoint and of one tenant."""

    of_endpoint: float
    of_tenant: float


@dataclass(frozen=True, slots=True)
class RoomSettings:
    max_pending: int
    max_pending_bytes: int
    per_endpoint: int

    def shares(self, messages: int, size: int) -> Shares:
        """While so many messages of `size` bytes wait in all."""
        left = max(0.0, 1 - KEPT - max(messages / self.max_pending, size / self.max_pending_bytes))
        of_tenant = self.max_pending * left / TENANTS_PART
        return Shares(min(self.per_endpoint, of_tenant), of_tenant)


def over_their_share(waiting: Mapping[tuple[str, str], int], shares: Shares, part: float = 1.0) -> frozenset[str]:
    """The endpoints that have as much waiting as they may, or that `part` of it; `waiting` by tenant and endpoint.

    Of a tenant that has as much as it may, those that have the most of it, and at least one.
    """
    tenants: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (tenant, endpoint), count in waiting.items():
        tenants[tenant][endpoint] = count
    found: set[str] = set()
    for own in tenants.values():
        limit = shares.of_endpoint * part
        if sum(own.values()) >= shares.of_tenant * part:
            limit = min(limit, shares.of_tenant * part / len(own))
        found |= {endpoint for endpoint, count in own.items() if count >= max(1.0, limit)}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Retries:
    count: int
    counted_at: float


class Room:
    """Looks from `start` to `stop`; what it says in between is from its latest look."""

    def __init__(
        self,
        bus: Bus,
        endpoints: Endpoints,
        health: EndpointHealth,
        clock: Clock,
        measures: Measures,
        settings: RoomSettings,
    ) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._health = health
        self._clock = clock
        self._measures = measures
        self._settings = settings
        self._retries: dict[str, _Retries] = {}  # of endpoints that fail
        self._count_from = 0.0  # monotonic
        self._full: frozenset[str] = frozenset()
        self._full_for_replays: frozenset[str] = frozenset()
        self._callbacks: list[Callable[[], None]] = []
        self._lookout = Lookout("room", self._look_if_possible, every_s=LOOK_EVERY_S)
        self.has_room = True
        """Whether events may be fanned out at all."""

    async def start(self) -> None:
        await self._look_if_possible()
        self._lookout.start(at_once=False)

    async def stop(self) -> None:
        await self._lookout.stop()

    def on_look(self, callback: Callable[[], None]) -> None:
        """Call back after each look; not when it could not be made."""
        self._callbacks.append(callback)

    @property
    def full(self) -> int:
        """Endpoints that have their share waiting."""
        return len(self._full)

    def is_full(self, endpoint: str) -> bool:
        """Whether the endpoint of that id has its share waiting."""
        return endpoint in self._full

    def is_full_for_replays(self, endpoint: str) -> bool:
        """Whether it has as much waiting as replays may bring it to."""
        return endpoint in self._full_for_replays

    async def _look_if_possible(self) -> None:
        try:
            await self._look()
        except Exception as error:
            # What was known last counts: nothing can be published either while the server does not answer.
            log.warning("room.unknown", error=repr(error))
            return
        for callback in self._callbacks:
            callback()

    async def _look(self) -> None:
        state = (await self._bus.js.stream_info(streams.DELIVERIES.name)).state
        self._measures.pending_deliveries.set(state.messages)
        has_room = state.messages < self._settings.max_pending and state.bytes < self._settings.max_pending_bytes
        if has_room != self.has_room:
            log.warning("fanout.room", has_room=has_room, pending=state.messages, pending_bytes=state.bytes)
        self.has_room = has_room
        shares = self._settings.shares(state.messages, state.bytes)
        waiting: dict[tuple[str, str], int] = {}
        if state.messages >= shares.of_endpoint * FOR_REPLAYS:
            waiting = await self._count()
        self._full_for_replays = over_their_share(waiting, shares, FOR_REPLAYS)
        self._note_full(over_their_share(waiting, shares), waiting, shares)

    async def _count(self) -> dict[tuple[str, str], int]:
        """What waits for each that is behind or fails: its lane now, its retries when they were counted last."""
        stored = await self._bus.subjects(streams.DELIVERIES.name, _LANES)
        lanes = {subjects.delivery_key(subject): count for subject, count in stored.items()}
        failing = self._health.failing(self._clock.now())
        await self._count_retries(failing)
        waiting: dict[tuple[str, str], int] = {}
        for name in {*lanes, *failing}:
            endpoint = self._endpoints.by_id(name)
            if endpoint is not None:
                retries = self._retries[name].count if name in self._retries else 0
                waiting[endpoint.tenant, name] = lanes.get(name, 0) + retries
        return waiting

    async def _count_retries(self, failing: list[str]) -> None:
        known = {name: self._retries.get(name, _Retries(0, 0.0)) for name in failing}
        now = began = self._clock.monotonic()
        for identifier in sorted(known, key=lambda one: known[one].counted_at):
            if now < self._count_from or now - began >= LOOK_EVERY_S * COUNTING_PART:
                break
            count = await self._bus.count(streams.DELIVERIES.name, subjects.delivery_retries(identifier))
            now = self._clock.monotonic()
            known[identifier] = _Retries(count, now)
        if now > began:
            self._count_from = now + (now - began) / COUNTING_PART - LOOK_EVERY_S
        self._retries = known

    def _note_full(self, full: frozenset[str], waiting: Mapping[tuple[str, str], int], shares: Shares) -> None:
        for (tenant, endpoint), count in waiting.items():
            if endpoint in full and endpoint not in self._full:
                log.warning("endpoint.full", tenant=tenant, endpoint=endpoint, waiting=count, **_rounded(shares))
        for endpoint in self._full - full:
            log.info("endpoint.full_no_more", endpoint=endpoint)
        self._full = full


def _rounded(shares: Shares) -> dict[str, int]:
    return {"share": int(shares.of_endpoint), "share_of_tenant": int(shares.of_tenant)}
