"""What a session tells, in its order, with people's phone numbers where the library knows them.

Groups and presence name people by hidden id alone. Whose number has not been met yet is looked up in the device's
store, and sealed votes are opened; what happens meanwhile waits its turn. A change of the connection waits for nobody.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from kurir.session_node.engines.engine import Observation, Report, StateChanged
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.observations import Seen

Opened = Callable[[], Awaitable[Observation]]
LOOK_UP_S = 2.0  # a read of the store, some milliseconds; it must not hold up messages
WAITING_LIMIT = 1000  # behind a store that hangs; then all is told as it came
ASKED_LIMIT = 4096


class Telling:
    """`ask_number` gives the phone number's JID of a hidden id, or None; it may raise, and take long."""

    def __init__(self, report: Report, people: AddressBook, ask_number: Callable[[str], Awaitable[str | None]]) -> None:
        self._report = report
        self._people = people
        self._ask_number = ask_number
        self._waiting: deque[tuple[Observation, Opened | None]] = deque()
        self._looking: asyncio.Task[None] | None = None
        self._asked: set[str] = set()

    def tell(self, observation: Observation, opened: Opened | None = None) -> None:
        """Report it after all that was told before, now or in a moment; `opened` gives what to report instead."""
        if isinstance(observation, StateChanged):
            self.flush()
        if not self._waiting and opened is None and not self._unknown(observation):
            self._report(self._complete(observation))
            return
        self._waiting.append((observation, opened))
        if len(self._waiting) >= WAITING_LIMIT:
            self.flush()
        elif self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def flush(self) -> None:
        """Report at once whatever still waits, as it is known."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        while self._waiting:
            self._report(self._complete(self._waiting.popleft()[0]))

    async def _look(self) -> None:
        while self._waiting:
            observation, opened = self._waiting[0]
            for hidden in self._unknown(observation):
                await self._look_up(hidden)
            if opened is not None:
                with contextlib.suppress(Exception):  # not connected, too late, cannot be: it is told as it came
                    async with asyncio.timeout(LOOK_UP_S):
                        observation = await opened()
            self._waiting.popleft()
            self._report(self._complete(observation))
        self._looking = None

    async def _look_up(self, hidden: str) -> None:
        if len(self._asked) >= ASKED_LIMIT:
            self._asked.clear()
        self._asked.add(hidden)
        try:
            async with asyncio.timeout(LOOK_UP_S):
                number = await self._ask_number(hidden)
        except Exception:  # not connected, too late, not known: it is told without the number
            return
        if number is not None:
            self._people.learn(number, hidden)

    def _unknown(self, observation: Observation) -> list[str]:
        if not isinstance(observation, Seen):
            return []
        return [hidden for hidden in self._people.unknown_in(observation) if hidden not in self._asked]

    def _complete(self, observation: Observation) -> Observation:
        return self._people.complete_all(observation) if isinstance(observation, Seen) else observation
