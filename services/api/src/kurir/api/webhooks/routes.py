"""`/webhooks`: where events are sent."""

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.webhooks.attempts import AttemptView
from kurir.api.webhooks.endpoint_secrets import public_key
from kurir.api.webhooks.replays import WebhookReplays
from kurir.api.webhooks.schemas import (
    NewReplay,
    NewSecret,
    NewTest,
    NewWebhook,
    ReplayView,
    RotateSecret,
    WebhookChange,
    WebhookEventView,
    WebhookView,
    view_of,
)
from kurir.api.webhooks.service import Webhooks
from kurir.api.webhooks.told import ToldOfWebhooks
from kurir.api.webhooks.trials import WebhookTrials


@get("/")
async def list_webhooks(caller: NamedDependency[Caller], webhooks: NamedDependency[Webhooks]) -> list[WebhookView]:
    """All webhooks, oldest first, without their secrets."""
    return [view_of(endpoint, webhooks.state(endpoint)) for endpoint in webhooks.all(caller)]


@post("/")
async def create_webhook(
    data: JSONBody[NewWebhook], caller: NamedDependency[Caller], webhooks: NamedDependency[Webhooks]
) -> WebhookView:
    """Register a URL. The answer shows the secret, once."""
    endpoint, secret = await webhooks.create(caller, data)
    return view_of(endpoint, None, secret)


@get("/{webhook_id:str}")
async def show_webhook(
    webhook_id: FromPath[str], caller: NamedDependency[Caller], webhooks: NamedDependency[Webhooks]
) -> WebhookView:
    """One webhook and its health."""
    endpoint = webhooks.get(caller, webhook_id)
    return view_of(endpoint, webhooks.state(endpoint))


@patch("/{webhook_id:str}")
async def change_webhook(
    webhook_id: FromPath[str],
    data: JSONBody[WebhookChange],
    caller: NamedDependency[Caller],
    webhooks: NamedDependency[Webhooks],
) -> WebhookView:
    """Change a webhook, pause it or bring it back."""
    endpoint = await webhooks.change(caller, webhook_id, data)
    return view_of(endpoint, webhooks.state(endpoint))


@delete("/{webhook_id:str}")
async def delete_webhook(
    webhook_id: FromPath[str], caller: NamedDependency[Caller], webhooks: NamedDependency[Webhooks]
) -> None:
    """Delete a webhook. What waits for it is not sent."""
    await webhooks.delete(caller, webhook_id)


@post("/{webhook_id:str}/rotate-secret", status_code=200)
async def rotate_webhook_secret(
    webhook_id: FromPath[str],
    caller: NamedDependency[Caller],
    webhooks: NamedDependency[Webhooks],
    data: JSONBody[RotateSecret | None] = None,
) -> NewSecret:
    """Make new what a webhook signs with. For the overlap, Standard Webhooks signatures are made with the former, too.

    Every signature header then holds both, so that receivers can change over when it suits them."""
    endpoint, secret, until = await webhooks.rotate_secret(caller, webhook_id, data or RotateSecret())
    return NewSecret(id=endpoint.id, secret=secret, public_key=public_key(endpoint), previous_valid_until=until)


@post("/{webhook_id:str}/test", status_code=200)
async def send_webhook_test(
    webhook_id: FromPath[str],
    caller: NamedDependency[Caller],
    trials: NamedDependency[WebhookTrials],
    data: JSONBody[NewTest | None] = None,
) -> AttemptView:
    """Send a sample of an event now, also to a webhook that is off, and tell how it answered.

    The request is signed as every other and has the header `X-Webhook-Test: true`. It is not tried again, and says
    nothing about the webhook's health when it fails."""
    return await trials.send(caller, webhook_id, data or NewTest())


@get("/{webhook_id:str}/events")
async def list_webhook_events(
    webhook_id: FromPath[str], caller: NamedDependency[Caller], told: NamedDependency[ToldOfWebhooks]
) -> list[WebhookEventView]:
    """What became of a webhook in the last seven days: failing, recovered, given up, disabled; newest first."""
    return await told.all(caller, webhook_id)


@post("/{webhook_id:str}/replays", status_code=202)
async def replay_webhook(
    webhook_id: FromPath[str],
    data: JSONBody[NewReplay],
    caller: NamedDependency[Caller],
    replays: NamedDependency[WebhookReplays],
) -> ReplayView:
    """Deliver again: one event, what was given up, or a range of time.

    Replays have the same `webhook-id` as before and the header `X-Webhook-Replay: true`."""
    return await replays.order(caller, webhook_id, data)


@get("/{webhook_id:str}/replays")
async def list_webhook_replays(
    webhook_id: FromPath[str], caller: NamedDependency[Caller], replays: NamedDependency[WebhookReplays]
) -> list[ReplayView]:
    """The replays of the last 30 days and those under way, newest first."""
    return await replays.all(caller, webhook_id)


@get("/{webhook_id:str}/replays/{replay_id:str}")
async def show_webhook_replay(
    webhook_id: FromPath[str],
    replay_id: FromPath[str],
    caller: NamedDependency[Caller],
    replays: NamedDependency[WebhookReplays],
) -> ReplayView:
    """One replay and how far it has come."""
    return await replays.show(caller, webhook_id, replay_id)


@delete("/{webhook_id:str}/replays/{replay_id:str}")
async def cancel_webhook_replay(
    webhook_id: FromPath[str],
    replay_id: FromPath[str],
    caller: NamedDependency[Caller],
    replays: NamedDependency[WebhookReplays],
) -> None:
    """Stop a replay. What it has delivered stays delivered."""
    await replays.cancel(caller, webhook_id, replay_id)


routes = (
    list_webhooks,
    create_webhook,
    show_webhook,
    change_webhook,
    delete_webhook,
    rotate_webhook_secret,
    send_webhook_test,
    list_webhook_events,
    replay_webhook,
    list_webhook_replays,
    show_webhook_replay,
    cancel_webhook_replay,
)


def router() -> Router:
    return Router("/webhooks", route_handlers=routes, tags=["Webhooks"])
