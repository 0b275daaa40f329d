"""The whole numbers that messages get beside their ids, and back from a number to the id.

Exact over all replicas: a block of numbers is one entry of a bucket, and the entry's revision, which the bus gives out
once, is the block's number. The entry keeps the moment that the ids of the block hold, so that an id can be made of
its number again for as long as the bucket keeps it.
"""

import asyncio
import time
from collections import deque

import msgspec

from kurir.contracts import ids
from kurir.contracts.records import NumberBlock
from kurir.dialects.fonnte import numbers
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, Outgoing, PubAck, PublishError
from kurir.runtime.clock import Clock

BUCKET = "message_numbers"
FRESH_S = 1.0  # a message whose id says that it is older would not be waited for
MAX_BLOCKS = 64  # at once: a thousand messages
TIMEOUT_S = 5.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NumberBlock).decode


class MessageNumbers:
    """Takes a block for the first message, and more at once the faster they are used up."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._lock = asyncio.Lock()
        self._free: deque[int] = deque()
        self._at_ms = 0
        self._taken_at = -FRESH_S
        self._blocks = 1

    async def take(self, count: int) -> list[str]:
        """So many new message ids; `numbers.number_of` tells the number of each. Raises PublishError."""
        taken = self._given(count) if self._is_fresh() else []
        while len(taken) < count:
            async with self._lock:
                if not self._free or not self._is_fresh():  # nobody was faster
                    await self._take_blocks(count - len(taken))
                taken += self._given(count - len(taken))
        return taken

    async def message_id(self, number: int) -> str | None:
        """The id of the message with this number; None when there is none, or it is too old. Raises BrokerUnavailable.

        That a number was given out says nothing of whose message it is.
        """
        if not numbers.BLOCK <= number <= numbers.MAX_NUMBER:
            return None
        revision = number // numbers.BLOCK
        found = await self._bus.read_from(keyvalue.stream_of(BUCKET), keyvalue.subjects_of(BUCKET), revision, 1)
        if not found or found[0].seq != revision:
            return None
        return numbers.message_id(number, _decode(found[0].data).at_ms)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._taken_at < FRESH_S

    def _given(self, count: int) -> list[str]:
        """Up to so many of those that are free."""
        given = [self._free.popleft() for _ in range(min(count, len(self._free)))]
        return [numbers.message_id(number, self._at_ms) for number in given]

    async def _take_blocks(self, count: int) -> None:
        began, at_ms = time.monotonic(), round(self._clock.time() * 1000)
        was_used_up = not self._free and self._is_fresh()
        self._blocks = min(self._blocks * 2, MAX_BLOCKS) if was_used_up else 1
        wanted = min(max(self._blocks, -(-count // numbers.BLOCK)), MAX_BLOCKS)
        body = _encode(NumberBlock(at_ms=at_ms))
        blocks = [Outgoing(keyvalue.subject_of(BUCKET, ids.short_id("b_")), body) for _ in range(wanted)]
        answers = await self._bus.publish_many(blocks, TIMEOUT_S)
        revisions = [answer.seq for answer in answers if isinstance(answer, PubAck)]
        if not revisions:
            raise next(answer for answer in answers if isinstance(answer, PublishError))
        self._at_ms, self._taken_at = at_ms, began
        self._free = deque(
            number for one in revisions for number in range(one * numbers.BLOCK, (one + 1) * numbers.BLOCK)
        )
