"""Clears away deliveries, and orders of replays, that a killed nats-server has back although they were acknowledged.

They would count as waiting and hold off replays. They are looked for at the start and after each reconnect, until
nothing is there that is older: what is acknowledged above the floor of a consumer shows when the floor has risen. Those
in lanes are cleared by who works the lane.
"""

from typing import Final

from kurir.contracts import streams
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.leftovers import clear_acknowledged
from kurir.runtime.logs import get
from kurir.runtime.progress import last_seq
from kurir.webhook_dispatcher.lookout import Lookout

log = get("kurir.leftovers")

LOOK_EVERY_S: Final = 10.0

CONSUMERS: Final = {
    spec.name: spec.filter_subject for spec in streams.CONSUMERS if spec.stream == streams.DELIVERIES.name
}
"""Those that never end, with what each is for."""


class Leftovers:
    """Looks from `start` to `stop`. Several dispatchers may."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._is_news = True  # the server may have been killed since we looked
        self._suspected: dict[str, int] = {}  # by consumer: the end of the stream when the server was back
        self._lookout = Lookout("leftovers", self._look_if_possible, every_s=LOOK_EVERY_S)
        self._forget = bus.on_reconnect(self._note)

    async def start(self) -> None:
        self._lookout.start()

    async def stop(self) -> None:
        self._forget()
        await self._lookout.stop()

    async def _note(self) -> None:
        self._is_news = True

    async def _look_if_possible(self) -> None:
        try:
            await self._look()
        except PublishError as error:
            log.warning("leftovers.unknown", error=str(error))

    async def _look(self) -> None:
        stream = streams.DELIVERIES.name
        if self._is_news:
            end = await last_seq(self._bus, stream)
            self._is_news = False
            self._suspected = dict.fromkeys(CONSUMERS, end)
        for consumer, end in list(self._suspected.items()):
            oldest = await clear_acknowledged(self._bus, stream, consumer, CONSUMERS[consumer])
            if oldest is None or oldest > end:
                del self._suspected[consumer]
