"""One request of an Evolution client: who asks, about which instance, and with what.

Handlers take the request as it is, because the framework's own reading of parameters would cost more than the
translation. The key is judged before the instance is looked for, and before the body is read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import litestar
import msgspec
from litestar import HttpMethod, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope
from msgspec import Struct

from kurir.api.auth import Caller
from kurir.api.legacy.access import credential
from kurir.api.legacy.bodies import MAX_TEXT_BYTES, Body, reading
from kurir.api.media.form import header_of
from kurir.api.media.kinds import MAX_BYTES, MediaKind
from kurir.api.media.pictures import NewPicture
from kurir.api.problems import Problem, Told
from kurir.api.services import Services
from kurir.contracts.content import Media
from kurir.contracts.records import Device
from kurir.dialects.evolution import errors
from kurir.dialects.evolution.answers import Whose
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Invalid
from kurir.dialects.evolution.instance_answers import Instance
from kurir.dialects.evolution.pictures import Picture
from kurir.dialects.evolution.requests import Version

MAX_BASE64_BYTES = MAX_BYTES * 4 // 3 + MAX_TEXT_BYTES
MAX_QUERY_FIELDS = 64
KEY_HEADERS = ("apikey", "Authorization")

_JSON = "application/json; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """Status and body; `headers` beside those that every answer has."""

    status: int
    body: Any
    headers: dict[str, str] = {}


class Call:
    """`name` is the instance's name in the path, "" where the path has none."""

    def __init__(self, services: Services, public_url: str, request: Request[Any, Any, Any], caller: Caller) -> None:
        self.services = services
        self.public_url = public_url
        self.caller = caller
        self._request = request
        self._scope = request.scope
        self.name: str = request.scope.get("path_params", {}).get("instance", "")

    @property
    def query(self) -> dict[str, str]:
        text = self._scope["query_string"].decode("latin-1")
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
        except ValueError:
            raise Problem("VALIDATION_ERROR", "The query has too many fields.") from None

    def version(self, by_body: Version | None = None) -> Version:
        """Whose shapes to answer in: the body's, else those that `Accept-Version` or the key asks for."""
        asked = (header_of(self._scope, b"accept-version") or "").strip().lower().removeprefix("v")
        by_header: Version | None = "v2" if asked.startswith("2") else "v1" if asked.startswith("1") else None
        return by_body or by_header or self.caller.key.options.evolution_version

    @property
    def key(self) -> str | None:
        """The API key that was given."""
        return credential(self._scope["headers"], *KEY_HEADERS)

    @property
    def device(self) -> Device:
        """The instance. Raises Told: 404, for another tenant's too."""
        return self.device_of(self.name)

    def device_of(self, name: str) -> Device:
        try:
            return self.services.access.device(self.caller, name)
        except Problem as problem:
            if problem.code != "DEVICE_NOT_FOUND":
                raise
            raise Told(404, errors.no_instance(name)) from None

    def instance(self, device: Device, *, picture: str | None = None) -> Instance:
        shows_key = self.caller.key.options.show_key
        return Instance(
            device=device,
            session=self.services.devices.session(device),
            server_url=self.public_url,
            picture=picture,
            key=self.key if shows_key else None,
        )

    def whose(self, device: Device) -> Whose:
        return Whose(instance=device.code or device.id, instance_id=device.id, media_url=self.media_url)

    def media_url(self, media: Media) -> str | None:
        return f"{self.public_url}/media/{media.object.rpartition('/')[2]}" if media.object else None

    async def fields(self) -> dict[str, Any]:
        """The body's fields. Raises Problem INVALID_JSON or PAYLOAD_TOO_LARGE."""
        async with self.body() as body:
            return body.fields

    @asynccontextmanager
    async def body(
        self, *, kind: MediaKind | None = None, file_parts: tuple[str, ...] = (), max_bytes: int = MAX_TEXT_BYTES
    ) -> AsyncIterator[Body]:
        """The body for the time of the block, its file, if any, as `kind`; see `bodies.reading`."""
        tenant = self.caller.tenant.id
        async with reading(
            self._request, self.services.media, tenant, kind=kind, file_parts=file_parts, max_text_bytes=max_bytes
        ) as body:
            yield body


def native_picture(picture: Picture) -> NewPicture:
    return NewPicture(url=picture.url, data=picture.data)


Handler = Callable[[Call], Awaitable[Answer]]


def route(path: str, handlers: Mapping[str, Handler], services: Services, public_url: str) -> HTTPRouteHandler:
    """The handlers of a path by method."""

    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        scope = request.scope
        caller = await services.access.caller(credential(scope["headers"], *KEY_HEADERS))
        try:
            answer = await handlers[scope["method"]](Call(services, public_url, request, caller))
        except Invalid as invalid:
            answer = Answer(400, errors.invalid(invalid.messages))
        except Refused as refused:
            answer = Answer(refused.status, errors.refused(refused))
        return Response(_encode(answer.body), status_code=answer.status, headers=answer.headers, media_type=_JSON)

    methods = [HttpMethod(method) for method in handlers]
    return litestar.route(path, http_method=methods, status_code=200, include_in_schema=False)(handle)


def words(problem: Problem, scope: Scope) -> Response[Any]:
    """How this API tells a problem."""
    status, body = errors.told(
        problem.code,
        problem.status,
        errors.lacking(problem.capability).message if problem.capability else problem.message,
        field=problem.field,
        method=scope["method"],  # type: ignore[typeddict-item]
        path=scope["path"],
    )
    return Response(body, status_code=status, headers=problem.headers)
