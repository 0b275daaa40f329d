"""Which deliveries to one endpoint are due, behind, or being attempted at this moment, whoever holds them.

What is under way is a message in DELIVERIES until it is settled, so the stream knows, and no dispatcher has to be
asked. Retries that wait for their time are not under way; they have a subject each. Of an endpoint that gets its events
in order, what its consumer has not settled is under way too.
"""

from typing import Final

import msgspec

from kurir.contracts import streams, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.runtime.progress import settled_seq
from kurir.webhook_dispatcher.matching import is_in_order

PAGE: Final = 256


class _Named(msgspec.Struct):
    id: str


_decoder = msgspec.json.Decoder(_Named)


class DeliveriesUnderWay:
    """Asked again and again it reads only what is new."""

    def __init__(self, bus: Bus, endpoint: Endpoint) -> None:
        self._bus = bus
        self._endpoint = endpoint
        partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
        # In this order: what moves from the first to the second between the two looks is seen in the second.
        self._read_up_to = {
            subjects.delivery(partition, endpoint.id): 0,
            subjects.delivery_lane(partition, endpoint.id): 0,
        }
        self._at: dict[str, dict[str, int]] = {subject: {} for subject in self._read_up_to}

    async def has(self, delivery: Delivery) -> bool:
        """Whether a request of this delivery is to be expected without anybody's doing. Raises BrokerUnavailable."""
        is_in_line = self._endpoint.in_order and is_in_order(self._endpoint, delivery.first_at.timestamp())
        if is_in_line and not await self._is_past(delivery.stream_seq):
            return True
        for subject, known in self._at.items():
            await self._read_on(subject)
            seq = known.get(delivery.id)
            if seq is not None:
                if await self._is_stored(subject, seq):
                    return True
                del known[delivery.id]
        return False

    async def _read_on(self, subject: str) -> None:
        while True:
            stored = await self._bus.read_from(streams.DELIVERIES.name, subject, self._read_up_to[subject] + 1, PAGE)
            for one in stored:
                self._at[subject][_decoder.decode(one.data).id] = one.seq
                self._read_up_to[subject] = one.seq
            if len(stored) < PAGE:
                return

    async def _is_stored(self, subject: str, seq: int) -> bool:
        found = await self._bus.read_from(streams.DELIVERIES.name, subject, seq, 1)
        return bool(found) and found[0].seq == seq

    async def _is_past(self, stream_seq: int) -> bool:
        consumer = streams.in_order_consumer(self._endpoint.id)
        settled = await settled_seq(self._bus, streams.EVENTS.name, consumer)
        return settled is None or stream_seq <= settled
