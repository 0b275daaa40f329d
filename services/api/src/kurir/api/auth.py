"""Who is calling: the key in `X-API-Key`, looked up by its digest in memory.

Guarantees: no database and no bus on the way of a request; a key revoked or rotated anywhere ends here within the
time of one KV update. A key that is bound to a device sees that device alone.
"""

from collections.abc import Iterable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard
from msgspec import Struct

from kurir.api.problems import Problem
from kurir.contracts.records import ApiKey, Tenant
from kurir.runtime import secrets
from kurir.runtime.registry import Registry

_HEADER = b"x-api-key"
_MAX_KEY_LENGTH = 512


class Caller(Struct, frozen=True):
    """A tenant's key at work."""

    key: ApiKey
    digest: str
    tenant: Tenant


class Operator(Struct, frozen=True):
    """An operator's key at work."""

    key: ApiKey
    digest: str
    tenant: None = None


class Authenticator:
    def __init__(self, keys: Registry[ApiKey], tenants: Registry[Tenant]) -> None:
        self._keys = keys
        self._tenants = tenants

    def tenant(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The tenant that a request's raw headers speak for.

        Raises Problem: MISSING_API_KEY, INVALID_API_KEY, or FORBIDDEN for an operator's key or an inactive tenant.
        """
        key, digest = self._key(headers)
        if key.tenant is None:
            raise Problem("FORBIDDEN", "This is an operator's key; it acts for no tenant.")
        tenant = self._tenants.get(key.tenant)
        if tenant is None:  # deleted, and its keys a moment later
            raise Problem("INVALID_API_KEY")
        if not tenant.active:
            raise Problem("FORBIDDEN", "This tenant is not active.")
        return Caller(key, digest, tenant)

    def operator(self, headers: Iterable[tuple[bytes, bytes]]) -> Operator:
        """The operator that a request's raw headers speak for. Raises Problem as `tenant` does."""
        key, digest = self._key(headers)
        if key.role != "operator":
            raise Problem("FORBIDDEN", "Only an operator's key may do that.")
        return Operator(key, digest)

    def anyone(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller | Operator:
        """Whoever a request's raw headers speak for. Raises Problem as `tenant` does."""
        key, digest = self._key(headers)
        return Operator(key, digest) if key.role == "operator" else self.tenant(headers)

    def _key(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[ApiKey, str]:
        given = next((value for name, value in headers if name == _HEADER), b"")
        if not given:
            raise Problem("MISSING_API_KEY")
        text = given.decode("latin-1")
        # Looked up by digest: how long that takes tells nothing about the keys that exist.
        digest = secrets.api_key_digest(text) if len(text) <= _MAX_KEY_LENGTH else ""
        key = self._keys.get(digest)
        if key is None:
            raise Problem("INVALID_API_KEY")
        return key, digest


# Guards run before a body is read, so that a wrong key is told before a wrong body. They are plain functions because
# Litestar deep-copies what is registered, and a bound method would take the registries along.


def tenant_guard(authenticator: Authenticator) -> Guard:
    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        connection.scope["state"]["caller"] = authenticator.tenant(connection.scope["headers"])

    return guard


def operator_guard(authenticator: Authenticator) -> Guard:
    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        connection.scope["state"]["operator"] = authenticator.operator(connection.scope["headers"])

    return guard


def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """Dependency `caller` of routes behind `tenant_guard`."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def provide_operator(request: Request[Any, Any, Any]) -> Operator:
    """Dependency `operator` of routes behind `operator_guard`."""
    operator: Operator = request.scope["state"]["operator"]
    return operator
