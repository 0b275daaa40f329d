"""Showing a device's QR code in a frame of the tenant's own web site: the token, and the page that it opens.

Guarantees: the page is shown in frames of the token's origin alone, loads nothing from elsewhere, and tells that origin
alone, by `postMessage`, how the pairing goes.
"""

import html
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.embed.tokens import EmbedTokens
from kurir.api.problems import Problem
from kurir.api.projects.schemas import Origin

MOUNTS = ("/embed", "/api/embed")


class NewEmbedToken(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`returnOrigin` is the web site that frames the page, one of the project's `allowedOrigins`; `ttl` is how
    long the token is good, in seconds."""

    return_origin: Origin
    ttl: Annotated[int, Meta(ge=60, le=3600)] = 600


class EmbedToken(Struct, frozen=True, kw_only=True, rename="camel"):
    """`url` is what the frame's `src` is to be."""

    token: str
    url: str
    expires_at: datetime


@post("/devices/{device_id:str}/embed-token", status_code=200, tags=["Projects"])
async def create_embed_token(
    device_id: FromPath[str],
    data: JSONBody[NewEmbedToken],
    caller: NamedDependency[Caller],
    devices: NamedDependency[Devices],
    embed_tokens: NamedDependency[EmbedTokens],
) -> EmbedToken:
    """A page for a frame of your web site, that shows the device's QR code until it is connected."""
    device = devices.get(caller, device_id)
    token, until = embed_tokens.make(caller, device, data.return_origin, data.ttl)
    return EmbedToken(token=token, url=embed_tokens.url_of(token), expires_at=until)


@get([f"{mount}/qr" for mount in MOUNTS], include_in_schema=False)
async def show_page(
    embed_tokens: NamedDependency[EmbedTokens], token: Annotated[str, QueryParameter()] = ""
) -> Response[bytes]:
    """The page of a token."""
    embedded = embed_tokens.read(token)
    page = _file("qr.html")
    for mark, value in (("device", embedded.caller.key.device or ""), ("origin", embedded.origin), ("token", token)):
        page = page.replace(b"{{%s}}" % mark.encode(), html.escape(value).encode())
    return _answer(page, "text/html", frame_ancestors=embedded.origin)


@get([f"{mount}/{{name:str}}" for mount in MOUNTS], include_in_schema=False, sync_to_thread=False)
def show_file(name: FromPath[str]) -> Response[bytes]:
    """The page's script and style."""
    if name not in ("qr.js", "qr.css"):
        raise Problem("NOT_FOUND")
    return _answer(_file(name), "text/javascript" if name == "qr.js" else "text/css")


@post([f"{mount}/connect" for mount in MOUNTS], status_code=202, include_in_schema=False)
async def connect(
    embed_tokens: NamedDependency[EmbedTokens],
    devices: NamedDependency[Devices],
    token: Annotated[str, QueryParameter()] = "",
) -> dict[str, str]:
    """What the page asks for when there is no QR code: a connection, and with it a code."""
    caller = embed_tokens.read(token).caller
    await devices.connect(caller, caller.key.device or "", None)
    return {"status": "CONNECTING"}


def _answer(content: bytes, media_type: str, *, frame_ancestors: str = "'none'") -> Response[Any]:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {frame_ancestors}"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",  # the token stands in the URL
        "Cache-Control": "no-store",
    }
    return Response(content, media_type=media_type, headers=headers)


@cache
def _file(name: str) -> bytes:
    return (resources.files("kurir.api.embed") / "static" / name).read_bytes()


def router() -> Router:
    """The page; its token lets it in."""
    return Router("/", route_handlers=(show_page, show_file, connect), include_in_schema=False)
