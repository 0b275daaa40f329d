"""The emulator's record of what happened: connections, logins, messages, receipts.

Every entry has a number `n` that grows by one, the time `at` in Unix seconds, a `kind`, and facts. The latest
MAX_ENTRIES are kept; numbers tell whether some are missing.
"""

import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_ENTRIES = 500_000

Entry = Mapping[str, Any]


class Journal:
    """Kinds are words with dots, the part before the dot being what it is about."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the latest entry."""
        return self._last

    def record(self, kind: str, **facts: Any) -> None:
        self._last += 1
        self._entries.append({"n": self._last, "at": time.time(), "kind": kind, **facts})

    def entries(self, *, after: int = 0, kinds: Collection[str] = ()) -> list[Entry]:
        """Entries with numbers above `after`, oldest first; of these kinds, or of all."""
        first = self._last - len(self._entries)
        selected: Iterable[Entry] = islice(self._entries, max(0, after - first), None)
        return [entry for entry in selected if not kinds or entry["kind"] in kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The time in which one connection spoke for a device. `until` is None while it lasts."""

    device: str
    connection: int
    since: float
    until: float | None


def ownerships(entries: Iterable[Entry]) -> list[Ownership]:
    """Every login of every device, in the order of logins, from a journal that was read from its beginning."""
    logins: dict[int, Entry] = {}
    ends: dict[int, float] = {}
    for entry in entries:
        if entry["kind"] == "connection.logged_in":
            logins[entry["connection"]] = entry
        elif entry["kind"] == "connection.ended":
            ends[entry["connection"]] = entry["at"]
    return [
        Ownership(device=entry["device"], connection=connection, since=entry["at"], until=ends.get(connection))
        for connection, entry in logins.items()
    ]


def overlaps(entries: Iterable[Entry]) -> list[tuple[Ownership, Ownership]]:
    """The moments in which a device had two connected owners: pairs of an earlier and a later login."""
    latest: dict[str, Ownership] = {}
    found = []
    for owner in ownerships(entries):
        before = latest.get(owner.device)
        if before is not None and (before.until is None or before.until > owner.since):
            found.append((before, owner))
        latest[owner.device] = owner
    return found
