"""Counters that are exact across all replicas: one confirmed publish adds, and its answer carries the sum.

They are JetStream counters (ADR-49). A RateLimit has one subject per scope, tenant, key and window and is never taken
back: a hit over the limit is counted too, which changes nothing until the window ends. When NATS is away nothing is
counted and nothing is allowed: callers get PublishError, as for everything that needs NATS.
"""

import time

import msgspec
from msgspec import Struct

from kurir.contracts import headers, streams, subjects
from kurir.runtime.broker import Bus

TIMEOUT_S = 5.0


class Allowance(Struct, frozen=True):
    """The answer of a limit: `limit` per window, how many `remaining` in it, and its end in Unix seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: int


class _Total(Struct, frozen=True):
    """The body that the server gives a counter's message: the sum as text, for it may exceed 64 bits."""

    val: str


_decode_total = msgspec.json.Decoder(_Total).decode


def window_start(now: float, size_s: int) -> int:
    """Unix seconds at which the fixed window of `size_s` seconds around `now` began; equal on every replica."""
    return int(now) // size_s * size_s


async def add(bus: Bus, stream: str, subject: str, by: int, *, msg_id: str | None = None) -> int:
    """Add to the counter `subject` of `stream` and return the new sum.

    A repeat with the same `msg_id`, inside the stream's duplicate window, adds nothing and returns the sum that the
    first one got, or a later one when many have followed. Message ids are shared by all counters of a stream, so name
    the counter in it. Raises PublishError.
    """
    ack = await bus.publish(subject, b"", msg_id=msg_id, headers={headers.INCREMENT: f"{by:+d}"}, timeout_s=TIMEOUT_S)
    if ack.value is not None:
        return ack.value
    # A duplicate's answer has no sum, but the sequence of the message that the first one made.
    stored = await bus.read_from(stream, subject, ack.seq, 1)
    return int(_decode_total(stored[0].data).val) if stored else 0


async def total(bus: Bus, stream: str, subject: str) -> int:
    """The sum of a counter; 0 for one that was never added to. Raises BrokerUnavailable."""
    stored = await bus.last_by_subject(stream, subject, timeout_s=TIMEOUT_S)
    return int(_decode_total(stored.data).val) if stored is not None else 0


async def increment(
    bus: Bus, scope: str, tenant: str, key: str, window: int, *, by: int = 1, msg_id: str | None = None
) -> int:
    """`add` to the counter of the window that began at `window` (Unix seconds)."""
    return await add(bus, streams.COUNTERS.name, subjects.counter(scope, tenant, key, window), by, msg_id=msg_id)


class RateLimit:
    """So many hits per fixed window, for all replicas together. `scope` names the limit, e.g. `accept`."""

    def __init__(self, bus: Bus, scope: str, *, window_s: int) -> None:
        self._bus = bus
        self._scope = scope
        self._window_s = window_s

    async def hit(
        self, tenant: str, key: str, limit: int, *, msg_id: str | None = None, now: float | None = None
    ) -> Allowance:
        """Count one hit and say whether it is within `limit`; `now` in Unix seconds, by default the time it is.

        With `msg_id` a repeated hit counts once and gets the same answer. Raises PublishError.
        """
        window = window_start(time.time() if now is None else now, self._window_s)
        count = await increment(self._bus, self._scope, tenant, key, window, msg_id=msg_id)
        return Allowance(
            allowed=count <= limit,
            limit=limit,
            remaining=max(0, limit - count),
            reset_at=window + self._window_s,
        )
