"""Which deliveries to one endpoint are due, behind, or being attempted at this moment, or still to be made of events.

What is under way is a message in DELIVERIES until it is settled, so the stream knows, and no dispatcher has to be
asked. Retries that wait for their time are not under way; they have a subject each. Of an endpoint that gets its events
in order, what its consumer has not settled is under way too; of others, what was not fanned out when somebody asked.
"""

from typing import Final

import msgspec

from kurir.contracts import streams, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.runtime.progress import settled_seq
from kurir.webhook_dispatcher.matching import hears, is_in_order, wants

PAGE: Final = 256


class _Named(msgspec.Struct):
    id: str
    generation: int


_decoder = msgspec.json.Decoder(_Named)


class DeliveriesUnderWay:
    """Asked again and again it reads only what is new."""

    def __init__(self, bus: Bus, endpoint: Endpoint, fanned_out: int | None) -> None:
        """Events behind the sequence `fanned_out` become deliveries by themselves."""
        self._bus = bus
        self._endpoint = endpoint
        self._fanned_out = fanned_out
        partition = partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS)
        # In this order: what moves from the first to the second between the two looks is seen in the second.
        self._read_up_to = {
            subjects.delivery(partition, endpoint.id): 0,
            subjects.delivery_lane(partition, endpoint.id): 0,
        }
        self._at: dict[str, dict[str, tuple[int, int]]] = {subject: {} for subject in self._read_up_to}

    async def generation(self, delivery: Delivery) -> int | None:
        """Of which generation a request of this delivery is to be expected without anybody's doing; None: of none.

        Raises BrokerUnavailable.
        """
        is_in_line = is_in_order(self._endpoint, delivery.first_at.timestamp())
        if is_in_line and self._endpoint.in_order and not await self._is_past(delivery.stream_seq):
            return 0
        if not is_in_line and self._is_to_be_fanned_out(delivery):
            return 0
        for subject, known in self._at.items():
            await self._read_on(subject)
            if delivery.id in known:
                seq, generation = known[delivery.id]
                if await self._is_stored(subject, seq):
                    return generation
                del known[delivery.id]
        return None

    def _is_to_be_fanned_out(self, delivery: Delivery) -> bool:
        return (
            self._fanned_out is not None
            and delivery.stream_seq > self._fanned_out
            and wants(self._endpoint, delivery.device, delivery.event_type)
            and hears(self._endpoint, delivery.event_type, bytes(delivery.event))
        )

    async def _read_on(self, subject: str) -> None:
        while True:
            stored = await self._bus.read_from(streams.DELIVERIES.name, subject, self._read_up_to[subject] + 1, PAGE)
            for one in stored:
                found = _decoder.decode(one.data)
                self._at[subject][found.id] = one.seq, found.generation
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
