"""RK Connect's API: `POST /api/v1/send` and `GET /api/v1/status/{uuid}`, for keys that sign their requests.

A request is believed when its key, its address and its signature are right, in this order, and read no sooner; the
bytes of a form are counted into the signature as they come, and its file is gone again when that turns out wrong. A
key without a secret signs nothing. What is accepted although nobody signed its form is written into the audit log.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.handlers import asgi
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send
from msgspec import Struct
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.devices.service import Devices
from kurir.api.legacy.access import Access
from kurir.api.legacy.bodies import MAX_TEXT_BYTES, MAX_URLENCODED_FIELDS, reading
from kurir.api.legacy.sending import Sender, Sent
from kurir.api.media.form import body_chunks
from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.messages.known import KnownMessages
from kurir.api.problems import Problem
from kurir.api.rate_limit import SendLimit
from kurir.contracts.records import Device
from kurir.dialects.rk_connect import answers, errors, requests
from kurir.dialects.rk_connect.errors import Refused
from kurir.dialects.rk_connect.signing import Signature, is_timely

PREFIX = "/api/v1"
MESSAGES_PER_MINUTE = 60  # of a project, which is a tenant here
MAX_REQUEST_ID_LENGTH = 200
MEDIA = "media"
_JSON = (b"content-type", b"application/json")

_encode = msgspec.json.Encoder().encode

Headers = Mapping[bytes, bytes]
"""A request's headers by their names in lower case."""


class Parts(Struct, frozen=True):
    """What sending needs."""

    access: Access
    sender: Sender
    media: MediaStore
    send_limit: SendLimit
    changes: Changes
    node_name: str


def sending(parts: Parts) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """`POST /send`: accept a text, or a file in a form. A plain ASGI handler, as those of the native API's sends."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise Problem("METHOD_NOT_ALLOWED", headers={"Allow": "POST"})
        headers = dict(scope["headers"])
        caller, signature = await _project(scope, headers, parts.access)
        content_type = _text(headers, b"content-type")
        if content_type.startswith("multipart/form-data"):
            sent = await _send_form(parts, caller, signature, headers, Request(scope, receive))
        else:
            pieces = [piece async for piece in body_chunks(scope, receive, MAX_TEXT_BYTES)]
            asked = _read(b"".join(pieces), content_type, signature)
            device = await _admitted(parts, caller, headers)
            sent = await _accept(parts, caller, device, headers, asked)
        code = sent.device.code or sent.device.id
        body = _encode(answers.queued(sent.id, code, parts.node_name, is_repeat=sent.is_repeat))
        raw = [_JSON, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return handle


async def _send_form(
    parts: Parts, caller: Caller, signature: Signature | None, headers: Headers, request: Request[Any, Any, Any]
) -> Sent:
    see = signature.add if signature is not None else _unseen
    async with reading(request, parts.media, caller.tenant.id, file_parts=(MEDIA,), on_bytes=see) as body:
        is_body_signed = _check_form(signature, caller)
        device = await _admitted(parts, caller, headers)
        asked = requests.from_form(body.fields, has_file=body.file is not None)
        sent = await _accept(parts, caller, device, headers, asked, body.file)
        if body.file is not None and (asked.type == "text" or sent.is_repeat):
            await parts.media.forget(body.file)
    if not is_body_signed and not sent.is_repeat:
        what, target = "message.form_not_signed", sent.id
        await parts.changes.tell(caller.tenant.id, what, actor=caller.key, target=target, device=device.id)
    return sent


@get("/status/{message_id:str}")
async def show_status(
    message_id: FromPath[str],
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    known_messages: NamedDependency[KnownMessages],
    devices: NamedDependency[Devices],
) -> dict[str, Any]:
    """How far a message has come."""
    caller, signature = await _project(request.scope, dict(request.scope["headers"]), access)
    if signature is not None and not signature.is_over_nothing():
        raise Refused("INVALID_SIGNATURE")
    facts = await known_messages.facts(caller, message_id)
    code = _code_of(caller, devices, facts[0].device) if facts else ""
    told = answers.status(facts, code, ZoneInfo(caller.tenant.time_zone), _server_id(request.scope))
    if told is None:
        raise Refused("MESSAGE_NOT_FOUND")
    return told


def router(parts: Parts) -> Router:
    handlers = [asgi("/send", copy_scope=False)(sending(parts)), show_status]
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


async def _project(scope: Scope, headers: Headers, access: Access) -> tuple[Caller, Signature | None]:
    """Whose key it is, and the signature that its request's body is still to be held against, if it has to have one.

    Raises Refused or Problem.
    """
    api_key = _text(headers, b"x-api-key")
    caller = await access.caller(api_key, is_signed=True)
    networks = caller.key.options.networks
    if networks and not _is_in(networks, scope["client"][0] if scope["client"] else ""):
        raise Refused("IP_NOT_ALLOWED")
    secret = access.secret(caller.key)
    if secret is None:
        return caller, None
    timestamp, given = _text(headers, b"x-timestamp"), _text(headers, b"x-signature")
    if not timestamp or not given:
        raise Refused("MISSING_SIGNATURE_HEADERS")
    if not is_timely(timestamp, time.time()):
        raise Refused("TIMESTAMP_EXPIRED")
    return caller, Signature(secret, api_key, timestamp, given)


def _is_in(networks: Collection[str], address: str) -> bool:
    """Whether an address is in one of `networks` (CIDR)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in ipaddress.ip_network(network, strict=False) for network in networks)


def _read(raw: bytes, content_type: str, signature: Signature | None) -> requests.Send:
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


async def _admitted(parts: Parts, caller: Caller, headers: Headers) -> Device:
    """The device that is to send, when the project may send another message. Raises Refused or Problem."""
    code = _text(headers, b"x-device-code")
    if not code:
        raise Refused("MISSING_DEVICE_CODE")
    bound_to = caller.key.device
    of_tenant = caller if bound_to is None else replace(caller, key=replace(caller.key, device=None))
    device = parts.access.device(of_tenant, code)
    if bound_to not in (None, device.id):
        raise Refused("DEVICE_NOT_ALLOWED")
    await parts.send_limit.hit_tenant(caller.tenant, MESSAGES_PER_MINUTE)
    return device


async def _accept(
    parts: Parts,
    caller: Caller,
    device: Device,
    headers: Headers,
    asked: requests.Send,
    file: StoredFile | None = None,
) -> Sent:
    uploaded = file if asked.type != "text" else None
    if uploaded is not None and uploaded.document_type not in requests.TYPES:
        raise Refused("UNSUPPORTED_MEDIA_TYPE")
    options = caller.key.options
    return await parts.sender.send(
        caller,
        device,
        asked.order(),
        uploaded=uploaded,
        request_id=_request_id(headers),
        whatever_body=not options.strict_request_id,
        refuse_offline=options.when_offline == "refuse",
        is_limited=False,
    )


def _request_id(headers: Headers) -> str | None:
    given = _text(headers, b"x-request-id")
    if len(given) > MAX_REQUEST_ID_LENGTH:
        message = f"The X-REQUEST-ID may not be longer than {MAX_REQUEST_ID_LENGTH} characters."
        raise Refused("VALIDATION_ERROR", message, errors={"X-REQUEST-ID": [message]})
    return f"X-REQUEST-ID {given}" if given else None  # the native API's keys are others


def _code_of(caller: Caller, devices: Devices, device_id: str) -> str:
    try:
        return devices.get(caller, device_id).code or device_id
    except Problem:  # it was deleted since
        return device_id


def _server_id(scope: Scope) -> str:
    return str(scope["litestar_app"].state.node_name)


def _text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").strip()


def _unseen(_: bytes) -> None:
    """Of a form that nobody has signed."""
