"""Live events on their way to one follower, over server-sent events or a websocket.

A follower that takes nothing for STALL_S is told so as soon as it reads on, with the id to resume from, and let go;
it never holds more than what its connection buffers.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal

from kurir.api.live.following import POSITION, Told, closing
from kurir.runtime.broker import BrokerUnavailable

STALL_S = 20.0  # a phone that changes networks is back sooner
LAST_WORDS_S = 20.0  # for whoever reads on after that

Reason = Literal["slow_reader", "restarting", "key_revoked", "unavailable"]
Write = Callable[[bytes], Awaitable[None]]


async def tell(
    events: AsyncGenerator[Told],
    write: Write,
    form: Callable[[Told], bytes],
    is_welcome: Callable[[], bool],
) -> Reason:
    """Write what `events` bring until they end, the follower stalls, or is no longer welcome (asked now and then).

    `write` must write all of its argument or, when it is cancelled, nothing: then nothing is doubled on resuming.
    """
    position: int | None = None
    reason: Reason = "restarting"
    async with contextlib.aclosing(events) as told_events:
        try:
            async for told in told_events:
                if told.event == POSITION and not is_welcome():
                    reason = "key_revoked"
                    break
                async with asyncio.timeout(STALL_S):
                    await write(form(told))
                position = told.seq
        except TimeoutError:
            reason = "slow_reader"
        except BrokerUnavailable:
            reason = "unavailable"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            await write(form(closing(position, reason)))
    return reason


def server_sent(told: Told) -> bytes:
    """WHATWG HTML, server-sent events. A block without data sets the last event id and nothing else."""
    if told.event == POSITION:
        return b"id: %d\n\n" % told.seq
    return b"event: %s\nid: %d\ndata: %s\n\n" % (told.event.encode(), told.seq, told.body)


def message(told: Told) -> bytes:
    """The same as one JSON text: a webhook's body with the id before it."""
    return b'{"id":"%d",' % told.seq + told.body[1:]
