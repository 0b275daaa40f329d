"""Names to addresses through the system's resolver, in threads of its own, one lookup per name at a time.

libcurl's own resolver gives every transfer two of its twenty threads and waits for stuck ones when it is closed: one
name with a dead name server would hold up everybody's new connections. Here such a name costs one thread, however
many requests ask for it, and nobody waits for it at the end.
"""

import asyncio
import contextlib
import queue
import socket
import threading
from dataclasses import dataclass


class NameNotResolved(Exception):
    """The name has no address, or its name server does not answer. The text is the resolver's own."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a name stood for, in the resolver's order of preference, and until when (loop time) that is used."""

    texts: tuple[str, ...]
    fresh_until: float


class Resolver:
    """Lookups of one asyncio loop. `threads` bounds how many names are looked up at once; the rest queue."""

    def __init__(self, *, fresh_s: float = 30.0, threads: int = 64, names: int = 10_000) -> None:
        """An answer is used for `fresh_s` seconds; of at most `names` names answers are kept."""
        self._loop = asyncio.get_running_loop()
        self._fresh_s, self._most_threads, self._most_names = fresh_s, threads, names
        self._known: dict[str, Addresses] = {}
        self._lookups: dict[str, asyncio.Future[Addresses]] = {}
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = 0

    def known(self, name: str) -> Addresses | None:
        """The answer still fresh, if there is one."""
        known = self._known.get(name)
        return known if known is not None and self._loop.time() < known.fresh_until else None

    async def resolve(self, name: str, timeout_s: float) -> Addresses:
        """The name's addresses, from memory while fresh. Raises NameNotResolved, or TimeoutError after `timeout_s`."""
        if known := self.known(name):
            return known
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = self._loop.create_future()
            lookup.add_done_callback(lambda done: done.exception())  # looked at, even if all callers have left
            if self._threads < min(self._most_threads, len(self._lookups)):
                self._threads += 1
                # Not an executor: the interpreter would wait for its threads at exit, however stuck.
                threading.Thread(target=self._work, name=f"resolver-{self._threads}", daemon=True).start()
            self._names.put(name)
        return await asyncio.wait_for(asyncio.shield(lookup), timeout_s)

    def forget(self) -> None:
        """Drops what is known, so that the next request looks its name up again."""
        self._known.clear()

    def close(self) -> None:
        """Lets idle threads end; a thread inside a lookup ends after it. Waiting callers get NameNotResolved."""
        for _ in range(self._threads):
            self._names.put(None)
        self._threads = 0
        for lookup in self._lookups.values():
            lookup.set_exception(NameNotResolved("the resolver was closed"))
        self._lookups.clear()

    def _work(self) -> None:
        while (name := self._names.get()) is not None:
            answer: tuple[str, ...] | NameNotResolved
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                answer = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
            except (OSError, UnicodeError) as error:
                answer = NameNotResolved(str(error))
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._answered, name, answer)

    def _answered(self, name: str, answer: tuple[str, ...] | NameNotResolved) -> None:
        lookup = self._lookups.pop(name, None)
        if lookup is None:
            return
        if isinstance(answer, NameNotResolved):
            lookup.set_exception(answer)
            return
        self._known.pop(name, None)  # so that the newest is last, and the first to go is the oldest
        self._known[name] = known = Addresses(answer, self._loop.time() + self._fresh_s)
        while len(self._known) > self._most_names:
            del self._known[next(iter(self._known))]
        lookup.set_result(known)
