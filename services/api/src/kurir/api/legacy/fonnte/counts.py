"""How many messages went out and came in, as the event stream counts them: those of the last seven days, exactly."""

from collections import Counter

from kurir.contracts import streams, subjects
from kurir.runtime.broker import Bus

SENT = "send.message.sending"
RECEIVED = "messages.upsert"


class MessageCounts:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def of(self, tenant: str, type_: str, device: str = "*") -> Counter[str]:
        """By device. Raises BrokerUnavailable."""
        found = await self._bus.subjects(streams.EVENTS.name, subjects.event(tenant, device, type_))
        return Counter({subjects.parse_event(subject).device: count for subject, count in found.items()})
