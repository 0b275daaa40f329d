"""Following a subject of a stream from any point on, without a consumer: what is stored, then what comes.

Guarantees order, and that nothing is lost or doubled from the sequence on that the caller names, whatever is
restarted: every message is read from the stream by its sequence. What is heard on the bus only says when to look.
"""

import asyncio
import contextlib
from typing import Self

import nats.errors
from nats.aio.msg import Msg

from kurir.runtime.broker import BrokerUnavailable, Bus, Stored

# A message is heard a moment before it is stored, and on a cluster the server that answers may store it later still.
LOOK_AGAIN_AFTER_S = (0.002, 0.01, 0.05, 0.2, 1.0)
AWAY_PAUSE_S = 0.5


class Tail:
    """`async with Tail(bus, stream, subject) as tail`, then `after`, by one task."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        """`subject` may hold wildcards."""
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._news = asyncio.Event()
        self._is_ended = False

    async def __aenter__(self) -> Self:
        """Raises BrokerUnavailable."""
        try:
            self._subscription = await self._bus.nc.subscribe(self._subject, cb=self._heard)
        except nats.errors.Error as error:
            raise BrokerUnavailable(f"cannot listen: {error!r}", outcome_unknown=False) from error
        self._forget = self._bus.on_reconnect(self._reconnected)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forget()
        with contextlib.suppress(nats.errors.Error):
            await self._subscription.unsubscribe()

    async def after(self, seq: int, *, limit: int, wait_s: float) -> list[Stored]:
        """Up to `limit` messages behind sequence `seq`, as soon as there are any; [] when none came in `wait_s`.

        An outage of the server is waited out. [] also after `end`.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        looks = 0
        while True:
            self._news.clear()
            try:
                found = await self._bus.read_from(self._stream, self._subject, seq + 1, limit)
            except BrokerUnavailable:
                found, looks = [], 0
                await asyncio.sleep(min(AWAY_PAUSE_S, max(0.0, end - loop.time())))
            if found or self._is_ended or loop.time() >= end:
                return found
            pause_s = LOOK_AGAIN_AFTER_S[looks] if looks < len(LOOK_AGAIN_AFTER_S) else wait_s
            try:
                async with asyncio.timeout_at(min(end, loop.time() + pause_s)):
                    await self._news.wait()
                looks = 0
            except TimeoutError:
                looks += 1

    def end(self) -> None:
        """Let `after` return now and ever after."""
        self._is_ended = True
        self._news.set()

    async def _heard(self, _: Msg) -> None:
        self._news.set()

    async def _reconnected(self) -> None:
        self._news.set()


async def bounds(bus: Bus, stream: str) -> tuple[int, int]:
    """The first and the last sequence that a stream holds; an empty one's first is behind its last.

    Raises BrokerUnavailable.
    """
    try:
        state = (await bus.js.stream_info(stream)).state
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"{stream} cannot be asked: {error!r}", outcome_unknown=False) from error
    return state.first_seq, state.last_seq
