"""What was told of a webhook: that it fails, recovered, gave events up or is disabled.

Read from the event stream, which keeps a week, so that it is there while the history is not.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from kurir.api.auth import Caller
from kurir.api.webhooks.schemas import WebhookEventView
from kurir.api.webhooks.service import Webhooks
from kurir.contracts import events, streams, subjects
from kurir.contracts.events import EndpointEvent
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock

MOST: Final = 100
PAGE: Final = 1_000


class ToldOfWebhooks:
    def __init__(self, bus: Bus, clock: Clock, webhooks: Webhooks) -> None:
        self._bus = bus
        self._clock = clock
        self._webhooks = webhooks

    async def all(self, caller: Caller, webhook_id: str) -> list[WebhookEventView]:
        """The latest MOST, newest first. Raises Problem WEBHOOK_NOT_FOUND; BrokerUnavailable."""
        endpoint = self._webhooks.get(caller, webhook_id)
        found: list[EndpointEvent] = []
        # Under whatever device it was bound to then.
        subject = subjects.event(endpoint.tenant, "*", "endpoint.*")
        since: float | None = max(endpoint.created_at, self._a_week_ago()).timestamp()
        position = 0
        while True:
            stored = await self._bus.read_from(streams.EVENTS.name, subject, position + 1, PAGE, since=since)
            for one in stored:
                event = events.decode(subjects.parse_event(one.subject).type, one.data)
                if isinstance(event, EndpointEvent) and event.endpoint == endpoint.id:
                    found.append(event)
            del found[:-MOST]
            if len(stored) < PAGE:
                return [_view_of(event) for event in reversed(found)]
            position, since = stored[-1].seq, None

    def _a_week_ago(self) -> datetime:
        return self._clock.now() - timedelta(seconds=streams.EVENTS.max_age_s)


def _view_of(event: EndpointEvent) -> WebhookEventView:
    said: dict[str, Any] = {name: getattr(event, name, None) for name in WebhookEventView.__struct_fields__}
    return WebhookEventView(**{**said, "event": events.type_of(event)})
