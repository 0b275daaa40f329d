"""`/settings`, `/proxy` and the outlets of events beside webhooks."""

from msgspec.structs import replace

from kurir.api.devices.schemas import DeviceChange
from kurir.api.legacy.evolution import webhooks
from kurir.api.legacy.evolution.calls import Answer, Call, Handler
from kurir.api.legacy.evolution.instances import check_outlet
from kurir.contracts.records import Outlet
from kurir.dialects.evolution import errors, instance_answers, instance_requests
from kurir.dialects.evolution.instance_requests import SETTINGS
from kurir.dialects.evolution.requests import Version


async def set_settings(call: Call) -> Answer:
    device = call.device
    fields = await call.fields()
    given = instance_requests.settings(fields).given()
    device = await call.services.devices.set_settings(
        call.caller, device.id, lambda settings: replace(settings, **given)
    )
    await webhooks.heed_settings(call, device)
    is_v2: Version | None = "v2" if any(camel in fields for camel in SETTINGS.values()) else None
    is_v1: Version | None = "v1" if any(snake in fields for snake in SETTINGS) else None
    return Answer(201, instance_answers.settings_set(call.instance(device), call.version(is_v2 or is_v1)))


async def find_settings(call: Call) -> Answer:
    return Answer(200, instance_answers.settings_of(call.device.settings, call.version()))


async def set_proxy(call: Call) -> Answer:
    device = call.device
    url = instance_requests.proxy(await call.fields())
    device = await call.services.devices.change(call.caller, device.id, DeviceChange(proxy=url))
    shown = device.proxy.shown if device.proxy is not None else None
    return Answer(201, instance_answers.proxy_set(call.instance(device), shown))


async def find_proxy(call: Call) -> Answer:
    proxy = call.device.proxy
    return Answer(200, instance_answers.proxy(proxy.shown if proxy is not None else None))


def setting_outlet(name: str) -> Handler:
    async def set_outlet(call: Call) -> Answer:
        device = call.device
        wanted = instance_requests.outlet(await call.fields(), name)
        check_outlet(name, wanted.enabled)
        if name == "websocket":
            outlet = Outlet(enabled=wanted.enabled, events=wanted.events)
            device = await call.services.devices.set_settings(
                call.caller, device.id, lambda settings: replace(settings, websocket=outlet)
            )
        return Answer(201, instance_answers.outlet_set(call.instance(device), name))

    return set_outlet


def finding_outlet(name: str) -> Handler:
    async def find_outlet(call: Call) -> Answer:
        return Answer(200, instance_answers.outlet(call.device.settings, name))

    return find_outlet


def lacking(what: str) -> Handler:
    """The handler of what no engine here can do; an instance that there is not is told first."""

    async def refuse(call: Call) -> Answer:
        _ = call.device
        raise errors.lacking(what)

    return refuse
