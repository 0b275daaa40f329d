"""Every endpoint at its own pace, so that none waits for another.

One KeyedConsumer per partition of endpoints; what an endpoint cannot take now waits in its lane, and what it cannot
take at all for a while (see circuits) costs nothing until then. All dispatchers share all partitions.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from kurir.contracts import streams, subjects
from kurir.runtime.broker import Bus
from kurir.runtime.lanes import KeyedConsumer
from kurir.runtime.partitions import partition_of
from kurir.runtime.settlement import Handler

STOP_WITHIN_S: Final = 17.0  # the longest attempt and its record; the grace period is longer

QUEUE_PER_ENDPOINT: Final = 128


class DeliveryWorkers:
    """Works all partitions from `start` to `stop`."""

    def __init__(self, bus: Bus, *, max_in_flight_of: Callable[[str], int]) -> None:
        """`max_in_flight_of`: the requests that an endpoint, given by its id, takes at once."""
        self._bus = bus
        self._max_in_flight_of = max_in_flight_of
        self._consumers: list[KeyedConsumer] = []

    @property
    def lanes(self) -> int:
        """Endpoints that are behind."""
        return sum(len(consumer.open_lanes) for consumer in self._consumers)

    @property
    def held(self) -> int:
        """Deliveries in this process."""
        return sum(consumer.held for consumer in self._consumers)

    async def start(self, handle: Handler) -> None:
        """Begin; `handle` gets each delivery's message and returns or raises as in settlement."""
        self._consumers = [
            KeyedConsumer(
                self._bus,
                stream=streams.DELIVERIES.name,
                consumer=streams.delivery_consumer(partition),
                key_of=subjects.delivery_key,
                lane_subject=_lane_subject,
                lane_filter=subjects.delivery_lanes_of_partition(partition),
                lane_consumer_name=streams.delivery_lane_consumer,
                handle=handle,
                ack_wait_s=streams.DELIVERY_ACK_WAIT_S,
                concurrency_per_key=self._max_in_flight_of,
                # Deep enough for a burst of one endpoint: each delivery that goes through its lane is stored twice.
                queue_per_key=QUEUE_PER_ENDPOINT,
                is_exclusive=False,
            )
            for partition in range(subjects.DELIVERY_PARTITIONS)
        ]
        await asyncio.gather(*(consumer.start() for consumer in self._consumers))

    async def stop(self) -> None:
        """Finish the attempts under way and give back the rest."""
        await asyncio.gather(*(consumer.stop(STOP_WITHIN_S) for consumer in self._consumers))

    def pause(self, endpoint: str) -> None:
        """Begin no more deliveries to this endpoint."""
        self._consumer_of(endpoint).pause(endpoint)

    def resume(self, endpoint: str) -> None:
        """Go on with them."""
        self._consumer_of(endpoint).resume(endpoint)

    def _consumer_of(self, endpoint: str) -> KeyedConsumer:
        return self._consumers[partition_of(endpoint, subjects.DELIVERY_PARTITIONS)]


def _lane_subject(endpoint: str) -> str:
    return subjects.delivery_lane(partition_of(endpoint, subjects.DELIVERY_PARTITIONS), endpoint)
