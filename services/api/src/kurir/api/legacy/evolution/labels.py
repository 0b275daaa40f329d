"""`/label/…`: what a business account sorts its chats by."""

from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.people import phone_in
from kurir.api.problems import Problem, Told
from kurir.dialects.evolution import errors, labels
from kurir.dialects.evolution.numbers import recipient


async def find_labels(call: Call) -> Answer:
    device = call.device
    return Answer(200, labels.labels(await call.services.chats.labels(call.caller, device.id)))


async def handle_label(call: Call) -> Answer:
    device = call.device
    wanted = labels.labeling(await call.fields())
    jid = await _person(call, device.id, wanted.number)
    await call.services.chats.set_label(call.caller, device.id, jid, wanted.label, labeled=wanted.labeled)
    return Answer(200, labels.labeled(jid, wanted))


async def _person(call: Call, device_id: str, number: str) -> str:
    """The JID of a number. Raises Told for one that has no WhatsApp."""
    try:
        phone = phone_in(recipient(number), call.caller.tenant.country, "number")
    except Problem:
        raise Told(404, errors.body(404, [labels.NOBODY])) from None
    (check,) = await call.services.contacts.check_numbers(call.caller, device_id, (phone,))
    if not check.is_on_whatsapp:
        raise Told(404, errors.body(404, [labels.NOBODY]))
    return f"{phone}@s.whatsapp.net"
