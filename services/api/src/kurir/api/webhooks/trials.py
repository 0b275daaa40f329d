"""Trying out a webhook: a sample event is sent to it now, and the answer tells how that went."""

import msgspec

from kurir.api.auth import Caller
from kurir.api.problems import UNAVAILABLE_RETRY_AFTER_S, Problem
from kurir.api.questions import problem_of_refusal
from kurir.api.webhooks.attempts import AttemptView, view_of
from kurir.api.webhooks.schemas import NewTest
from kurir.api.webhooks.service import Webhooks
from kurir.contracts import deliveries, ids, queries, subjects
from kurir.contracts.deliveries import WebhookTest
from kurir.contracts.queries import ASK_TIMEOUT_S, Refused
from kurir.dialects import samples
from kurir.runtime.broker import Bus, Unreachable

_encoder = msgspec.json.Encoder()


class WebhookTrials:
    def __init__(self, bus: Bus, webhooks: Webhooks) -> None:
        self._bus = bus
        self._webhooks = webhooks

    async def send(self, caller: Caller, webhook_id: str, wanted: NewTest) -> AttemptView:
        """Raises Problem: WEBHOOK_NOT_FOUND, about the event, or NO_ANSWER; BrokerUnavailable."""
        endpoint = self._webhooks.get(caller, webhook_id)
        if wanted.event not in samples.NAMES:
            raise Problem("VALIDATION_ERROR", f"There is no event {wanted.event!r}.", field="event")
        asked = WebhookTest(id=ids.short_id("test_"), tenant=endpoint.tenant, endpoint=endpoint.id, event=wanted.event)
        try:
            data = await self._bus.request(subjects.WEBHOOK_TEST, _encoder.encode(asked), ASK_TIMEOUT_S)
        except Unreachable as error:
            raise Problem(
                "NO_ANSWER" if error.outcome_unknown else "SERVICE_UNAVAILABLE",
                "Nobody is there to make the request." if not error.outcome_unknown else None,
                headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)},
            ) from error
        reply = queries.decode_any_reply(data)
        if isinstance(reply, Refused):
            raise problem_of_refusal(reply)
        return view_of(deliveries.decode_attempt(reply.body))
