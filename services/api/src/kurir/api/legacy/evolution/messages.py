"""`POST /message/…`: sends that are answered when WhatsApp has the message."""

from datetime import timedelta

from msgspec.structs import replace

from kurir.api.legacy.bodies import Body
from kurir.api.legacy.evolution.calls import MAX_BASE64_BYTES, Answer, Call, Handler
from kurir.api.legacy.sending import Sent
from kurir.api.problems import Problem, Told
from kurir.contracts.content import MessageKey
from kurir.contracts.records import Device
from kurir.contracts.states import SENTENCES, Reason
from kurir.dialects.evolution import answers, errors, sends
from kurir.dialects.evolution.answers import Message
from kurir.dialects.evolution.requests import Send
from kurir.dialects.orders import File, Order

SENT_WITHIN_S = 15.0  # a video is converted in that time; the end of a service leaves requests 20 s
FILE_PARTS = ("file", "attachment", "media", "audio", "video", "sticker", "image")

_NOT_THERE: frozenset[Reason] = frozenset({"not_on_whatsapp", "invalid_recipient"})
_OFFLINE: frozenset[Reason] = frozenset(
    {"device_offline", "device_logged_out", "device_banned", "device_replaced", "engine_unavailable", "device_deleted"}
)
_IN_DOUBT: frozenset[Reason] = frozenset({"send_timeout", "outcome_unknown"})
_KINDS = {
    "image": "imageMessage",
    "video": "videoMessage",
    "audio": "audioMessage",
    "document": "documentMessage",
    "sticker": "stickerMessage",
}


def send_of(last: str) -> Handler:
    """The handler of `/message/<last>`."""
    if last in sends.NOT_SENT:
        return _refusing(last)
    return _sending_file(last) if last in sends.FILE_SENDS else _sending(last)


def _sending(last: str) -> Handler:
    parse = sends.SENDS[last]

    async def send(call: Call) -> Answer:
        device = call.device
        return await _send(call, device, parse(await call.fields()))

    return send


def _sending_file(last: str) -> Handler:
    parse = sends.FILE_SENDS[last]

    async def send(call: Call) -> Answer:
        device = call.device
        async with call.body(file_parts=FILE_PARTS, max_bytes=MAX_BASE64_BYTES) as body:
            return await _send(call, device, parse(_unfolded(body), has_file=body.file is not None), body)

    return send


def _refusing(last: str) -> Handler:
    async def refuse(call: Call) -> Answer:
        _ = call.device
        refused = sends.NOT_SENT[last]
        return Answer(refused.status, errors.refused(refused))

    return refuse


def _unfolded(body: Body) -> dict[str, object]:
    """A form's fields; lists come in it separated by commas."""
    fields = dict(body.fields)
    for name in ("mentioned", "statusJidList"):
        if body.is_form and isinstance(listed := fields.get(name), str):
            fields[name] = [one.strip() for one in listed.strip("[]").replace('"', "").split(",") if one.strip()]
    return fields


async def _send(call: Call, device: Device, send: Send, body: Body | None = None) -> Answer:
    order = await _with_everyone(call, device, send) if send.is_everyone else send.order
    sent = await sent_of(call, device, order, number=send.number, body=body)
    message = _message(order, sent)
    return Answer(201, answers.sent(message, call.whose(device), call.version(send.version)), sent.headers)


async def sent_of(call: Call, device: Device, order: Order, *, number: str, body: Body | None = None) -> Sent:
    """The order as it was accepted, and sent if there was word of it in time.

    Raises Told when WhatsApp did not take it, and Problem as Sender.send does.
    """
    try:
        sent = await call.services.sender.send(
            call.caller,
            device,
            order,
            uploaded=body.file if body is not None else None,
            refuse_offline=call.caller.key.options.when_offline != "queue",
            wait_s=SENT_WITHIN_S + timedelta(milliseconds=order.typing_ms).total_seconds(),
            is_limited=False,
        )
    except Problem as problem:
        if problem.code == "INVALID_RECIPIENT" and problem.field == "to":
            jid = order.to if "@" in order.to else f"{order.to}@s.whatsapp.net"
            raise Told(400, errors.not_on_whatsapp(jid=jid, number=number)) from None
        raise
    if sent.outcome is not None and sent.status != "sent":
        raise _told_failed(sent, number)
    return sent


def _told_failed(sent: Sent, number: str) -> Told:
    reason, detail = sent.reason, sent.outcome.detail if sent.outcome is not None else None
    if reason in _NOT_THERE:
        return Told(400, errors.not_on_whatsapp(jid=sent.to, number=number), sent.headers)
    sentence = SENTENCES[reason] if reason is not None else "The message was not sent."
    messages = [sentence, detail] if detail else [sentence]
    if reason in _OFFLINE:
        return Told(503, errors.body(503, [errors.OFFLINE, *messages]), sent.headers)
    if reason == "kind_not_supported":
        lacking = errors.lacking(detail or "messages of this kind")
        return Told(lacking.status, errors.refused(lacking), sent.headers)
    status = 504 if reason in _IN_DOUBT else 400
    return Told(status, errors.body(status, messages), sent.headers)


def _message(order: Order, sent: Sent) -> Message:
    content = order.content
    if content is None and sent.outcome is not None:
        content = sent.outcome.content
    return Message(
        key=MessageKey(chat=sent.to, whatsapp_id=sent.whatsapp_id or sent.id, from_me=True),
        content=content,
        at=sent.at,
        quote=order.quote,
        mentions=order.mentions,
        kind=_kind_of(order.file) if order.file is not None else "conversation",
        caption=order.file.caption if order.file is not None else None,
    )


def _kind_of(file: File) -> str:
    return "ptvMessage" if file.note else _KINDS[file.kind]


async def _with_everyone(call: Call, device: Device, send: Send) -> Order:
    """The order with all members of its group mentioned; of a person nobody else is."""
    order = send.order
    if not order.to.endswith("@g.us"):
        return order
    group = await call.services.groups.show(call.caller, device.id, order.to)
    members = (member.address.pn or member.address.jid for member in group.members)
    return replace(order, mentions=tuple(dict.fromkeys([*order.mentions, *members])))
