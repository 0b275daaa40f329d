"""Fonnte's paths about messages and recipients; those about devices are in `account`."""

from typing import Any

import msgspec
from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from kurir.api.address_book.service import AddressBook
from kurir.api.auth import Caller
from kurir.api.chats.service import Chats
from kurir.api.contacts.service import Contacts
from kurir.api.groups.service import Groups
from kurir.api.legacy.access import Access
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.fonnte import account, telling
from kurir.api.legacy.fonnte.counts import RECEIVED, SENT, MessageCounts
from kurir.api.legacy.fonnte.dashboard import all_groups
from kurir.api.legacy.fonnte.numbers import MessageNumbers
from kurir.api.legacy.fonnte.sending import FonnteSends
from kurir.api.legacy.fonnte.tokens import caller_of, callers_of
from kurir.api.media.form import header_of
from kurir.api.media.service import MediaStore
from kurir.api.messages.known import KnownMessages
from kurir.api.messages.service import Messages
from kurir.api.people import phone_in
from kurir.api.problems import Problem
from kurir.api.services import Services
from kurir.contracts.people import TypingState
from kurir.dialects.fonnte import account as account_requests
from kurir.dialects.fonnte import answers, fields
from kurir.dialects.fonnte.errors import Refused, invalid

CHECKED_AT_ONCE = 50
MAX_TYPING_S = 3600

_encode = msgspec.json.Encoder().encode


def sending(services: Services) -> ASGIRouteHandler:
    """`/send`, the hot path, as a plain ASGI handler: what the framework does around others would cost half as much
    again. A request may have its parameters in the URL, too; its token there, or several with commas between them."""
    access, media, fonnte_sends = services.access, services.media, services.fonnte_sends

    async def answered(request: Request[Any, Any, Any]) -> bytes:
        callers = await callers_of(request, access)
        request_id = await fonnte_sends.request_id()
        telling.note(request.scope, callers[0], request_id)
        key = header_of(request.scope, b"idempotency-key")
        async with reading(request, media, callers[0].tenant.id) as body:
            given = {**request.query_params, **body.fields} if request.scope["query_string"] else body.fields
            return _encode(await fonnte_sends.send(callers, given, body.file, request_id, key))

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "POST"):  # type: ignore[typeddict-item]
            raise Problem("METHOD_NOT_ALLOWED", headers={"Allow": "GET, POST"})
        request = Request[Any, Any, Any](scope, receive=receive)
        try:
            body = await answered(request)
        except Refused as refused:
            await telling.tell(request, refused).to_asgi_response(None, request)(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return asgi("/send", copy_scope=False)(handle)


@post("/status", status_code=200)
async def show_status(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    known_messages: NamedDependency[KnownMessages],
    message_numbers: NamedDependency[MessageNumbers],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        given = account_requests.message_of(body.fields)
        status, reason = await _status(caller, await _message_id(given, message_numbers), known_messages)
        return answers.message_status(int(given) if given.isdecimal() else given, status, reason)


@post("/reset-message", status_code=200)
async def reschedule_message(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    messages: NamedDependency[Messages],
    known_messages: NamedDependency[KnownMessages],
    message_numbers: NamedDependency[MessageNumbers],
    media: NamedDependency[MediaStore],
    fonnte_sends: NamedDependency[FonnteSends],
) -> dict[str, Any]:
    """Gives a message that waits for its time another one."""
    caller = await caller_of(request, access)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        given = account_requests.message_of(body.fields)
        if account_requests.is_by_schedule(body.fields):
            raise invalid("byschedule", "give each message by its id.")
        message_id = await _message_id(given, message_numbers)
        send_at = fonnte_sends.time_of(body.fields)
        try:
            await messages.reschedule(caller, message_id, send_at)
        except Problem as problem:
            await _refuse_conflict(problem, "reschedule", caller, message_id, known_messages)
            raise
        return answers.done(f"message {given} successfully rescheduled")


@post("/delete-message", status_code=200)
async def delete_message(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    messages: NamedDependency[Messages],
    known_messages: NamedDependency[KnownMessages],
    message_numbers: NamedDependency[MessageNumbers],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    """Takes back a message that waits for its time."""
    caller = await caller_of(request, access)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        given = account_requests.message_of(body.fields)
        message_id = await _message_id(given, message_numbers)
        try:
            await messages.cancel(caller, message_id)
        except Problem as problem:
            await _refuse_conflict(problem, "delete", caller, message_id, known_messages)
            raise
        return answers.done(f"message {given} successfully deleted")


@post("/validate", status_code=200)
async def validate_numbers(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    contacts: NamedDependency[Contacts],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    device = access.device(caller)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        phones, wrong = [], []
        for number in fields.numbers_of(body.fields):
            try:
                phones.append(phone_in(number, caller.tenant.country, "target"))
            except Problem:
                wrong.append(number)
        checks = []
        for start in range(0, len(phones), CHECKED_AT_ONCE):
            part = tuple(phones[start : start + CHECKED_AT_ONCE])
            checks += await contacts.check_numbers(caller, device.id, part)
        return answers.validated(
            [check.phone for check in checks if check.is_on_whatsapp],
            [check.phone for check in checks if not check.is_on_whatsapp] + wrong,
        )


@post(["/get-whatsapp-group", "/fetch-group"], status_code=200)
async def list_groups(
    request: Request[Any, Any, Any], access: NamedDependency[Access], groups: NamedDependency[Groups]
) -> dict[str, Any]:
    """The groups as they are now: there is no list that would have to be fetched before."""
    caller = await caller_of(request, access)
    return answers.groups(await all_groups(caller, access.device(caller), groups))


@post("/rotator", status_code=200)
async def list_rotators(
    request: Request[Any, Any, Any], access: NamedDependency[Access], address_book: NamedDependency[AddressBook]
) -> dict[str, Any]:
    """The groups of the address book: a message to one goes to one of its contacts, by chance."""
    caller = await caller_of(request, access)
    return answers.rotators(address_book.group_names(caller.tenant.id))


@post("/typing", status_code=200)
async def show_typing(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    chats: NamedDependency[Chats],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    """WhatsApp ends it by itself after some 25 seconds, and when a message is sent."""
    caller = await caller_of(request, access)
    device = access.device(caller)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        fields.whole(body.fields, "duration", 0, MAX_TYPING_S)
        state: TypingState = "paused" if fields.flag(body.fields, "stop", False) else "typing"
        for target in fields.numbers_of(body.fields):
            await chats.show_typing(caller, device.id, target, state)
        return answers.done(f"{state} shown")


@post("/statistics", status_code=200)
async def show_statistics(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    message_counts: NamedDependency[MessageCounts],
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    device = caller.key.device or "*"
    sent, received = [await message_counts.of(caller.tenant.id, type_, device) for type_ in (SENT, RECEIVED)]
    return answers.statistics(sent.total(), received.total())


async def _message_id(given: str, message_numbers: MessageNumbers) -> str:
    """The id of a message that is named by its number, or by its id. Raises Problem MESSAGE_NOT_FOUND."""
    if not given.isdecimal():
        return given
    message_id = await message_numbers.message_id(int(given))
    if message_id is None:
        raise Problem("MESSAGE_NOT_FOUND")
    return message_id


async def _status(caller: Caller, message_id: str, known_messages: KnownMessages) -> tuple[str, str | None]:
    """The native word for a message's status, and why it was not sent. Raises Problem or MongoError."""
    view = await known_messages.show(caller, message_id)
    return view.status, view.error.code if view.error is not None else None


async def _refuse_conflict(
    problem: Problem, what: str, caller: Caller, message_id: str, known_messages: KnownMessages
) -> None:
    """Raise Refused for a message that waits for its time no more."""
    if problem.code == "CONFLICT":
        status, reason = await _status(caller, message_id, known_messages)
        word = "processing" if status == "QUEUED" else answers.status_word(status, reason)
        raise Refused(400, f"cannot {what} message with status {word}") from problem


ROUTES = (
    show_status,
    reschedule_message,
    delete_message,
    validate_numbers,
    list_groups,
    list_rotators,
    show_typing,
    show_statistics,
)


def router(services: Services) -> Router:
    return Router(
        "/",
        route_handlers=[sending(services), *ROUTES, account.router()],
        exception_handlers={Refused: telling.tell},
        include_in_schema=False,
    )
