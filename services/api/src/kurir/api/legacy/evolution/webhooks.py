"""The webhook of an instance: the one endpoint of its device that is told in this API's words.

Whatever else listens to the device, made by the native API or the dashboard, is not this API's to show or to change.
"""

from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.problems import Problem, Told
from kurir.api.webhooks.endpoint_secrets import MASKED
from kurir.api.webhooks.schemas import NewWebhook, WebhookChange, WebhookFilter
from kurir.api.webhooks.service import Webhooks
from kurir.contracts.records import Device, Endpoint, PayloadOptions
from kurir.dialects.evolution import errors, instance_answers, instance_requests
from kurir.dialects.evolution.instance_answers import KnownWebhook
from kurir.dialects.evolution.instance_requests import Webhook
from kurir.dialects.evolution.requests import Version


async def set_webhook(call: Call) -> Answer:
    device = call.device
    fields = await call.fields()
    wanted = instance_requests.webhook(fields)
    version = call.version("v2" if isinstance(fields.get("webhook"), dict) else None)
    endpoint = await put(call, device, wanted, version)
    known = known_of(endpoint) if endpoint is not None else _none(device)
    return Answer(201, instance_answers.webhook_set(call.instance(device), known, version))


async def find_webhook(call: Call) -> Answer:
    device = call.device
    endpoint = of_device(call.services.webhooks, call.caller, device)
    known = known_of(endpoint) if endpoint is not None else None
    return Answer(200, instance_answers.webhook_found(call.instance(device), known, call.version()))


def of_device(webhooks: Webhooks, caller: Caller, device: Device) -> Endpoint | None:
    own = (one for one in webhooks.all(caller) if one.device == device.id and one.payload == "evolution")
    return next(own, None)


async def put(
    call: Call, device: Device, wanted: Webhook, version: Version, *, key: str | None = None
) -> Endpoint | None:
    """Make or change the instance's webhook; None where there is none to turn off. `key` is the API key that its bodies
    repeat where the caller's key says so, the caller's own unless given. Raises Told for a URL that no webhook may
    have, and Problem."""
    webhooks = call.services.webhooks
    known = of_device(webhooks, call.caller, device)
    if known is None and not wanted.url:
        return None
    options = PayloadOptions(version=version, by_events=wanted.by_events, base64=wanted.base64)
    filter = _filter(device)
    shown_key = (key or call.key) if call.caller.key.options.show_key else None
    try:
        if known is None:
            new = NewWebhook(
                url=wanted.url,
                events=wanted.events,
                device_id=device.id,
                payload="evolution",
                headers=wanted.headers,
                filter=filter,
                signatures=(),
            )
            known, _ = await webhooks.create(call.caller, new, options=options, shown_key=shown_key)
            if wanted.enabled:
                return known
        change = WebhookChange(
            url=wanted.url or known.url,
            events=wanted.events,
            headers=wanted.headers,
            active=wanted.enabled,
        )
        return await webhooks.change(call.caller, known.id, change, options=options, shown_key=shown_key)
    except Problem as problem:
        if problem.field == "url":
            raise Told(400, errors.body(400, [errors.BAD_URL, problem.message])) from None
        raise


async def heed_settings(call: Call, device: Device) -> None:
    """Have the webhook keep groups away, or not, as the device's settings say."""
    known = of_device(call.services.webhooks, call.caller, device)
    if known is None or known.filter.groups == _filter(device).groups:
        return
    filter = WebhookFilter(**{name: getattr(known.filter, name) for name in ("chats", "direction", "from_me")})
    change = WebhookChange(filter=replace(filter, groups=_filter(device).groups))
    await call.services.webhooks.change(call.caller, known.id, change, options=known.payload_options)


def known_of(endpoint: Endpoint) -> KnownWebhook:
    return KnownWebhook(
        id=endpoint.id,
        webhook=Webhook(
            url=endpoint.url,
            enabled=endpoint.active,
            by_events=endpoint.payload_options.by_events,
            base64=endpoint.payload_options.base64,
            events=endpoint.events,
            headers=dict.fromkeys(endpoint.headers, MASKED),
        ),
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )


def _filter(device: Device) -> WebhookFilter:
    return WebhookFilter(groups=False if device.settings.groups_ignore else None)


def _none(device: Device) -> KnownWebhook:
    return KnownWebhook(
        id="", webhook=Webhook(url="", enabled=False), created_at=device.created_at, updated_at=device.updated_at
    )
