"""The API of the Baileys gateway: messages of one bot, sent while the caller waits.

A send waits for WhatsApp's word, and says `queued` when there is none yet.
"""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope

from kurir.api.auth import Caller
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.bots import Bots
from kurir.api.legacy.ip_limit import IpLimit
from kurir.api.legacy.sending import Sender, Sent
from kurir.api.media.service import MediaStore
from kurir.api.problems import Problem, Told
from kurir.dialects.baileys_gateway import answers, errors, requests
from kurir.dialects.baileys_gateway.errors import Failure
from kurir.dialects.baileys_gateway.files import FILE_TYPES, FileType
from kurir.dialects.orders import Order

SENT_WITHIN_S = 15.0  # a video is converted in that time; the end of a service leaves requests 20 s

PATHS = ("/api/health/", "/api/qr/", "/api/status/", "/api/send-message/", *(f"{files.path}/" for files in FILE_TYPES))
"""At these it answers, also where another API does so too."""

_FILES_OF_PATH = {files.path: files for files in FILE_TYPES}


def words(problem: Problem, scope: Scope) -> Response[Any]:
    """How this API tells a problem. Its answers have no headers of their own."""
    failed = failure_of(problem, scope["path"])
    return Response(failed.body(datetime.now(UTC)), status_code=failed.status)


def failure_of(problem: Problem, path: str) -> Failure:
    files = _FILES_OF_PATH.get(path.rstrip("/"))
    if files is not None and problem.code == "UNSUPPORTED_MEDIA_TYPE":
        return errors.wrong_type(files)
    if files is not None and problem.code in ("MEDIA_TOO_LARGE", "PAYLOAD_TOO_LARGE"):
        return errors.too_large(files)
    return errors.failure_of(problem.code, problem.message)


def told(failed: Failure) -> Told:
    return Told(failed.status, failed.body(datetime.now(UTC)))


@get("/api/health")
async def show_health(request: Request[Any, Any, Any], bots: NamedDependency[Bots]) -> dict[str, Any]:
    caller = await bots.caller(request.scope["headers"])
    return answers.health(bots.bot(caller), datetime.now(UTC))


@get("/api/qr")
async def show_qr(request: Request[Any, Any, Any], bots: NamedDependency[Bots]) -> dict[str, Any]:
    qr = await bots.qr(await bots.caller(request.scope["headers"]))
    return answers.no_qr_needed() if qr is None else answers.qr_code(qr)


async def send_text(caller: Caller, fields: dict[str, Any], bots: Bots, sender: Sender) -> dict[str, Any]:
    """`POST /api/send-message`, whose path is shared with another API. Raises Failure or Problem."""
    sent = await _send(caller, requests.text_order(fields), bots, sender)
    return answers.text_sent(fields, sent.at, _zone(caller), queued=_is_queued(sent))


def _sending(files: FileType) -> HTTPRouteHandler:
    @post(files.path, status_code=200, name=files.path)
    async def send_file(
        request: Request[Any, Any, Any],
        bots: NamedDependency[Bots],
        ip_limit: NamedDependency[IpLimit],
        media: NamedDependency[MediaStore],
        sender: NamedDependency[Sender],
    ) -> dict[str, Any]:
        try:
            await ip_limit.hit(address_of(request))
            caller = await bots.caller(request.scope["headers"])
            async with reading(request, media, caller.tenant.id, kind=files.kind) as body:
                order = requests.file_order(files, body.fields, body.file.file_name if body.file else None)
                sent = await _send(caller, order, bots, sender, uploaded=body.file)
        except Failure as failed:
            raise told(failed) from None
        assert body.file is not None, "an order with a file came with one"
        return answers.file_sent(
            files, order, body.fields, body.file.info.size, sent.at, _zone(caller), queued=_is_queued(sent)
        )

    return send_file


def address_of(request: Request[Any, Any, Any]) -> str:
    """The caller's IP address, as far as trusted proxies tell it."""
    return request.client.host if request.client is not None else ""


async def _send(caller: Caller, order: Order, bots: Bots, sender: Sender, **more: Any) -> Sent:
    """Raises Failure for a message that WhatsApp did not get, and Problem."""
    sent = await sender.send(
        caller,
        bots.device(caller),
        order,
        refuse_offline=caller.key.options.when_offline != "queue",
        wait_s=SENT_WITHIN_S,
        is_limited=False,  # this API's limit is one of addresses
        **more,
    )
    if sent.outcome is not None and sent.status != "sent":
        raise errors.not_sent(sent.reason, sent.outcome.detail)
    return sent


def _is_queued(sent: Sent) -> bool:
    return sent.outcome is None


def _zone(caller: Caller) -> ZoneInfo:
    return ZoneInfo(caller.tenant.time_zone)


def routes() -> list[HTTPRouteHandler]:
    """Those that no other API has."""
    return [show_health, show_qr, *(_sending(files) for files in FILE_TYPES)]


def router() -> Router:
    return Router("/", route_handlers=routes(), include_in_schema=False)
