"""`/label/…`: what a business account sorts its chats by."""

from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.legacy.evolution.chats import looked_up
from kurir.api.problems import Told
from kurir.dialects.evolution import errors, labels


async def find_labels(call: Call) -> Answer:
    device = call.device
    return Answer(200, labels.labels(await call.services.chats.labels(call.caller, device.id)))


async def handle_label(call: Call) -> Answer:
    """Raises Told for a number that has no WhatsApp."""
    device = call.device
    wanted = labels.labeling(await call.fields())
    jid, is_there = await looked_up(call, device, wanted.number)
    if not is_there:
        raise Told(404, errors.body(404, [labels.NOBODY]))
    await call.services.chats.set_label(call.caller, device.id, jid, wanted.label, labeled=wanted.labeled)
    return Answer(200, labels.labeled(jid, wanted))
