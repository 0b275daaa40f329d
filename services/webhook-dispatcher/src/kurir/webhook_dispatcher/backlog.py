"""What waits, for operators: how far each consumer is behind, and how old the oldest event is that was not delivered.

Asked of the server every LOOK_EVERY_S, so every dispatcher tells the same; what it could not ask keeps its last figure.
"""

from datetime import datetime
from typing import Final

import msgspec

from kurir.contracts import streams, subjects
from kurir.runtime.broker import Bus, PublishError, Stored
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.runtime.progress import pending, settled_until
from kurir.webhook_dispatcher.lookout import Lookout
from kurir.webhook_dispatcher.measures import Measures

log = get("kurir.backlog")

LOOK_EVERY_S: Final = 5.0

CONSUMERS: Final = (
    (streams.EVENTS.name, streams.FANOUT_CONSUMER),
    *((streams.DELIVERIES.name, streams.delivery_consumer(p)) for p in range(subjects.DELIVERY_PARTITIONS)),
)
WAITING: Final = {
    "due": "kurir.dlv.>",
    "lane": "kurir.dlvlane.>",
    "retry": "kurir.dlvretry.>",
}
"""Where deliveries wait: for a dispatcher, for their endpoint, for their time."""


class _Waiting(msgspec.Struct):
    first_at: datetime


_decoder = msgspec.json.Decoder(_Waiting)


class Backlog:
    """Looks from `start` to `stop`."""

    def __init__(self, bus: Bus, clock: Clock, measures: Measures) -> None:
        self._bus = bus
        self._clock = clock
        self._measures = measures
        self._oldest: dict[str, int] = {}  # by subject; what comes later to wait there stands behind it
        self._lookout = Lookout("backlog", self._look_if_possible, every_s=LOOK_EVERY_S)

    async def start(self) -> None:
        self._lookout.start()

    async def stop(self) -> None:
        await self._lookout.stop()

    async def _look_if_possible(self) -> None:
        try:
            await self.look()
        except (PublishError, msgspec.DecodeError) as error:
            log.warning("backlog.unknown", error=str(error))

    async def look(self) -> None:
        """Raises PublishError."""
        for stream, consumer in CONSUMERS:
            self._measures.consumer_pending.set(await pending(self._bus, stream, consumer), consumer=consumer)
        now = self._clock.time()
        oldest_event = await settled_until(self._bus, streams.EVENTS.name, streams.FANOUT_CONSUMER, "kurir.evt.>")
        self._measures.oldest.set(max(0.0, now - oldest_event), waiting="fanout")
        for waiting, subject in WAITING.items():
            stored = await self._oldest_of(subject)
            first_at = _decoder.decode(stored.data).first_at.timestamp() if stored is not None else now
            self._measures.oldest.set(max(0.0, now - first_at), waiting=waiting)

    async def _oldest_of(self, subject: str) -> Stored | None:
        """Asked for from where the oldest was at the last look: from the beginning the server reads every subject there
        is, 0.4 s of a million retries, and nothing is stored or delivered meanwhile."""
        first = await self._bus.first_from(streams.DELIVERIES.name, ">", 1)
        if first is None:
            return None
        if not first.subject.startswith(subject.removesuffix(">")):
            after = max(first.seq + 1, self._oldest.get(subject, 0))
            first = await self._bus.first_from(streams.DELIVERIES.name, subject, after)
        if first is not None:
            self._oldest[subject] = first.seq
        return first
