"""When a shard process has served long enough and a fresh one takes its place. Pure; supervisor.py asks and acts.

neonize never closes the store of a client that it stops, so every connection that ends leaves descriptors and memory
behind for good, and only a new process gets rid of them. What grows unseen is met by age.
"""

import random
from collections import deque
from typing import Literal, NamedTuple, get_args

Reason = Literal["age", "closed_clients", "descriptors", "memory"]
REASONS: tuple[str, ...] = get_args(Reason)

AGE_JITTER = 0.2  # shards that started together must not all fall due together
LOOKS = 6  # memory counts as used when this many looks in a row find it so: uploads of large media come and go
AGAIN_AFTER_S = 600.0  # limits that a fresh process exceeds at once must not keep its devices moving


class Limits(NamedTuple):
    """0 is off. `memory` and `descriptors` are of a whole process, `closed_clients` since its start."""

    age_s: float
    closed_clients: int
    descriptors: int
    memory_bytes: int


class Vitals(NamedTuple):
    """How a shard is at one moment. `closed_clients`: sessions that its engines opened and closed again."""

    age_s: float
    closed_clients: int
    descriptors: int
    memory_bytes: int


class Watch:
    """Over one shard process. `jitter` in 0..1 replaces the random one."""

    def __init__(self, limits: Limits, jitter: float | None = None) -> None:
        self._limits = limits
        self._max_age_s = limits.age_s * (1 + AGE_JITTER * (2 * (random.random() if jitter is None else jitter) - 1))
        self._memory: deque[int] = deque(maxlen=LOOKS)

    def look(self, vitals: Vitals) -> Reason | None:
        """Why this shard is to be replaced, None if it is not."""
        limits = self._limits
        self._memory.append(vitals.memory_bytes)
        if 0 < limits.closed_clients <= vitals.closed_clients:
            return "closed_clients"
        if 0 < limits.descriptors <= vitals.descriptors:
            return "descriptors"
        if len(self._memory) == LOOKS and 0 < limits.memory_bytes <= min(self._memory):
            return "memory"
        if 0 < self._max_age_s <= vitals.age_s:
            return "age"
        return None
