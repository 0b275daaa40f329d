"""`/instance/…`: an instance is a device, and its name the device's code."""

import contextlib
import uuid

from msgspec.structs import replace

from kurir.api.devices.schemas import NewDevice
from kurir.api.legacy.evolution import pairing, webhooks
from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.problems import Problem, Told
from kurir.contracts.records import Device, DeviceSettings, Outlet
from kurir.dialects.evolution import errors, instance_answers, instance_requests
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.instance_answers import Instance
from kurir.dialects.evolution.instance_requests import NewInstance
from kurir.dialects.evolution.requests import Version

_IGNORES_GROUPS: dict[Version, bool] = {"v1": True, "v2": False}
"""What the original takes where an instance is made without saying."""


async def create(call: Call) -> Answer:
    """Make an instance with all that the body gives it. Nothing stays of one that could not be made whole."""
    new = instance_requests.create(await call.fields())
    version = call.version(new.version)
    device = await _made(call, new)
    try:
        key = await _key(call, device, new.token, version)
        device = await _with_settings(call, device, new, version)
        if new.webhook is not None:
            await webhooks.put(call, device, new.webhook, version, key=key)
        qrcode = None
        if new.is_qr_wanted:
            session = await pairing.connect(call, device, new.number)
            device = call.services.devices.get(call.caller, device.id)
            qrcode = await pairing.code(call, device, session)
    except Exception:
        await _remove(call, device)
        raise
    instance = call.instance(device)
    return Answer(
        201,
        instance_answers.created(instance, key=key, webhook=new.webhook, qrcode=qrcode, version=version),
    )


async def connect(call: Call) -> Answer:
    device = call.device
    session = await pairing.connect(call, device, call.query.get("number") or None)
    if session is not None and session.state == "connected":
        return Answer(200, instance_answers.state(call.instance(device)))
    device = call.services.devices.get(call.caller, device.id)
    return Answer(200, await pairing.code(call, device, session))


async def connection_state(call: Call) -> Answer:
    return Answer(200, instance_answers.state(call.instance(call.device)))


async def fetch(call: Call) -> Answer:
    """All instances, or those that the query names; see `one_or_all` for what a single one is answered as."""
    query, version = call.query, call.version()
    name, wanted_id, number = query.get("instanceName"), query.get("instanceId"), query.get("number")
    devices = [call.device_of(name)] if name else call.services.devices.all(call.caller)
    instances = [call.instance(device) for device in devices]
    if wanted_id:
        instances = [one for one in instances if one.device.id == wanted_id]
    if number:
        instances = [one for one in instances if one.session is not None and one.session.phone == number]
    if len(instances) == 1:
        instances = [await _with_picture(call, instances[0])]
    if version == "v2":
        return Answer(200, [instance_answers.fetched_v2(one) for one in instances])
    found = [instance_answers.fetched(one) for one in instances]
    is_bound = call.caller.key.device is not None
    return Answer(200, instance_answers.one_or_all(found, is_named=bool(name), is_bound=is_bound))


async def restart(call: Call) -> Answer:
    device = call.device
    await pairing.restart(call, device)
    return Answer(200, instance_answers.state(call.instance(call.services.devices.get(call.caller, device.id))))


async def logout(call: Call) -> Answer:
    device = call.device
    instance = call.instance(device)
    if instance.state == "close":
        return Answer(400, errors.not_connected(instance.name))
    await call.services.devices.logout(call.caller, device.id)
    return Answer(200, instance_answers.done(instance_answers.LOGGED_OUT))


async def delete(call: Call) -> Answer:
    await _remove(call, call.device)
    return Answer(200, instance_answers.done(instance_answers.DELETED))


async def set_presence(call: Call) -> Answer:
    device = call.device
    presence = instance_requests.presence(await call.fields())
    if presence not in ("available", "unavailable"):
        raise errors.lacking(f"presence {presence!r} without a chat (use /chat/sendPresence)")
    await call.services.chats.show_presence(call.caller, device.id, online=presence == "available")
    return Answer(201, instance_answers.presence_set(presence))


async def refresh_token(call: Call) -> Answer:
    fields = Fields(await call.fields())
    fields.require("oldToken")
    fields.check()
    raise Refused(errors.NO_TOKENS)


async def _made(call: Call, new: NewInstance) -> Device:
    """The device. Raises Told for a name that another has."""
    if new.token is not None and not 16 <= len(new.token) <= 512:
        raise Refused("A token has 16 to 512 characters: shorter ones can be guessed.")
    try:
        return await call.services.devices.create(call.caller, NewDevice(name=new.name, code=new.name, proxy=new.proxy))
    except Problem as problem:
        if problem.code == "CONFLICT" and problem.field == "code":
            raise Told(403, errors.name_taken(new.name)) from None
        raise


async def _key(call: Call, device: Device, token: str | None, version: Version) -> str:
    """The instance's own key: the token that was given, else a new one. Raises Refused for one that is known."""
    options = replace(call.caller.key.options, evolution_version=version)
    try:
        _, key = await call.services.tenants.create_key(
            call.caller.key,
            device.tenant,
            f"instance {device.code}",
            device=device.id,
            dialect="evolution",
            options=options,
            api_key=token or str(uuid.uuid4()).upper(),
        )
    except Problem as problem:
        if problem.code == "CONFLICT":
            raise Refused(errors.KEY_TAKEN) from None
        raise
    return key


async def _with_settings(call: Call, device: Device, new: NewInstance, version: Version) -> Device:
    given = {"groups_ignore": _IGNORES_GROUPS[version], **new.settings.given()}
    for name, outlet in new.outlets.items():
        check_outlet(name, outlet.enabled)
    socket = new.outlets["websocket"]
    websocket = Outlet(enabled=socket.enabled, events=socket.events)

    def change(settings: DeviceSettings) -> DeviceSettings:
        return replace(settings, **given, websocket=websocket)

    return await call.services.devices.set_settings(call.caller, device.id, change)


def check_outlet(name: str, enabled: bool) -> None:
    """Raise Refused for one that Kurir does not have."""
    if enabled and name != "websocket":
        raise errors.lacking(f"events by {name} (use webhooks, the websocket, or the event stream)")


async def _remove(call: Call, device: Device) -> None:
    """The device and all that is its own: keys, then webhooks, then itself. The caller's own key goes last."""
    services = call.services
    own = [key for key in services.tenants.keys(device.tenant) if key.device == device.id]
    for endpoint in services.webhooks.all(call.caller):
        if endpoint.device == device.id:
            await services.webhooks.delete(call.caller, endpoint.id)
    await services.devices.delete(call.caller, device.id)
    for key in own:
        with contextlib.suppress(Problem):  # revoked meanwhile
            await services.tenants.revoke_key(call.caller.key, device.tenant, key.id)


async def _with_picture(call: Call, instance: Instance) -> Instance:
    """With the account's own picture, where it can be had."""
    if instance.state != "open" or instance.session is None or instance.session.jid is None:
        return instance
    try:
        picture = await call.services.contacts.picture(call.caller, instance.device.id, _account(instance.session.jid))
    except Problem:
        return instance
    return replace(instance, picture=picture.url)


def _account(jid: str) -> str:
    """The JID without the number of the device in it."""
    user, _, server = jid.partition("@")
    return f"{user.partition(':')[0]}@{server}"
