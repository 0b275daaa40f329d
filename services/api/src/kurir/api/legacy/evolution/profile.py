"""The parts of `/chat/…` that are about the account itself: its profile, its privacy, whom it blocks."""

from kurir.api.legacy.evolution.calls import MAX_BASE64_BYTES, Answer, Call, native_picture
from kurir.api.legacy.evolution.chats import looked_up
from kurir.api.people import GROUP_SERVER
from kurir.api.problems import Told
from kurir.api.profile.schemas import ChangeProfile
from kurir.dialects.evolution import errors, pictures, profile


async def set_name(call: Call) -> Answer:
    device = call.device
    change = ChangeProfile(name=profile.name(await call.fields()))
    await call.services.profiles.change(call.caller, device.id, change)
    return Answer(200, profile.DONE)


async def set_about(call: Call) -> Answer:
    device = call.device
    change = ChangeProfile(about=profile.about(await call.fields()))
    await call.services.profiles.change(call.caller, device.id, change)
    return Answer(200, profile.DONE)


async def set_picture(call: Call) -> Answer:
    device = call.device
    async with call.body(max_bytes=MAX_BASE64_BYTES) as body:
        picture = pictures.picture(body.fields, "picture")
    await call.services.profiles.set_picture(call.caller, device.id, native_picture(picture))
    return Answer(200, profile.DONE)


async def remove_picture(call: Call) -> Answer:
    device = call.device
    await call.services.profiles.remove_picture(call.caller, device.id)
    return Answer(200, profile.DONE)


async def show_privacy(call: Call) -> Answer:
    device = call.device
    return Answer(200, profile.privacy_shown(await call.services.profiles.privacy(call.caller, device.id)))


async def set_privacy(call: Call) -> Answer:
    device = call.device
    wanted = profile.privacy(await call.fields())
    return Answer(201, profile.privacy_set(await call.services.profiles.set_privacy(call.caller, device.id, wanted)))


async def set_blocked(call: Call) -> Answer:
    """Raises Told for a number that has no WhatsApp, and for a group."""
    device = call.device
    wanted = profile.blocking(await call.fields())
    jid, is_there = await looked_up(call, device, wanted.number)
    if not is_there or jid.endswith(f"@{GROUP_SERVER}"):
        raise Told(400, errors.not_on_whatsapp(jid=jid, number=wanted.number))
    await call.services.contacts.set_blocked(call.caller, device.id, jid, blocked=wanted.blocked)
    return Answer(201, profile.BLOCKED)
