"""Paths that several gateways have: who asks, and how, decides in whose words is answered, failures too.

The dialect that the key is bound to goes first, then the host that was asked, then the form of the request.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from litestar import Request, Router, get
from litestar.di import NamedDependency
from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from kurir.api.legacy import baileys_gateway
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.bots import Bots
from kurir.api.legacy.fonnte import dashboard as fonnte_dashboard
from kurir.api.legacy.fonnte.status import FonnteStatus
from kurir.api.legacy.ip_limit import IpLimit
from kurir.api.legacy.sending import Sender
from kurir.api.media.form import header_of
from kurir.api.media.service import MediaStore
from kurir.api.problems import Problem, Told, problem_of
from kurir.contracts.records import Dialect
from kurir.dialects.baileys_gateway import answers
from kurir.dialects.baileys_gateway.errors import Failure
from kurir.dialects.evolution.welcome import welcome
from kurir.dialects.fonnte import errors as fonnte_errors
from kurir.dialects.fonnte.errors import Refused

SEND_MESSAGE = "/api/send-message"
NOBODY = ""  # the tenant of a body without files: nothing of it is stored
DOCUMENTATION = {
    "swagger": "/api/docs",
    "openapi": "/api/openapi.json",
    "llms": "/llms.txt",
    "llmsFull": "/llms-full.txt",
}
Sending = Literal["baileys_gateway", "fonnte"]

_encode = msgspec.json.Encoder().encode


class Hosts(Struct, frozen=True):
    """Which API answers at which host, as the operator says; `public_url` is where tenants reach this one."""

    dialects: dict[str, Dialect]
    public_url: str

    def dialect(self, request: Request[Any, Any, Any]) -> Dialect | None:
        host = (header_of(request.scope, b"host") or "").rpartition("@")[2].lower()
        return self.dialects.get(host) or self.dialects.get(host.partition(":")[0])


def sender_of(dialect: Dialect | None, headers: Mapping[bytes, bytes], fields: Mapping[str, object]) -> Sending:
    """Whose `POST /api/send-message` a request means. `dialect` is the key's or the host's."""
    if dialect == "baileys_gateway" or dialect == "fonnte":
        return dialect
    has_key, bearer = b"x-api-key" in headers, headers.get(b"authorization", b"").lower()
    if "phone" in fields and "to" in fields:
        return "baileys_gateway" if has_key and not bearer else "fonnte"
    if "phone" in fields or "to" in fields:
        return "baileys_gateway" if "phone" in fields else "fonnte"
    return "fonnte" if not has_key and bearer.startswith(b"bearer wa_") else "baileys_gateway"


@get("/")
async def show_service(
    request: Request[Any, Any, Any], bots: NamedDependency[Bots], hosts: NamedDependency[Hosts]
) -> dict[str, Any]:
    """What this is. Needs no key; who gives one hears of the bot, too."""
    if header_of(request.scope, b"apikey") is not None or hosts.dialect(request) == "evolution":
        return welcome(hosts.public_url)
    try:
        caller = await bots.caller(request.scope["headers"])
    except Problem as problem:
        if problem.code not in ("MISSING_API_KEY", "DEVICE_NOT_FOUND", "TENANT_NOT_FOUND"):
            raise
        caller = None
    return {**answers.service_document(bots.bot(caller)), "documentation": DOCUMENTATION}


@get("/api/status")
async def show_status(
    request: Request[Any, Any, Any],
    bots: NamedDependency[Bots],
    hosts: NamedDependency[Hosts],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    """The bot's status; who has a key sees the devices of that key, too, as the other gateway shows them."""
    headers = request.scope["headers"]
    try:
        caller = await bots.caller(headers)
        told = answers.status(bots.bot(caller))
        if (key := credential(headers, "X-API-Key", "Authorization")) is not None:
            told |= {"devices": await fonnte_status.devices(caller, key), "publicUrl": hosts.public_url}
    except Exception as error:
        raise _told(sender_of(hosts.dialect(request), dict(headers), {}), error) from error
    return told


class Parts(Struct, frozen=True):
    """What `POST /api/send-message` needs."""

    bots: Bots
    hosts: Hosts
    ip_limit: IpLimit
    access: Access
    media: MediaStore
    sender: Sender


def sending(parts: Parts) -> ASGIRouteHandler:
    """`POST /api/send-message`, a text, as a plain ASGI handler: what the framework does around others would cost half
    as much again."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise Problem("METHOD_NOT_ALLOWED", headers={"Allow": "POST"})
        body = _encode(await _send_message(parts, Request(scope, receive)))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return asgi(SEND_MESSAGE, copy_scope=False)(handle)


async def _send_message(parts: Parts, request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The answer. Who is not known is told so in the words that the request is written in. Raises Told."""
    headers = request.scope["headers"]
    caller, fields, failed = None, {}, None
    try:
        async with reading(request, parts.media, NOBODY, file_parts=()) as body:
            fields = body.fields
    except Problem as problem:
        failed = problem
    try:
        caller = await parts.bots.caller(headers)
    except Problem as problem:
        failed = problem
    dialect = sender_of((caller and caller.key.dialect) or parts.hosts.dialect(request), dict(headers), fields)
    try:
        if dialect == "baileys_gateway":
            await parts.ip_limit.hit(baileys_gateway.address_of(request))
        if failed is not None or caller is None:
            raise failed or Problem("MISSING_API_KEY")
        if dialect == "baileys_gateway":
            return await baileys_gateway.send_text(caller, fields, parts.bots, parts.sender)
        return await fonnte_dashboard.send_text(caller, fields, parts.access, parts.sender)
    except Exception as error:
        raise _told(dialect, error) from error


def _told(dialect: Sending, error: Exception) -> Told:
    match error:
        case Failure():
            return baileys_gateway.told(error)
        case Refused():
            return Told(error.status, fonnte_errors.dashboard(error))
    problem = problem_of(error)
    if dialect == "baileys_gateway":
        return baileys_gateway.told(baileys_gateway.failure_of(problem, SEND_MESSAGE))
    return _told(dialect, fonnte_errors.dashboard_of_kurir(problem.code, problem.message))


def router(parts: Parts) -> Router:
    return Router("/", route_handlers=(show_service, show_status, sending(parts)), include_in_schema=False)
