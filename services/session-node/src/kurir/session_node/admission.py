"""Who may open a session: no more at once than the shard can hold, no faster than WhatsApp is to see, and devices with
commands that wait before the others.

Who finds no room is told when there is some. Decides and orders; sessions act. What it does not do: close anybody's
session to make room for another.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

JITTER = 0.5  # of the pause between two logins, so that shards which start together do not log in in step


class Limits(NamedTuple):
    """Of one engine in this process; 0 is no limit."""

    sessions: int = 0
    logins_per_s: float = 0.0


class Applicant(Protocol):
    """A device that wants a session."""

    @property
    def is_urgent(self) -> bool:
        """Whether commands wait for it."""
        ...

    def room_is_made(self) -> None:
        """Apply again. Called once for each refusal, if at all; must not block."""
        ...


class Admission:
    """`memory_shortage` says why memory does not allow for another session, None when it does."""

    def __init__(self, limits: Mapping[str, Limits], memory_shortage: Callable[[], str | None] = lambda: None) -> None:
        self._limits = limits
        self._memory_shortage = memory_shortage
        self._lines = {name: _Line(each.logins_per_s) for name, each in limits.items() if each.logins_per_s > 0}
        self._placed: dict[Applicant, str] = {}
        self._refused: dict[Applicant, str] = {}  # in the order in which they came

    @property
    def refused(self) -> int:
        """How many wait for room."""
        return len(self._refused)

    def take(self, applicant: Applicant, engine: str) -> str | None:
        """Give a place to the applicant, who may have it already; otherwise why there is none, and it is told later."""
        if applicant in self._placed:
            return None
        shortage = self._shortage(engine)
        if shortage is None:
            self._refused.pop(applicant, None)
            self._placed[applicant] = engine
        else:
            self._refused.setdefault(applicant, engine)
        return shortage

    def leave(self, applicant: Applicant) -> None:
        """Give the place back, or wait for one no longer. Harmless for who has none."""
        self._refused.pop(applicant, None)
        if self._placed.pop(applicant, None) is not None:
            self.look()

    def withdraw(self, applicant: Applicant) -> None:
        """Wait for a place no longer; one that was given is kept."""
        self._refused.pop(applicant, None)

    def look(self) -> None:
        """Tell those for whom there is room now, the urgent first. Call it now and then: memory tells nobody."""
        for engine in set(self._refused.values()):
            if self._shortage(engine) is not None:
                continue
            waiting = [applicant for applicant, of in self._refused.items() if of == engine]
            waiting.sort(key=lambda applicant: not applicant.is_urgent)
            for applicant in waiting[: self._free(engine)]:
                del self._refused[applicant]
                applicant.room_is_made()

    async def turn(self, applicant: Applicant, engine: str, given_up: asyncio.Event) -> None:
        """Wait for the applicant's turn to log in, or until `given_up` is set."""
        line = self._lines.get(engine)
        if line is None:
            return
        turn, end = line.join(applicant), asyncio.create_task(given_up.wait())
        try:
            await asyncio.wait((turn, end), return_when=asyncio.FIRST_COMPLETED)
        finally:
            turn.cancel()
            end.cancel()

    def _shortage(self, engine: str) -> str | None:
        if self._free(engine) < 1:
            return f"this shard holds {self._limits[engine].sessions} sessions, and may hold no more"
        return self._memory_shortage() if engine in self._limits else None

    def _free(self, engine: str) -> int:
        limits = self._limits.get(engine, Limits())
        if limits.sessions <= 0:
            return len(self._refused) + 1
        return limits.sessions - sum(of == engine for of in self._placed.values())


class _Line:
    """Those who wait to log in at one engine."""

    def __init__(self, per_s: float) -> None:
        self._pause_s = 1 / per_s
        self._waiting: list[tuple[Applicant, asyncio.Future[None]]] = []
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def join(self, applicant: Applicant) -> "asyncio.Future[None]":
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((applicant, turn))
        self._plan()
        return turn

    def _plan(self) -> None:
        if self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._next_at), self._call)

    def _call(self) -> None:
        self._timer = None
        self._waiting = [(applicant, turn) for applicant, turn in self._waiting if not turn.done()]
        if self._waiting:
            first = next((n for n, (applicant, _) in enumerate(self._waiting) if applicant.is_urgent), 0)
            self._waiting.pop(first)[1].set_result(None)
            pause_s = self._pause_s * random.uniform(1 - JITTER, 1 + JITTER)
            self._next_at = asyncio.get_running_loop().time() + pause_s
        self._plan()
