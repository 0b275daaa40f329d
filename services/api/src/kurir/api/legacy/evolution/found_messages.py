"""Messages found again in the history, by WhatsApp's names for them.

The history is kept by our ids; a message that a client names by WhatsApp's is looked for among the newest ones of its
chat, as many as are read here at most.
"""

from collections.abc import AsyncIterator
from typing import Any

from kurir.api.legacy.evolution.calls import Answer, Call
from kurir.api.problems import Problem, Told
from kurir.contracts.content import Content, media_of
from kurir.contracts.events import AnyEvent
from kurir.contracts.records import Device
from kurir.dialects.evolution import answers, chat_requests, errors
from kurir.dialects.evolution.answers import Message
from kurir.dialects.evolution.chat_requests import Where

PAGE = 100
MAX_READ = 1000
MAX_INLINE_BYTES = 16 * 1024 * 1024  # of a file in an answer: it is held whole, and a third more as text


async def find_messages(call: Call) -> Answer:
    device = call.device
    where = chat_requests.where(await call.fields())
    version, whose = call.version(), call.whose(device)
    skipped, has_more = (where.page - 1) * where.limit, False
    found: list[dict[str, Any]] = []
    async for message, _ in _newest(call, device, where):
        if skipped > 0:
            skipped -= 1
        elif len(found) == where.limit:
            has_more = True
            break
        else:
            found.append(answers.found(message, whose, version))
    return Answer(200, answers.page(found, number=where.page, has_more=has_more, version=version))


async def find_statuses(call: Call) -> Answer:
    device = call.device
    where = chat_requests.where(await call.fields())
    whose = call.whose(device)
    found = [row async for _, facts in _newest(call, device, where) for row in answers.statuses(facts, whose)]
    return Answer(200, found[: where.limit])


async def find_chats(call: Call) -> Answer:
    """Chats of the newest messages in the history."""
    device = call.device
    messages = [message async for message, _ in _newest(call, device, Where())]
    return Answer(200, answers.chats(messages, call.whose(device), call.version()))


async def show_file(call: Call) -> Answer:
    """The file of a message in base64."""
    device = call.device
    wanted = chat_requests.media_of(await call.fields())
    async for message, _ in _newest(call, device, Where(id=wanted)):
        if message.content is None or (media := media_of(message.content)) is None:
            raise Told(400, errors.body(400, ["The message is not of the media type"]))
        if not media.object:
            raise Told(400, errors.body(400, ["The file of this message could not be had from WhatsApp"]))
        if media.size > MAX_INLINE_BYTES:
            raise Problem("MEDIA_TOO_LARGE", f"The file is too large for this; it is at {call.media_url(media)}.")
        return Answer(201, answers.file(message.content, await _bytes(call, message.content)))
    raise Told(400, errors.body(400, ["Message not found"]))


async def _bytes(call: Call, content: Content) -> bytes:
    media = media_of(content)
    assert media is not None
    reader = await call.services.media.open(call.caller.tenant.id, media.object.partition("/")[2])
    return b"".join([piece async for piece in reader])


async def _newest(call: Call, device: Device, where: Where) -> AsyncIterator[tuple[Message, list[AnyEvent]]]:
    """The messages that are wanted with their facts, newest first, of the last MAX_READ ones."""
    cursor, read = None, 0
    direction = {None: None, True: None, False: "inbound"}[where.from_me]
    while read < MAX_READ:
        page, cursor = await call.services.known_messages.facts_page(
            call.caller, limit=PAGE, cursor=cursor, device_id=device.id, chat=where.chat, direction=direction
        )
        for facts in page:
            message = answers.message_of(facts)
            if message is not None and _is_wanted(message, where):
                yield message, facts
        read += PAGE
        if cursor is None:
            return


def _is_wanted(message: Message, where: Where) -> bool:
    if where.from_me is not None and message.key.from_me != where.from_me:
        return False
    return where.id is None or message.key.whatsapp_id == where.id
