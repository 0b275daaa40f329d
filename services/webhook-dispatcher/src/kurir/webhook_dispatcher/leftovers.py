"""Deliveries that were acknowledged and stand in DELIVERIES all the same: a nats-server that was killed may know their
acknowledgements, and have the messages back.

Nobody gets them again, so they would stand there for ever, count as waiting, and hold off replays. What lies below the
floor under which a consumer has acknowledged everything is deleted. Lanes end, and are not looked at.
"""

import asyncio
import contextlib
from typing import Final

from kurir.contracts import streams, subjects
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.logs import get
from kurir.runtime.progress import acknowledged_seq

log = get("kurir.leftovers")

LOOK_EVERY_S: Final = 10.0
PAGE: Final = 256


class Leftovers:
    """Looks from `start` to `stop`. Several dispatchers may."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._looking: asyncio.Task[None] | None = None
        self._is_stopping = asyncio.Event()

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look_again_and_again(), name="leftovers")

    async def stop(self) -> None:
        self._is_stopping.set()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_again_and_again(self) -> None:
        while not self._is_stopping.is_set():
            try:
                for partition in range(subjects.DELIVERY_PARTITIONS):
                    await self._clear(partition)
            except PublishError as error:
                log.warning("leftovers.unknown", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), LOOK_EVERY_S)

    async def _clear(self, partition: int) -> None:
        # The floor first: what lies below it was acknowledged by then, whatever is stored or removed meanwhile.
        floor = await acknowledged_seq(self._bus, streams.DELIVERIES.name, streams.delivery_consumer(partition))
        subject = subjects.deliveries_of_partition(partition)
        while True:
            stored = await self._bus.read_from(streams.DELIVERIES.name, subject, 1, PAGE)
            left_over = [one.seq for one in stored if one.seq <= floor]
            for seq in left_over:
                await self._bus.delete_message(streams.DELIVERIES.name, seq)
            if left_over:
                log.warning("leftovers.deleted", partition=partition, count=len(left_over), last=left_over[-1])
            if len(left_over) < PAGE:
                return
