"""`/events/{id}/story`: what came of one event; `/deliveries/{id}/replay` and `/events/{id}/replay`: deliver one thing
again. None of them names a webhook."""

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from kurir.api.auth import Caller
from kurir.api.webhooks.attempts import EventStory, WebhookAttempts
from kurir.api.webhooks.replays import WebhookReplays
from kurir.api.webhooks.schemas import ReplayView


@post("/deliveries/{delivery_id:str}/replay", status_code=202)
async def replay_delivery(
    delivery_id: FromPath[str], caller: NamedDependency[Caller], replays: NamedDependency[WebhookReplays]
) -> ReplayView:
    """Deliver again what one delivery was; `delivery` of an attempt is its id.

    One that waits for its next attempt is made at once; one that is under way is left to itself, and `skipped` is 1."""
    return await replays.order_delivery(caller, delivery_id)


@post("/events/{event_id:str}/replay", status_code=202)
async def replay_event(
    event_id: FromPath[str], caller: NamedDependency[Caller], replays: NamedDependency[WebhookReplays]
) -> list[ReplayView]:
    """Deliver an event again to every webhook that asks for it now: a replay for each."""
    return await replays.order_event(caller, event_id)


@get("/events/{event_id:str}/story")
async def tell_event_story(
    event_id: FromPath[str], caller: NamedDependency[Caller], attempts: NamedDependency[WebhookAttempts]
) -> EventStory:
    """An event and every request to a webhook that came of it. Its id is the `webhook-id` of those requests.

    Where the event is about a message, `GET /messages/{messageId}/story` tells of its other events too."""
    return await attempts.story(caller, event_id)


def router() -> Router:
    return Router("/", route_handlers=(tell_event_story, replay_delivery, replay_event), tags=["Webhooks"])
