"""Moving messages from a partition into lanes: stored there first, acknowledged here after, in order.

A repeat is harmless: the message id is made of the message's sequence in the partition. Order within a lane
holds on one connection to one stream leader; each burst begins with a single message, so that a stream which
is just coming up cannot refuse the first and take the second.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from kurir.contracts import headers
from kurir.runtime.broker import BacklogFull, Bus, Incoming, Outgoing, PubAck, PublishError
from kurir.runtime.keyed_work import Held, KeyWork
from kurir.runtime.logs import get
from kurir.runtime.publishing import PIPELINE

log = get("kurir.lanes")

AGAIN_S: Final = 0.5


class Spill:
    """`moved` is called for each message that arrived in its lane, `refused` for each the lane has no room for."""

    def __init__(
        self,
        bus: Bus,
        lane_subject: Callable[[str], str],
        moved: Callable[[KeyWork, Held], None],
        refused: Callable[[KeyWork, Held], None],
    ) -> None:
        self._bus, self._lane_subject = bus, lane_subject
        self._moved, self._refused = moved, refused
        self._waiting: deque[tuple[KeyWork, Held]] = deque()  # bounded by what the consumer holds
        self._wanted = asyncio.Event()

    def add(self, work: KeyWork, held: Held) -> None:
        """Move this message after all that were added before."""
        assert work.lane is not None
        work.lane.unspilled += 1
        self._waiting.append((work, held))
        self._wanted.set()

    async def run(self) -> None:
        """Move messages until cancelled."""
        while True:
            await self._wanted.wait()
            if not self._waiting:
                self._wanted.clear()
                continue
            burst = [self._waiting.popleft() for _ in range(min(PIPELINE, len(self._waiting)))]
            left = burst
            try:
                left = await self._move(burst)
            except Exception:
                log.exception("lane.spill_failed")
            finally:
                self._waiting.extendleft(reversed(left))
            if left:
                await asyncio.sleep(AGAIN_S)

    async def _move(self, burst: list[tuple[KeyWork, Held]]) -> list[tuple[KeyWork, Held]]:
        """Returns what could not be moved now, in order."""
        outgoing = [spilled(held.message, self._lane_subject(work.key)) for work, held in burst]
        results = await self._bus.publish_many(outgoing[:1])
        if not isinstance(results[0], PublishError) or isinstance(results[0], BacklogFull):
            results += await self._bus.publish_many(outgoing[1:])
        left = burst[len(results) :]
        failed: list[tuple[KeyWork, Held]] = []
        for (work, held), result in zip(burst, results, strict=False):
            if isinstance(result, PubAck | BacklogFull):
                assert work.lane is not None
                work.lane.unspilled -= 1
                work.lane.spilled += 1
                (self._moved if isinstance(result, PubAck) else self._refused)(work, held)
            else:
                log.warning("lane.spill_failed", key=work.key, error=str(result))
                failed.append((work, held))
        return failed + left


def spilled(message: Incoming, lane_subject: str) -> Outgoing:
    """The message as it goes into its lane: same body and headers, and where it came from."""
    kept = {name: value for name, value in message.headers.items() if not name.startswith("Nats-")}
    kept[headers.ORIGIN_SEQUENCE] = str(message.stream_seq)
    kept[headers.ORIGIN_SUBJECT] = message.subject
    return Outgoing(lane_subject, message.data, f"lane:{message.stream}:{message.stream_seq}", kept)
