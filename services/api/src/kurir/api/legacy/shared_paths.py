"""Paths that several gateways have: who asks, and how, decides in whose words is answered, failures too.

The dialect that the key is bound to goes first, then the host that was asked, then the form of the request.
"""

from collections.abc import Mapping
from typing import Any, Literal

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
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


@post(SEND_MESSAGE, status_code=200)
async def send_message(
    request: Request[Any, Any, Any],
    bots: NamedDependency[Bots],
    hosts: NamedDependency[Hosts],
    ip_limit: NamedDependency[IpLimit],
    access: NamedDependency[Access],
    media: NamedDependency[MediaStore],
    sender: NamedDependency[Sender],
) -> dict[str, Any]:
    """A text. Who is not known is told so in the words that the request is written in."""
    headers = request.scope["headers"]
    caller, fields, failed = None, {}, None
    try:
        async with reading(request, media, NOBODY, file_parts=()) as body:
            fields = body.fields
    except Problem as problem:
        failed = problem
    try:
        caller = await bots.caller(headers)
    except Problem as problem:
        failed = problem
    dialect = sender_of((caller and caller.key.dialect) or hosts.dialect(request), dict(headers), fields)
    try:
        if dialect == "baileys_gateway":
            await ip_limit.hit(baileys_gateway.address_of(request))
        if failed is not None or caller is None:
            raise failed or Problem("MISSING_API_KEY")
        if dialect == "baileys_gateway":
            return await baileys_gateway.send_text(caller, fields, bots, sender)
        return await fonnte_dashboard.send_text(caller, fields, access, sender)
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


def router() -> Router:
    return Router("/", route_handlers=(show_service, show_status, send_message), include_in_schema=False)
