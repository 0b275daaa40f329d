"""Kills dispatchers, nats-server and the MongoDB server with SIGKILL at moments that a seed decides.

Each victim has its own sequence of lives and outages, so several may be away together.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

Victim = Literal["dispatcher", "nats-server", "mongo"]

LIVES_S: dict[Victim, tuple[float, float]] = {
    "dispatcher": (6.0, 14.0),
    "nats-server": (8.0, 18.0),
    "mongo": (8.0, 18.0),
}
"""How long each lives, from its start to its death, at least and at most."""

AWAY_S: dict[Victim, tuple[float, float]] = {
    "dispatcher": (0.0, 3.0),
    "nats-server": (0.0, 2.0),
    "mongo": (0.0, 8.0),
}
"""How long each is away before it is started again."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One victim's absence, from the signal until it served again. Unix seconds.

    `knew_until`: what the victim was told before that, it had written down, and still knew when it came back.
    """

    victim: Victim
    name: str
    at: float
    back_at: float
    knew_until: float

    def __str__(self) -> str:
        return f"{self.name} {self.at:.3f} to {self.back_at:.3f}"


async def killing(
    victim: Victim,
    name: str,
    kill: Callable[[], Awaitable[None]],
    start: Callable[[], Awaitable[None]],
    *,
    seed: str,
    until: float,
    knew_until: Callable[[], float] = time.time,
) -> list[Kill]:
    """Kill and start one victim again and again until the monotonic time `until`; it is alive at the end.

    `knew_until` is asked of the dead.
    """
    chance = random.Random(f"{seed}/{name}")
    kills: list[Kill] = []
    # The first death may come at any moment of a life.
    lives_s = chance.uniform(0.0, LIVES_S[victim][1])
    while time.monotonic() + lives_s < until:
        await asyncio.sleep(lives_s)
        await kill()
        at, knew = time.time(), knew_until()
        await asyncio.sleep(chance.uniform(*AWAY_S[victim]))
        await start()
        kills.append(Kill(victim, name, at, time.time(), knew))
        lives_s = chance.uniform(*LIVES_S[victim])
    return kills
