"""`/chat/…`: numbers, read marks, the archive, presence, corrections and deletions, contacts and pictures."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from kurir.api.chats.schemas import ReadMessages
from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.legacy.evolution.messages import sent_of
from kurir.api.people import phone_in
from kurir.api.problems import Problem
from kurir.api.recipients import USER_SERVER, NotARecipient, jid_of
from kurir.contracts.content import Edit, Revoke
from kurir.contracts.people import KnownContact, NumberCheck
from kurir.contracts.queries import PAGE_LIMIT
from kurir.contracts.records import Device
from kurir.dialects.evolution import answers, chat_answers, chat_requests
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.orders import Order

MAX_CONTACTS = 10_000
NUMBERS_AT_ONCE = 50  # as many as the native API takes in one question
PRESENCE_SET: dict[str, Any] = {"presence": {}}


async def check_numbers(call: Call) -> Answer:
    """Which numbers have WhatsApp. What is no phone number has none; a group or a hidden id is told as it is."""
    device = call.device
    written = chat_requests.numbers(await call.fields())
    country = call.caller.tenant.country
    phones: dict[str, str] = {}
    for number in written:
        try:
            phones[number] = phone_in(recipient(number), country, "numbers")
        except Problem:
            continue
    asked = tuple(dict.fromkeys(phones.values()))
    by_phone: dict[str, NumberCheck] = {}
    for first in range(0, len(asked), NUMBERS_AT_ONCE):
        part = asked[first : first + NUMBERS_AT_ONCE]
        checks = await call.services.contacts.check_numbers(call.caller, device.id, part)
        by_phone |= {check.phone: check for check in checks}
    found = [by_phone[phones[one]] if one in phones else _unknown(one) for one in written]
    return Answer(200, chat_answers.numbers(written, found))


def _unknown(number: str) -> NumberCheck:
    return NumberCheck(phone=recipient(number).partition("@")[0], is_on_whatsapp=False)


async def mark_read(call: Call) -> Answer:
    device = call.device
    keys = chat_requests.read_messages(await call.fields())
    by_chat: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    for key in keys:
        if not key.from_me:  # one's own are read, as the original has it
            by_chat[key.chat, key.participant].append(key.whatsapp_id)
    for (chat, participant), ids in by_chat.items():
        read = ReadMessages(message_ids=tuple(ids), participant=participant)
        await call.services.chats.mark_read(call.caller, device.id, chat, read)
    return Answer(201, answers.READ)


async def show_typing(call: Call) -> Answer:
    """Shows typing for as long as `delay` says, while the caller waits."""
    device = call.device
    wanted = chat_requests.typing(await call.fields())
    chats = call.services.chats
    if wanted.state is None:
        await chats.show_presence(call.caller, device.id, online=wanted.presence == "available")
        return Answer(201, PRESENCE_SET)
    await chats.show_typing(call.caller, device.id, wanted.to, wanted.state)
    if wanted.delay_ms and wanted.state != "paused":
        await asyncio.sleep(wanted.delay_ms / 1000)
        await chats.show_typing(call.caller, device.id, wanted.to, "paused")
    return Answer(201, PRESENCE_SET)


async def delete_for_everyone(call: Call) -> Answer:
    device = call.device
    key = chat_requests.deletion(await call.fields())
    order = Order(to=key.chat, content=Revoke(target=key))
    sent = await sent_of(call, device, order, number=key.chat)
    return Answer(201, answers.revoked(key, sent.at, sent.whatsapp_id or sent.id), sent.headers)


async def correct(call: Call) -> Answer:
    device = call.device
    wanted = chat_requests.correction(await call.fields())
    order = Order(to=wanted.key.chat, content=Edit(target=wanted.key, text=wanted.text))
    sent = await sent_of(call, device, order, number=wanted.key.chat)
    body = answers.edited(wanted.key, wanted.text, sent.at, sent.whatsapp_id or sent.id)
    return Answer(200, body, sent.headers)


async def archive(call: Call) -> Answer:
    device = call.device
    wanted = chat_requests.archiving(await call.fields())
    await call.services.chats.archive(call.caller, device.id, wanted.chat, archived=wanted.archived)
    return Answer(201, chat_answers.archived(wanted.chat))


async def mark_unread(call: Call) -> Answer:
    device = call.device
    chat = chat_requests.unread(await call.fields())
    await call.services.chats.mark_unread(call.caller, device.id, chat)
    return Answer(201, chat_answers.marked_unread(chat))


async def show_picture(call: Call) -> Answer:
    device = call.device
    jid = _jid(call, chat_requests.number(await call.fields()))
    return Answer(200, chat_answers.picture(jid, await picture_of(call, device, jid)))


async def show_profile(call: Call) -> Answer:
    device = call.device
    jid = _jid(call, chat_requests.number(await call.fields()))
    user, _, server = jid.partition("@")
    check = None
    if server == USER_SERVER:
        (check,) = await call.services.contacts.check_numbers(call.caller, device.id, (user,))
    known = None
    async for contact in _contacts(call, device):
        if jid in (contact.address.jid, contact.address.pn, contact.address.lid):
            known = contact
            break
    url = await picture_of(call, device, jid)
    about = await _about(call, device, jid) if not jid.endswith("@g.us") else None
    return Answer(200, chat_answers.profile(jid, check=check, known=known, url=url, about=about))


async def find_contacts(call: Call) -> Answer:
    device = call.device
    where = chat_requests.where(await call.fields())
    wanted = {recipient(where.id or ""), where.id, where.chat} - {None, ""}
    name, is_v2 = device.code or device.id, call.version() == "v2"
    found = []
    async for known in _contacts(call, device):
        address = known.address
        names = {address.jid, address.pn, address.lid, (address.pn or "").partition("@")[0]}
        if wanted and not wanted & names:
            continue
        if where.push_name is not None and where.push_name not in (known.name, known.push_name):
            continue
        row = chat_answers.contact_v2(known, device.id) if is_v2 else chat_answers.contact(known, name)
        found.append(row)
    return Answer(200, found)


async def picture_of(call: Call, device: Device, jid: str) -> str | None:
    """None where there is none, or none to see."""
    try:
        return (await call.services.contacts.picture(call.caller, device.id, jid)).url
    except Problem as problem:
        if problem.code != "PICTURE_NOT_FOUND":
            raise
        return None


async def _about(call: Call, device: Device, jid: str) -> str | None:
    """None where WhatsApp does not tell, or the engine cannot ask."""
    try:
        return await call.services.contacts.about(call.caller, device.id, jid)
    except Problem as problem:
        if problem.code not in ("NOT_SUPPORTED", "REQUEST_REFUSED"):
            raise
        return None


async def looked_up(call: Call, device: Device, number: str) -> tuple[str, bool]:
    """The JID that a number stands for, and whether WhatsApp has it. Groups and hidden ids are not asked for."""
    meant = recipient(number)
    try:
        jid = jid_of(meant, call.caller.tenant.country)
    except NotARecipient:
        return f"{meant.partition('@')[0]}@{USER_SERVER}", False
    user, _, server = jid.partition("@")
    if server != USER_SERVER:
        return jid, True
    (check,) = await call.services.contacts.check_numbers(call.caller, device.id, (user,))
    return jid, check.is_on_whatsapp


def _jid(call: Call, number: str) -> str:
    try:
        return jid_of(recipient(number), call.caller.tenant.country)
    except NotARecipient:
        raise Problem("INVALID_RECIPIENT", field="number") from None


async def _contacts(call: Call, device: Device) -> AsyncIterator[KnownContact]:
    """Everybody whom the device knows, by id."""
    cursor, read = None, 0
    while read < MAX_CONTACTS:
        page = await call.services.contacts.page(call.caller, device.id, limit=PAGE_LIMIT, cursor=cursor)
        for known in page.contacts:
            yield known
        read += PAGE_LIMIT
        cursor = page.next
        if cursor is None:
            return
