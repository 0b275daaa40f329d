"""`POST /messages/send-…`: the hot path, as plain ASGI handlers.

A message costs one look into memory for the key, one decoding by a decoder made once, and three confirmed publishes.
The framework's own reading of parameters would cost half as much again; the OpenAPI document tells of these paths
from the table below.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import get_args

import msgspec
from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from kurir.api.auth import Authenticator, Caller
from kurir.api.media.form import Form, body_chunks, forgotten_on_failure, header_of, read_form
from kurir.api.media.kinds import MAX_BYTES, MediaKind
from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.messages.requests import (
    SendContact,
    SendList,
    SendLocation,
    SendMedia,
    SendPoll,
    SendReaction,
    SendRequest,
    SendText,
    send_media_from_form,
)
from kurir.api.messages.service import Accepted, MediaSource, Messages
from kurir.api.problems import Problem, invalid
from kurir.contracts.content import Media

SENDS: dict[str, tuple[type[SendRequest], str]] = {
    "/messages/send-text": (SendText, "Send a text."),
    "/messages/send-media": (SendMedia, "Send an image, video, audio, document or sticker, by URL or as a file."),
    "/messages/send-location": (SendLocation, "Send a place."),
    "/messages/send-contact": (SendContact, "Send one or more contact cards."),
    "/messages/send-poll": (SendPoll, "Send a poll."),
    "/messages/send-list": (SendList, "Send a list to choose from."),
    "/messages/send-reaction": (SendReaction, "React to a message, or take a reaction back."),
}

MAX_JSON_BYTES = 1024 * 1024  # the longest text is 64 kB; the bus takes messages up to 1 MB
MAX_FORM_BYTES = MAX_BYTES + 1024 * 1024
TOO_DEEP = "The body is nested too deeply."
_KINDS = frozenset(get_args(MediaKind))
_JSON = (b"content-type", b"application/json")

_encode = msgspec.json.Encoder().encode


class Parts(Struct, frozen=True):
    """What the handlers need."""

    authenticator: Authenticator
    messages: Messages
    media: MediaStore


def handlers(parts: Parts) -> list[ASGIRouteHandler]:
    """One handler for each path of `SENDS`."""
    return [asgi(path, copy_scope=False)(_handler(parts, request_type)) for path, (request_type, _) in SENDS.items()]


def _handler(parts: Parts, request_type: type[SendRequest]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    decode = msgspec.json.Decoder(request_type).decode

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise Problem("METHOD_NOT_ALLOWED", headers={"Allow": "POST"})
        await parts.authenticator.learn(scope["headers"])
        caller = parts.authenticator.tenant(scope["headers"])
        key = header_of(scope, b"idempotency-key")
        content_type = header_of(scope, b"content-type") or ""
        if request_type is SendMedia and content_type.startswith("multipart/form-data"):
            await _send_form(parts, caller, key, content_type, scope, receive, send)
            return
        body = await _body(scope, receive)
        try:
            request = decode(body)
        except msgspec.ValidationError as error:
            raise invalid(error, request_type) from None
        except RecursionError:
            raise Problem("INVALID_JSON", TOO_DEEP) from None
        source = None
        if isinstance(request, SendMedia):
            if request.url is None:
                raise Problem("VALIDATION_ERROR", "Give a url, or send the file as multipart/form-data.", field="url")
            source = _Fetched(parts.media, caller.tenant.id, request, request.url)
        await _accept(parts, caller, request, key, source, send)

    return handle


async def _accept(
    parts: Parts, caller: Caller, request: SendRequest, key: str | None, source: MediaSource | None, send: Send
) -> None:
    order = parts.messages.check(caller, request)
    accepted, headers = await parts.messages.take(order, key, source)
    await _answer(send, accepted, headers)


async def _send_form(
    parts: Parts, caller: Caller, key: str | None, content_type: str, scope: Scope, receive: Receive, send: Send
) -> None:
    tenant = caller.tenant.id

    async def take_file(data: AsyncIterator[bytes], name: str | None, before: dict[str, str]) -> StoredFile:
        kind = before.get("kind")
        known: MediaKind | None = kind if kind in _KINDS else None  # type: ignore[assignment]
        return await parts.media.keep(tenant, data, kind=known, file_name=name, field="file")

    form: Form[StoredFile] = Form()
    async with forgotten_on_failure(parts.media, form):
        await read_form(form, content_type, body_chunks(scope, receive, MAX_FORM_BYTES), take_file)
        try:
            request = send_media_from_form(form.fields)
        except msgspec.ValidationError as error:
            raise invalid(error, SendMedia) from None
        except RecursionError:
            raise Problem("INVALID_JSON", TOO_DEEP) from None
        source: MediaSource
        if form.file is not None:
            if request.url is not None:
                raise Problem("VALIDATION_ERROR", "Give a file or a url, not both.", field="url")
            source = _Uploaded(form.file, request)
        elif request.url is not None:
            source = _Fetched(parts.media, tenant, request, request.url)
        else:
            raise Problem("VALIDATION_ERROR", "A file or a url is needed.", field="file")
        await _accept(parts, caller, request, key, source, send)


class _Uploaded:
    """The file of a form. It is judged before anything is accepted."""

    def __init__(self, file: StoredFile, request: SendMedia) -> None:
        self._media = file.as_kind(request.kind, request.file_name, field="file")
        self.digest = self._media.sha256

    async def get(self) -> Media:
        return self._media


class _Fetched:
    """The file at a URL. Downloaded after everything else was found right, and not for a repeat."""

    digest = ""

    def __init__(self, media: MediaStore, tenant: str, request: SendMedia, url: str) -> None:
        self._media = media
        self._tenant = tenant
        self._request = request
        self._url = url

    async def get(self) -> Media:
        kind, name = self._request.kind, self._request.file_name
        file = await self._media.fetch(self._tenant, self._url, kind=kind, file_name=name)
        return file.as_kind(kind, name, field="url")


async def _body(scope: Scope, receive: Receive) -> bytes:
    first = await receive()
    if first["type"] == "http.request" and not first.get("more_body"):  # nearly always
        if len(body := first["body"]) > MAX_JSON_BYTES:
            raise Problem("PAYLOAD_TOO_LARGE")
        return bytes(body)
    pieces = [piece async for piece in body_chunks(scope, receive, MAX_JSON_BYTES, first)]
    return b"".join(pieces)


async def _answer(send: Send, accepted: Accepted, headers: dict[str, str]) -> None:
    body = _encode(accepted)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw += [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
