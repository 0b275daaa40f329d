"""Received messages that the history does not have yet, from the stream: their webhook may be a moment ahead of it.

An id that is in neither costs one read of what the tenant received in the last seconds, one at a time for each tenant.
"""

import asyncio
from weakref import WeakValueDictionary

from kurir.api.messages.store import LIST_TYPES
from kurir.contracts import events, headers, ids, streams, subjects
from kurir.contracts.events import AnyEvent
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock

RECEIVED_TYPE = LIST_TYPES["inbound"]
RECENT_S = 5.0  # the history is written within a second
MAX_READ = 500  # a tenant that receives more than 100 messages a second finds some of them in the history alone


class JustReceived:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._turns = WeakValueDictionary[str, asyncio.Lock]()

    async def facts(self, tenant: str, message_id: str) -> list[AnyEvent]:
        """The event of a message that the tenant received just now; [] when there is none. Raises BrokerUnavailable."""
        if not ids.is_inbound_message_id(message_id):
            return []
        return await self.beginning(tenant, ids.status_event_id(message_id, "received"))

    async def beginning(self, tenant: str, beginning: str) -> list[AnyEvent]:
        """The events of messages whose ids begin so, and that the tenant received just now. Raises as `facts`."""
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        async with turn:
            found = await self._bus.read_from(
                streams.EVENTS.name,
                subjects.event(tenant, "*", RECEIVED_TYPE),
                1,
                MAX_READ,
                since=self._clock.time() - RECENT_S,
            )
        told = [
            events.decode(RECEIVED_TYPE, stored.data)
            for stored in found
            if stored.headers.get(headers.MSG_ID, "").startswith(beginning)
        ]
        return [fact for fact in told if fact is not None]
