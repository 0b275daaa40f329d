"""One device's events: numbered, in order, each confirmed by the stream.

Guarantees: events of one device are stored in the order they were appended, with growing `seq` and the owner's `epoch`;
`append` returns only when they are stored, however long the bus is away. A repeat after an unknown outcome carries the
same id and number, so it is stored once. Not guaranteed: numbers without gaps, because a fact that the stream knew
already keeps the number it was first stored with.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import structlog
from msgspec.structs import replace

from kurir.contracts import events, headers, subjects
from kurir.contracts.events import ConnectionUpdate, Event, MessageSending
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus, Outgoing, PubAck, PublishError, PublishRefused
from kurir.session_node.meters import Tally

log = structlog.get_logger(__name__)

SOURCE = "session-node"
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
NO_OTHERS: Mapping[str, str | None] = MappingProxyType({})
TOO_LARGE = 10054  # the err_code of a message beyond the server's limit; no repeat will make it smaller


class Appended(NamedTuple):
    """`stored_seq` is the sequence in EVENTS. `was_known`: the fact had been stored before, by somebody else.

    `payload` is the event as we would have it stored.
    """

    stored_seq: int
    was_known: bool
    payload: bytes


class NotOwner(Exception):
    """The event was not to be stored any more: we are not the owner. An earlier try may have been stored."""


class LastWords(NamedTuple):
    """What the stream had from this device when we began. `mark_at` is in seconds since the epoch."""

    seq: int
    mark: MessageSending | None
    mark_at: float
    connection: ConnectionUpdate | None


class EventLog:
    """The events of one device, spoken by one owner. `append` may be called from several tasks."""

    def __init__(self, bus: Bus, tenant: str, device: str, epoch: int, published: Tally) -> None:
        self._bus = bus
        self._tenant = tenant
        self._device = device
        self._epoch = epoch
        self._published = published
        self._seq = 0
        self._last_words: LastWords | None = None
        self._lock = asyncio.Lock()
        self._subjects: dict[str, str] = {}

    async def last_words(self) -> LastWords:
        """What former owners said last. Asked of the stream once; waits while the bus is away."""
        async with self._lock:
            return await self._recovered()

    async def append(
        self,
        *facts: Event,
        traceparent: str | None = None,
        traceparents: Mapping[str, str | None] = NO_OTHERS,
        only_while: Callable[[], bool] = lambda: True,
        is_stale: Callable[[Event], bool] = lambda _: False,
    ) -> list[Appended]:
        """Store the events in this order and return where; `seq` and `epoch` are filled in here.

        `traceparents` has those of events, by their ids, that belong to another trace. What `is_stale` is left out,
        as it is asked before each try: minutes may lie between the first and the one that succeeds.

        Waits while the bus is away. Raises PublishRefused for an event that the stream will never take, and NotOwner
        instead of trying (again) when `only_while()` is false.
        """
        async with self._lock:
            if self._last_words is None:
                await self._recovered()
            waiting: deque[Outgoing] = deque()
            by_id: dict[str, Event] = {}
            for fact in facts:
                self._seq += 1
                trace = traceparents.get(fact.id, traceparent)
                waiting.append(self._outgoing(replace(fact, seq=self._seq, epoch=self._epoch), trace))
                by_id[fact.id] = fact
            appended: list[Appended] = []
            pause_s = FIRST_PAUSE_S
            is_repeat = False
            while True:
                if not only_while():
                    raise NotOwner
                waiting = deque(one for one in waiting if one.msg_id is None or not is_stale(by_id[one.msg_id]))
                if not waiting:
                    break
                for answer in await self._publish(waiting):
                    if not isinstance(answer, PubAck):
                        self._note_failure(answer, len(waiting))
                        break
                    stored = waiting.popleft()
                    was_known = answer.duplicate and not (is_repeat and await self._is_ours(answer.seq, stored.payload))
                    appended.append(Appended(answer.seq, was_known, stored.payload))
                if not waiting:
                    break
                # Those behind the one that failed may be stored: they are repeated too, and known by their ids.
                is_repeat = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if len(appended) == 1 and appended[0].was_known:
                self._seq -= 1
            self._published.add(len(appended))
            return appended

    def _note_failure(self, error: PublishError, waiting: int) -> None:
        if isinstance(error, PublishRefused) and error.code == TOO_LARGE:
            raise error
        log.warning("events.not_stored", device=self._device, error=str(error), waiting=waiting)

    async def _publish(self, waiting: deque[Outgoing]) -> list[PubAck | PublishError]:
        if len(waiting) > 1:
            return await self._bus.publish_many(tuple(waiting))
        one = waiting[0]
        try:
            return [await self._bus.publish(one.subject, one.payload, msg_id=one.msg_id, headers=one.headers)]
        except PublishError as error:
            return [error]

    def _outgoing(self, fact: Event, traceparent: str | None) -> Outgoing:
        type_ = events.type_of(fact)
        subject = self._subjects.get(type_)
        if subject is None:
            subject = self._subjects[type_] = subjects.event(self._tenant, self._device, type_)
        said = headers.cloudevent(
            id_=fact.id,
            type_=type_,
            source=SOURCE,
            time=fact.at.isoformat(),
            subject=self._device,
            traceparent=traceparent,
        )
        return Outgoing(subject, events.encode(fact), fact.id, said)

    async def _is_ours(self, stored_seq: int, payload: bytes) -> bool:
        """Whether a duplicate is of our own first try, whose confirmation got lost."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                found = await self._bus.read_from(
                    EVENTS.name, subjects.events_of_device(self._tenant, self._device), stored_seq, 1
                )
            except PublishError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                return bool(found) and found[0].seq == stored_seq and found[0].data == payload

    async def _recovered(self) -> LastWords:
        pause_s = FIRST_PAUSE_S
        while self._last_words is None:
            try:
                self._last_words = await self._recover()
            except PublishError as error:
                log.warning("events.not_recovered", device=self._device, error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return self._last_words

    async def _recover(self) -> LastWords:
        last = (0, 0)
        mark, mark_at, connection = None, 0.0, None
        for stored in await self._bus.last_by_subjects(
            EVENTS.name, subjects.events_of_device(self._tenant, self._device)
        ):
            try:
                head = events.decode_head(stored.data)
                # A former owner's late word may stand behind a newer owner's, so the epoch counts first.
                last = max(last, (head.epoch, head.seq))
                fact = events.decode(subjects.parse_event(stored.subject).type, stored.data)
            except msgspec.DecodeError as error:
                log.warning("events.undecodable", subject=stored.subject, seq=stored.seq, error=str(error))
                continue
            if isinstance(fact, MessageSending):
                mark, mark_at = fact, stored.published_at
            elif isinstance(fact, ConnectionUpdate):
                connection = fact
        self._seq = last[1]
        return LastWords(last[1], mark, mark_at, connection)
