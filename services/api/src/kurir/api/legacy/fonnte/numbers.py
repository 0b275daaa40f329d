"""The whole numbers that messages get beside their ids, and back from a number to the id.

Exact over all replicas: a block of numbers is one entry of a bucket, and the entry's revision, which the bus gives out
once, is the block's number. The entry keeps the moment that the ids of the block hold, so that an id can be made of
its number again for as long as the bucket keeps it.
"""

import asyncio
import time

import msgspec

from kurir.contracts import ids
from kurir.contracts.records import NumberBlock
from kurir.dialects.fonnte import numbers
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock

BUCKET = "message_numbers"
FRESH_S = 1.0  # a message whose id says that it is older would not be waited for

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NumberBlock).decode


class MessageNumbers:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._lock = asyncio.Lock()
        self._at_ms = 0
        self._free = range(0)
        self._taken_at = -FRESH_S

    async def take(self, count: int) -> list[str]:
        """So many new message ids; `numbers.number_of` tells the number of each. Raises PublishError."""
        taken: list[str] = []
        async with self._lock:
            while len(taken) < count:
                if not self._free or time.monotonic() - self._taken_at >= FRESH_S:
                    await self._take_block()
                now = self._free[: count - len(taken)]
                self._free = self._free[len(now) :]
                taken += [numbers.message_id(number, self._at_ms) for number in now]
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

    async def _take_block(self) -> None:
        at_ms = round(self._clock.time() * 1000)
        began = time.monotonic()
        revision = await keyvalue.put(self._bus, BUCKET, ids.short_id("b_"), _encode(NumberBlock(at_ms=at_ms)))
        self._at_ms, self._taken_at = at_ms, began
        self._free = range(revision * numbers.BLOCK, (revision + 1) * numbers.BLOCK)
