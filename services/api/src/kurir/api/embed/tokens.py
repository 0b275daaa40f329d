"""Embed tokens: for a while, whoever has one may see one device being paired, in a frame of one web site.

A token stands in URLs, which are written down: it opens nothing else, and ends with the project's own token. It needs
no memory: any replica with the same master key reads it.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard
from msgspec import Struct
from msgspec.structs import replace

from kurir.api.auth import Authenticator, Caller
from kurir.api.problems import Problem
from kurir.contracts.records import Device
from kurir.runtime.clock import Clock
from kurir.runtime.secrets import MasterKey, SealBroken

_CONTEXT = "embed token"


class _Inside(Struct, frozen=True, array_like=True):
    digest: str
    device: str
    origin: str
    until: float


class Embedded(Struct, frozen=True):
    """What a token allows: `caller`'s key is bound to the device; `origin` may show it."""

    caller: Caller
    origin: str


class EmbedTokens:
    def __init__(self, master_key: MasterKey, clock: Clock, authenticator: Authenticator, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")
        self._master_key = master_key
        self._clock = clock
        self._authenticator = authenticator

    def url_of(self, token: str) -> str:
        """Where the page of a token is."""
        return f"{self._public_url}/embed/qr?token={token}"

    def make(self, caller: Caller, device: Device, origin: str, ttl_s: int) -> tuple[str, datetime]:
        """A token for `origin`, and when it runs out. Raises Problem FORBIDDEN unless the project allows the origin."""
        if caller.key.allowed_origins is None:
            raise Problem("FORBIDDEN", "Embed tokens are made with a project's token.")
        if origin not in caller.key.allowed_origins:
            raise Problem("FORBIDDEN", "The project does not allow this origin.", field="returnOrigin")
        until = self._clock.now() + timedelta(seconds=ttl_s)
        inside = _Inside(caller.digest, device.id, origin, until.timestamp())
        return self._master_key.seal(msgspec.json.encode(inside).decode(), _CONTEXT), until

    def read(self, token: str) -> Embedded:
        """What a token allows. Raises Problem INVALID_API_KEY when it is none, has run out or its project is gone, and
        FORBIDDEN when the project does not allow its origin any more."""
        try:
            inside = msgspec.json.decode(self._master_key.open(token, _CONTEXT), type=_Inside)
        except (SealBroken, UnicodeError):
            raise Problem("INVALID_API_KEY", "This is no embed token.") from None
        if self._clock.now().timestamp() > inside.until:
            raise Problem("INVALID_API_KEY", "This embed token has run out; ask for a new one.")
        caller = self._authenticator.tenant_of_digest(inside.digest)
        if inside.origin not in (caller.key.allowed_origins or ()):
            raise Problem("FORBIDDEN", "The project does not allow this origin any more.")
        return Embedded(
            Caller(replace(caller.key, device=inside.device), caller.digest, caller.tenant), origin=inside.origin
        )


def embed_guard(authenticator: Authenticator, tokens: EmbedTokens) -> Guard:
    """Lets in who shows an embed token as `?token=`, bound to its device, or a key."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        token = connection.query_params.get("token")
        if token is not None:
            connection.scope["state"]["caller"] = tokens.read(token).caller
            return
        await authenticator.learn(connection.scope["headers"])
        connection.scope["state"]["caller"] = authenticator.tenant(connection.scope["headers"])

    return guard
