"""When a failed delivery is tried again. Pure.

The default is that of the Standard Webhooks specification with one quick repeat in front, over three days in all.
"""

import random

DEFAULT_DELAYS_S: tuple[float, ...] = (
    1,
    5,
    30,
    5 * 60,
    30 * 60,
    2 * 3600,
    5 * 3600,
    10 * 3600,
    14 * 3600,
    20 * 3600,
    24 * 3600,
)
"""Seconds between the end of attempt n and attempt n+1. The first repeat is for what is over at once: a connection
that the receiver had just closed, one worker of it that was just being replaced."""

JITTER = 0.1
"""Up to this much is added, so that what failed together does not come back together. Never taken away: a receiver
that asked for time gets it."""


def delay_s(
    delays_s: tuple[float, ...], attempt: int, retry_after_s: float | None, chance: float | None = None
) -> float | None:
    """Seconds from attempt number `attempt` (from 1) to the next, or None when there is none.

    What the receiver asked for counts when it is longer. `chance` in [0, 1) places the jitter; absent it is random.
    """
    if attempt > len(delays_s):
        return None
    at_least = max(delays_s[attempt - 1], retry_after_s or 0.0)
    return at_least * (1 + JITTER * (random.random() if chance is None else chance))


IN_ORDER_LONGEST_S = 60.0
"""A head of line is tried again at least this often: everything behind it waits."""


def in_order_delay_s(
    delays_s: tuple[float, ...], attempt: int, retry_after_s: float | None, chance: float | None = None
) -> float:
    """As `delay_s`, for an event that holds up others: without an end, and never long unless the receiver asks."""
    usual_s = delays_s[min(attempt, len(delays_s)) - 1] if delays_s else 1.0
    at_least = max(min(usual_s, IN_ORDER_LONGEST_S), retry_after_s or 0.0)
    return at_least * (1 + JITTER * (random.random() if chance is None else chance))


def parse_delays(text: str) -> tuple[float, ...]:
    """Read delays in seconds, parted by commas: `1,5,30`. Empty means no retries. Raises ValueError."""
    delays = tuple(float(part) for part in text.split(",") if part.strip())
    if any(not 0 <= delay <= 30 * 24 * 3600 for delay in delays):
        raise ValueError("retry delays are seconds from 0 to 30 days")
    return delays
