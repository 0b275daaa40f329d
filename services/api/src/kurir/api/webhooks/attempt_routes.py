"""`/webhooks/{id}/attempts`: what was sent to a webhook and how it answered."""

from typing import Annotated

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from kurir.api.auth import Caller
from kurir.api.webhooks.attempts import AttemptPage, WebhookAttempts
from kurir.contracts.states import DeliveryOutcome


@get("/{webhook_id:str}/attempts")
async def list_webhook_attempts(
    webhook_id: FromPath[str],
    caller: NamedDependency[Caller],
    attempts: NamedDependency[WebhookAttempts],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
    outcome: Annotated[DeliveryOutcome | None, QueryParameter()] = None,
) -> AttemptPage:
    """Requests to a webhook and its answers, newest first."""
    return await attempts.page(caller, webhook_id, limit=limit, cursor=cursor, outcome=outcome)


def router() -> Router:
    return Router("/webhooks", route_handlers=(list_webhook_attempts,), tags=["Webhooks"])
