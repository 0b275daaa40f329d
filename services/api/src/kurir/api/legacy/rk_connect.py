"""RK Connect's API: `POST /api/v1/send` and `GET /api/v1/status/{uuid}`, for keys that sign their requests.

A request is believed when its key, its address and its signature are right, in this order, and read no sooner; the
bytes of a form are counted into the signature as they come, and its file is gone again when that turns out wrong. A
key without a secret signs nothing. What is accepted although nobody signed its form is written into the audit log.
"""

import ipaddress
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import Scope
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.devices.service import Devices
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.bodies import MAX_TEXT_BYTES, MAX_URLENCODED_FIELDS, Body, reading
from kurir.api.legacy.sending import Sender, Sent
from kurir.api.media.form import body_chunks, header_of
from kurir.api.media.service import MediaStore
from kurir.api.messages.service import Messages
from kurir.api.problems import Problem
from kurir.api.rate_limit import SendLimit
from kurir.contracts.records import Device
from kurir.dialects.rk_connect import answers, errors, requests
from kurir.dialects.rk_connect.errors import Refused
from kurir.dialects.rk_connect.requests import Send
from kurir.dialects.rk_connect.signing import Signature, is_timely

PREFIX = "/api/v1"
MESSAGES_PER_MINUTE = 60  # of a project, which is a tenant here
MAX_REQUEST_ID_LENGTH = 200
MEDIA = "media"


@post("/send", status_code=200)
async def send_message(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    sender: NamedDependency[Sender],
    media: NamedDependency[MediaStore],
    send_limit: NamedDependency[SendLimit],
    changes: NamedDependency[Changes],
) -> dict[str, Any]:
    """Accept a text, or a file in a form."""
    caller, signature = await _project(request, access)
    content_type = header_of(request.scope, b"content-type") or ""
    if not content_type.startswith("multipart/form-data"):
        pieces = [piece async for piece in body_chunks(request.scope, request.receive, MAX_TEXT_BYTES)]
        sent = _read(b"".join(pieces), content_type, signature)
        device = await _admitted(request, access, caller, send_limit)
        return _queued(request, await _accept(request, sender, caller, device, sent))
    see = signature.add if signature is not None else _unseen
    async with reading(request, media, caller.tenant.id, file_parts=(MEDIA,), on_bytes=see) as body:
        is_body_signed = _check_form(signature, caller)
        device = await _admitted(request, access, caller, send_limit)
        sent = requests.from_form(body.fields, has_file=body.file is not None)
        accepted = await _accept(request, sender, caller, device, sent, body)
        if body.file is not None and (sent.type == "text" or accepted.is_repeat):
            await media.forget(body.file)
    if not is_body_signed and not accepted.is_repeat:
        what, target = "message.form_not_signed", accepted.id
        await changes.tell(caller.tenant.id, what, actor=caller.key, target=target, device=device.id)
    return _queued(request, accepted)


@get("/status/{message_id:str}")
async def show_status(
    message_id: FromPath[str],
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    messages: NamedDependency[Messages],
    devices: NamedDependency[Devices],
) -> dict[str, Any]:
    """How far a message has come."""
    caller, signature = await _project(request, access)
    if signature is not None and not signature.is_over_nothing():
        raise Refused("INVALID_SIGNATURE")
    facts = await messages.facts(caller, message_id)
    code = _code_of(caller, devices, facts[0].device) if facts else ""
    told = answers.status(facts, code, ZoneInfo(caller.tenant.time_zone), _server_id(request.scope))
    if told is None:
        raise Refused("MESSAGE_NOT_FOUND")
    return told


def router() -> Router:
    handlers = [send_message, show_status]
    return Router(PREFIX, route_handlers=handlers, exception_handlers={Refused: _refuse}, include_in_schema=False)


def words(problem: Problem, scope: Scope) -> Response[dict[str, Any]]:
    """How this API tells a problem, see problems.Words."""
    refused = errors.of_kurir(problem.code, problem.message, problem.field)
    return _told(refused, scope, problem.headers)


def _refuse(request: Request[Any, Any, Any], refused: Refused) -> Response[dict[str, Any]]:
    return _told(refused, request.scope, {})


def _told(refused: Refused, scope: Scope, headers: dict[str, str]) -> Response[dict[str, Any]]:
    wait = headers.get("Retry-After", "")
    body = errors.body(refused, _server_id(scope), retry_after_s=int(wait) if wait.isdecimal() else None)
    return Response(body, status_code=refused.status, headers=headers)


async def _project(request: Request[Any, Any, Any], access: Access) -> tuple[Caller, Signature | None]:
    """Whose key it is, and the signature that its request's body is still to be held against, if it has to have one.

    Raises Refused or Problem.
    """
    api_key = credential(request.scope["headers"], "X-API-KEY")
    caller = await access.caller(api_key, is_signed=True)
    if not _is_allowed(request.client.host if request.client else "", caller.key.options.networks):
        raise Refused("IP_NOT_ALLOWED")
    secret = access.secret(caller.key)
    if secret is None:
        return caller, None
    timestamp = request.headers.get("X-TIMESTAMP", "").strip()
    given = request.headers.get("X-SIGNATURE", "").strip()
    if not timestamp or not given:
        raise Refused("MISSING_SIGNATURE_HEADERS")
    if not is_timely(timestamp, time.time()):
        raise Refused("TIMESTAMP_EXPIRED")
    return caller, Signature(secret, api_key or "", timestamp, given)


def _is_allowed(address: str, networks: Iterable[str]) -> bool:
    """Whether a key that is bound to `networks` (CIDR), if to any, may be used from an address."""
    allowed = [ipaddress.ip_network(network, strict=False) for network in networks]
    if not allowed:
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in allowed)


def _read(raw: bytes, content_type: str, signature: Signature | None) -> Send:
    """The request in a body without a file. Raises Refused."""
    if signature is not None:
        signature.add(raw)
        if not signature.is_over_the_body() and not signature.is_over_php_json(raw):
            raise Refused("INVALID_SIGNATURE")
    if not content_type.startswith("application/x-www-form-urlencoded"):
        return requests.from_json(raw)
    try:
        fields = parse_qsl(raw.decode(), True, max_num_fields=MAX_URLENCODED_FIELDS, errors="strict")
    except ValueError:
        raise Refused("VALIDATION_ERROR", "The form cannot be read.") from None
    return requests.from_form(dict(fields), has_file=False)


def _check_form(signature: Signature | None, caller: Caller) -> bool:
    """Whether the form's bytes are signed; a key may also take the signature over an empty body. Raises Refused."""
    if signature is None or signature.is_over_the_body():
        return True
    if caller.key.options.multipart_signature == "lenient" and signature.is_over_nothing():
        return False
    raise Refused("INVALID_SIGNATURE")


async def _admitted(request: Request[Any, Any, Any], access: Access, caller: Caller, send_limit: SendLimit) -> Device:
    """The device that is to send, when the project may send another message. Raises Refused or Problem."""
    code = request.headers.get("X-DEVICE-CODE", "").strip()
    if not code:
        raise Refused("MISSING_DEVICE_CODE")
    device = access.device(replace(caller, key=replace(caller.key, device=None)), code)
    if caller.key.device not in (None, device.id):
        raise Refused("DEVICE_NOT_ALLOWED")
    await send_limit.hit_tenant(caller.tenant, MESSAGES_PER_MINUTE)
    return device


async def _accept(
    request: Request[Any, Any, Any],
    sender: Sender,
    caller: Caller,
    device: Device,
    sent: Send,
    body: Body | None = None,
) -> Sent:
    file = body.file if body is not None and sent.type != "text" else None
    if file is not None and file.document_type not in requests.TYPES:
        raise Refused("UNSUPPORTED_MEDIA_TYPE")
    options = caller.key.options
    return await sender.send(
        caller,
        device,
        sent.order(),
        uploaded=file,
        request_id=_request_id(request),
        whatever_body=not options.strict_request_id,
        refuse_offline=options.when_offline == "refuse",
        is_limited=False,
    )


def _request_id(request: Request[Any, Any, Any]) -> str | None:
    given = request.headers.get("X-REQUEST-ID", "")
    if len(given) > MAX_REQUEST_ID_LENGTH:
        message = f"The X-REQUEST-ID may not be longer than {MAX_REQUEST_ID_LENGTH} characters."
        raise Refused("VALIDATION_ERROR", message, errors={"X-REQUEST-ID": [message]})
    return f"X-REQUEST-ID {given}" if given else None  # the native API's keys are others


def _code_of(caller: Caller, devices: Devices, device_id: str) -> str:
    try:
        return devices.get(caller, device_id).code or device_id
    except Problem:  # it was deleted since
        return device_id


def _queued(request: Request[Any, Any, Any], sent: Sent) -> dict[str, Any]:
    code = sent.device.code or sent.device.id
    return answers.queued(sent.id, code, _server_id(request.scope), is_repeat=sent.is_repeat)


def _server_id(scope: Scope) -> str:
    return str(scope["litestar_app"].state.node_name)


def _unseen(_: bytes) -> None:
    """Of a form that nobody has signed."""
