"""What tenants are told of their endpoints, as events: failing, recovered, disabled, and deliveries that were given up.

The id of each is made of what happened and its number, so however many dispatchers say it, and however often, it is
stored once. Deliveries that were given up are told of at most once in EXHAUSTED_EVERY_S for each endpoint, with how
many there are by then. That an event about an endpoint could not be delivered is never told: two endpoints
that fail would tell of each other for ever.
"""

import asyncio
import contextlib
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from kurir.contracts import events, headers, ids, streams, subjects
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.events import EndpointEvent, EndpointExhausted
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.clock import Clock
from kurir.runtime.logs import get

log = get("kurir.endpoint_events")

SOURCE: Final = "webhook-dispatcher"
EXHAUSTED_EVERY_S: Final = streams.EVENTS.duplicate_window_s  # for as long the stream knows what was told
LOOK_EVERY_S: Final = 10.0


def about(endpoint: Endpoint, what: str, number: int, at: datetime) -> dict[str, Any]:
    """What every event about an endpoint says; `what` and `number` make its id."""
    return {
        "id": ids.endpoint_event_id(endpoint.id, what, number),
        "tenant": endpoint.tenant,
        "device": endpoint.device or subjects.NO_DEVICE,
        "at": at,
        "endpoint": endpoint.id,
        "host": urlsplit(endpoint.url).hostname or "",
    }


async def tell(bus: Bus, event: EndpointEvent) -> None:
    """Store the event. Repeating it is harmless. Raises PublishError."""
    type_ = events.type_of(event)
    attributes = headers.cloudevent(
        id_=event.id, type_=type_, source=SOURCE, time=event.at.isoformat(), subject=event.device
    )
    subject = subjects.event(event.tenant, event.device, type_)
    await bus.publish(subject, events.encode(event), msg_id=event.id, headers=attributes)
    log.info("endpoint.told", type=type_, tenant=event.tenant, endpoint=event.endpoint, id=event.id)


class ExhaustedDeliveries:
    """`note` each one; the first is told of at once, those after it when the time is over."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._told: dict[str, int] = {}  # the period in which each endpoint was told of last
        self._waiting: dict[str, tuple[Endpoint, DeliveryAttempt]] = {}  # the latest of each that was not told of
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._telling = asyncio.create_task(self._tell_what_waits(), name="exhausted-deliveries")

    async def stop(self) -> None:
        """What waits is told with the next one that is given up."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    async def note(self, endpoint: Endpoint, attempt: DeliveryAttempt) -> None:
        """`attempt` was the last one of its delivery, which is in DEAD. Raises PublishError; repeating is harmless."""
        if attempt.event_type in events.ENDPOINT_TYPES:
            return
        if self._told.get(endpoint.id) == self._period():
            self._waiting[endpoint.id] = endpoint, attempt
        else:
            await self._tell(endpoint, attempt)

    def note_soon(self, endpoint: Endpoint, attempt: DeliveryAttempt) -> None:
        """As `note`, for who cannot wait: told within LOOK_EVERY_S, or with the next one if this process dies."""
        if attempt.event_type not in events.ENDPOINT_TYPES:
            self._waiting[endpoint.id] = endpoint, attempt

    def _period(self) -> int:
        return int(self._clock.time()) // EXHAUSTED_EVERY_S

    async def _tell(self, endpoint: Endpoint, attempt: DeliveryAttempt) -> None:
        period = self._period()
        dead = await self._bus.subjects(streams.DEAD.name, subjects.dead("deliveries", endpoint.tenant, endpoint.id))
        event = EndpointExhausted(
            **about(endpoint, "exhausted", period, self._clock.now()),
            dead=sum(dead.values()),
            delivery=attempt.delivery,
            event_id=attempt.event_id,
            event_type=attempt.event_type,
            attempts=attempt.attempt,
            error=attempt.error or "",
            status=attempt.status,
        )
        await tell(self._bus, event)
        self._told[endpoint.id] = period

    async def _tell_what_waits(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            period = self._period()
            self._told = {endpoint: told for endpoint, told in self._told.items() if told == period}
            for identifier, (endpoint, attempt) in list(self._waiting.items()):
                if identifier not in self._told:
                    with contextlib.suppress(PublishError):  # told when the broker is back
                        await self._tell(endpoint, attempt)
                        self._waiting.pop(identifier)
