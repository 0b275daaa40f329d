"""What arrived, what is on record and what still waits, held against what was said and who was killed when.

Nothing of this asks a running system. The windows are those of the protocol, not of luck: what a duplicate is
explained by is a death that lies where the order of steps allows one (post, record, schedule, acknowledge).
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from tests.support.endpoint_farm import ELSEWHERE, Arrival
from tests.system.deliveries_under_chaos.killing import Kill

CLOCK_S = 0.1
"""Between a request's `at` and its arrival lie a few steps of another process."""

USUALLY_SETTLED_S = 3.0
"""From a request's arrival until its message is acknowledged, while the broker is there: milliseconds, on a machine
with too much to do seconds."""

RECORD_WITHIN_S = 12.0
"""How long an attempt's record waits for a broker that is away; then the attempt is repeated."""

FANNED_OUT_WITHIN_S = 1.0
"""From a request's arrival until the event behind it is acknowledged, while the broker is there: it is when the
deliveries of a hundred events are stored, and the first of them may be made by then."""

AGAIN_AFTER_S = 19.0
"""What a dead process held comes again no sooner: after 30 s, of which 10 may have passed since it last told of
progress."""

SENT_NOT_RECORDED = "dispatcher killed after the request, before its record"
RECORDED_NOT_ACKNOWLEDGED = "dispatcher killed after the record, before the acknowledgement"
MOVED_NOT_ACKNOWLEDGED = "dispatcher killed after it moved a delivery to its lane, before the acknowledgement"
RECORD_GIVEN_UP = f"broker away for more than {RECORD_WITHIN_S:.0f} s after the request"
BROUGHT_AGAIN = "broker killed, and brought its newest messages again"


class Key(NamedTuple):
    """One delivery."""

    event: str
    endpoint: int


class Record(Struct, frozen=True, gc=False):
    """What is of interest here of an attempt on record; see `kurir.contracts.deliveries.DeliveryAttempt`."""

    event_id: str
    at: datetime
    outcome: str
    status: int | None = None
    error: str | None = None


@dataclass(kw_only=True)
class Ledger:
    """All that is known at the end; `said` is Unix seconds by event id, `hears` the endpoints that want an event.

    `waiting` and `dead` are the deliveries in DELIVERIES and DEAD. A healthy endpoint answers at once, a sick one's
    attempt takes up to `deadline_s`. What began after `settled_before` may be still under way.
    """

    said: Mapping[str, float]
    hears: Mapping[str, Collection[int]]
    arrivals: Sequence[Arrival]
    attempts: Iterable[tuple[int, Record]]
    waiting: Collection[Key]
    dead: Collection[Key]
    kills: Sequence[Kill]
    healthy: Collection[int]
    deadline_s: float
    settled_before: float
    requests: dict[Key, list[float]] = field(init=False)
    records: dict[Key, list[Record]] = field(init=False)

    def __post_init__(self) -> None:
        self.requests, self.records = defaultdict(list), defaultdict(list)
        for arrival in self.arrivals:
            self.requests[Key(arrival.event, arrival.endpoint)].append(arrival.at)
        for endpoint, attempt in self.attempts:
            self.records[Key(attempt.event_id, endpoint)].append(attempt)
        for made in self.records.values():
            made.sort(key=lambda attempt: attempt.at)

    def astray(self) -> list[Arrival]:
        """Requests with an event that was never said, or at an endpoint that does not hear of it."""
        return [one for one in self.arrivals if one.endpoint == ELSEWHERE or one.endpoint not in self._hear(one.event)]

    def missing(self) -> list[Key]:
        """Events that never reached a healthy endpoint that wants them."""
        return [key for key in self._wanted(self.healthy) if key not in self.requests]

    def lost(self, endpoints: Collection[int]) -> list[Key]:
        """Deliveries that neither arrived with success, nor wait, nor are dead."""
        return [key for key in self._wanted(endpoints) if not self._is_delivered(key) and not self._is_kept(key)]

    def ends(self, endpoints: Collection[int]) -> Counter[str]:
        """What became of each delivery to these endpoints."""
        return Counter(
            "delivered" if self._is_delivered(key) else "waiting" if key in self.waiting else "dead"
            for key in self._wanted(endpoints)
            if self._is_delivered(key) or self._is_kept(key)
        )

    def unrecorded(self) -> dict[Key, list[float]]:
        """Requests that arrived and have no attempt on record."""
        found = {}
        for key, requests in self.requests.items():
            settled = [at for at in requests if at < self.settled_before]
            if left := _unmatched(settled, self.records.get(key, ())):
                found[key] = left
        return found

    def untrue(self) -> list[Record]:
        """Attempts on record as answered whose request never arrived."""
        found = []
        for key, made in self.records.items():
            made = [attempt for attempt in made if attempt.at.timestamp() < self.settled_before]
            answered = [attempt for attempt in made if attempt.status is not None]
            if len(answered) > len(self.requests.get(key, ())):
                found.append(answered[-1])
        return found

    def duplicates(self) -> Iterator[tuple[Key, float, float, bool]]:
        """Of each request to a healthy endpoint but the first: its time, that of the one before, was that recorded."""
        unrecorded = self.unrecorded()
        for key, requests in self.requests.items():
            if key.endpoint in self.healthy:
                for before, again in itertools.pairwise(requests):
                    yield key, before, again, before not in unrecorded.get(key, ())

    def explained(self) -> tuple[Counter[str], list[str]]:
        """How many duplicates have which cause, and those that have none."""
        causes: Counter[str] = Counter()
        unexplained = []
        for key, before, again, is_recorded in self.duplicates():
            cause = self._cause(key, before, again, is_recorded)
            if cause is None:
                unexplained.append(f"{before:.3f} and {again:.3f} of {self.story(key)}")
            else:
                causes[cause] += 1
        return causes, unexplained

    def unrecorded_unexplained(self) -> list[str]:
        """Requests without a record that no death explains."""
        return [
            f"at {at:.3f} of {self.story(key)}"
            for key, requests in self.unrecorded().items()
            for at in requests
            if self._why_unrecorded(key, at) is None
        ]

    def story(self, key: Key) -> str:
        """One delivery, and the deaths of its time."""
        said, requests = self.said.get(key.event, 0.0), self.requests.get(key, [])
        made = [
            f"{record.at.timestamp():.3f} {record.outcome} {record.status or record.error}"
            for record in self.records.get(key, ())
        ]
        last = max([said, *requests])
        deaths = [str(kill) for kill in self.kills if said - RECORD_WITHIN_S <= kill.at <= last + RECORD_WITHIN_S]
        arrived = [f"{at:.3f}" for at in requests]
        return f"{key.event} to {key.endpoint}: said {said:.3f}, arrived {arrived}, on record {made}; killed {deaths}"

    def _cause(self, key: Key, before: float, again: float, is_recorded: bool) -> str | None:
        """Why there was another request at `again`. Each time MongoDB is asked whether the attempt was made before, so
        these are the cases in which it was away, or behind, or the broker had brought a copy that looked new."""
        if not is_recorded:
            return self._why_unrecorded(key, before)
        said = self.said[key.event]
        held_until = [kill.at for kill in self._of("dispatcher") if kill.at + AGAIN_AFTER_S <= again]
        if any(before - CLOCK_S <= at <= self._settled_by(key, before) for at in held_until):
            return RECORDED_NOT_ACKNOWLEDGED
        if any(
            said <= kill.at <= again and kill.knew_until - FANNED_OUT_WITHIN_S <= before
            for kill in self._of("nats-server")
        ):
            return BROUGHT_AGAIN
        if any(said <= at <= before for at in held_until):
            return MOVED_NOT_ACKNOWLEDGED
        return None

    def _why_unrecorded(self, key: Key, at: float) -> str | None:
        if any(at - CLOCK_S <= kill.at <= self._settled_by(key, at) for kill in self._of("dispatcher")):
            return SENT_NOT_RECORDED
        if any(
            kill.at <= self._settled_by(key, at) and kill.back_at - max(at, kill.at) >= RECORD_WITHIN_S - 1.0
            for kill in self._of("nats-server")
        ):
            return RECORD_GIVEN_UP
        return None

    def _settled_by(self, key: Key, at: float) -> float:
        """When the message of a request that arrived then was settled at the latest, unless its dispatcher died."""
        by = at + (0.0 if key.endpoint in self.healthy else self.deadline_s) + USUALLY_SETTLED_S
        for kill in sorted(self._of("nats-server"), key=lambda kill: kill.at):
            if kill.at <= by and kill.back_at >= at:
                by = max(by, min(kill.back_at, by + RECORD_WITHIN_S) + USUALLY_SETTLED_S)
        return by

    def _of(self, victim: str) -> Iterable[Kill]:
        return (kill for kill in self.kills if kill.victim == victim)

    def _hear(self, event: str) -> Collection[int]:
        return self.hears.get(event, ())

    def _wanted(self, endpoints: Collection[int]) -> Iterator[Key]:
        return (Key(event, endpoint) for event in self.said for endpoint in self._hear(event) if endpoint in endpoints)

    def _is_delivered(self, key: Key) -> bool:
        return any(attempt.outcome == "delivered" for attempt in self.records.get(key, ()))

    def _is_kept(self, key: Key) -> bool:
        return key in self.waiting or key in self.dead


def _unmatched(requests: Sequence[float], made: Sequence[Record]) -> list[float]:
    """The requests that belong to none of these attempts; both in order of time."""
    left = list(requests)
    for attempt in made:
        if attempt.error == "connect":
            continue  # nothing was sent
        began = attempt.at.timestamp() - CLOCK_S
        arrived = next((at for at in left if at >= began), None)
        if arrived is not None:
            left.remove(arrived)
    return left
