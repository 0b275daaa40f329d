"""Keeps what is sent to a chat apart in time from what arrives from it.

whatsmeow reads the Signal session of a peer, encrypts, and writes the session back; decrypting does the same, and no
lock is around either. When both meet, one of them is forgotten: the next message uses a number that was used before,
and the receiver takes it for one that it has read already. Measured over the emulator, about 1 in 20 bursts that arrive
amid our sends costs a message, and with this about 1 in 150. We hear of a message only after it was decrypted, so the
meeting can be made rare and not impossible.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

QUIET_S = 0.02  # messages of one burst follow each other within some 5 ms
LONGEST_WAIT_S = 1.0  # who never stops writing must not keep us from answering
LONGEST_CATCH_UP_S = 10.0  # what waited while we were away comes at once, right after the login
CHATS = 1000


class Quiet:
    """Of one session. Chats are known by any of their JIDs."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at: OrderedDict[str, float] = OrderedDict()
        self._caught_up = asyncio.Event()

    def heard(self, jids: Iterable[str | None]) -> None:
        """A message of this chat has just been decrypted."""
        now = self._clock()
        for jid in filter(None, jids):
            self._heard_at[jid] = now
            self._heard_at.move_to_end(jid)
        while len(self._heard_at) > CHATS:
            self._heard_at.popitem(last=False)

    def connecting(self) -> None:
        """With the next connection comes what waited meanwhile."""
        self._caught_up.clear()

    def caught_up(self) -> None:
        """All of that has come."""
        self._caught_up.set()

    async def wait(self, jids: Iterable[str | None]) -> None:
        """Return in a moment in which nothing arrives from this chat, or after a while."""
        if not self._caught_up.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_CATCH_UP_S):
                    await self._caught_up.wait()
            self._caught_up.set()
        chat = tuple(filter(None, jids))
        deadline = self._clock() + LONGEST_WAIT_S
        while True:
            now = self._clock()
            left_s = min(max((self._heard_at.get(jid, 0.0) for jid in chat), default=0.0) + QUIET_S, deadline) - now
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)
