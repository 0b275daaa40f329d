"""What one process holds for one key: its waiting messages, the one in work, its lane if it has one."""

import asyncio
from collections import deque

from kurir.runtime.incoming import Incoming
from kurir.runtime.pulling import Pull


class Held:
    """A delivered message that is not settled yet. `message` is its newest delivery."""

    __slots__ = ("attempts", "is_from_lane", "message", "seq")

    def __init__(self, message: Incoming, *, is_from_lane: bool) -> None:
        self.message = message
        self.seq = message.stream_seq
        self.is_from_lane = is_from_lane
        self.attempts = 0


class Lane:
    """The lane of one key while it is open. Newer messages of the key go to its end.

    `oldest` is set for a lane found at the start: the sequence its first message had in the partition. Messages
    before that are still to come from the partition and go first; until they did, `is_gated`. `leftovers_at`: when to
    look next for messages that stand in it though they were acknowledged, by the clock of the loop.
    """

    def __init__(self, oldest: int | None = None) -> None:
        self.oldest = oldest
        self.is_gated = oldest is not None
        self.unspilled = 0  # messages on their way into the lane
        self.spilled = 0  # messages that arrived in it, for noticing that some did
        self.pump: asyncio.Task[None] | None = None
        self.pull: Pull | None = None
        self.leftovers_at = 0.0


class KeyWork:
    def __init__(self, key: str) -> None:
        self.key = key
        self.queue: deque[Held] = deque()
        self.running: set[asyncio.Task[None]] = set()
        self.in_work: set[Held] = set()  # inside the handler at this moment
        self.is_paused = False
        self.lane: Lane | None = None
        self.changed = asyncio.Event()  # wakes a head that waits for its next attempt

    @property
    def is_idle(self) -> bool:
        return not self.queue and not self.running
