"""Who is calling: the key in `X-API-Key`, looked up by its digest in memory.

Guarantees: no database and no bus on the way of a request whose key is known; a key that was made a moment ago, by
another replica, is asked for once. A key revoked or rotated anywhere ends here within the time of one KV update. A
key that is bound to a device sees that device alone.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard
from msgspec import Struct

from kurir.api.problems import Problem
from kurir.contracts.records import ApiKey, Tenant
from kurir.runtime import logs, secrets
from kurir.runtime.broker import PublishError, Unreachable
from kurir.runtime.registry import Registry

_HEADER = b"x-api-key"
_MAX_KEY_LENGTH = 512
_LOOKUPS_AT_ONCE = 16  # of keys that memory does not know, so that guesses do not become load on the bus
_UNKNOWN_FOR_S = 1.0  # a key that the server does not know is not asked for again so soon
_MAX_UNKNOWN = 10_000

log = logs.get("kurir.api.auth")


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
        self._unknown: dict[str, float] = {}  # digest -> until when it is not asked for
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def learn(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Ask the server for a key that memory does not know: it may have been made a moment ago, elsewhere.

        Returns at once for a known key, and does nothing while the server cannot be asked.
        """
        await self._learn(_digest(headers))

    async def _learn(self, digest: str | None) -> None:
        if not digest or self._keys.get(digest) is not None or self._unknown.get(digest, 0.0) > time.monotonic():
            return
        try:
            async with self._lookups:
                entry = await self._keys.fetch(digest)
                if entry is not None and entry.value.tenant and self._tenants.get(entry.value.tenant) is None:
                    await self._tenants.fetch(entry.value.tenant)
        except (PublishError, Unreachable, msgspec.DecodeError) as error:
            log.warning("auth.key_not_asked_for", error=str(error))
            return
        if entry is None:
            if len(self._unknown) >= _MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[digest] = time.monotonic() + _UNKNOWN_FOR_S

    def tenant(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The tenant that a request's raw headers speak for.

        Raises Problem: MISSING_API_KEY, INVALID_API_KEY, FORBIDDEN for an operator's key, or
        ACCOUNT_SUSPENDED.
        """
        return self._caller(*self._key(headers))

    async def tenant_of_key(self, key: str | None, *, is_signed: bool = False) -> Caller:
        """The tenant of a key, however it was given. `is_signed`: who asks has checked, or checks, a signature made
        with the key's secret. Raises Problem as `tenant` does."""
        if not key:
            raise Problem("MISSING_API_KEY")
        digest = secrets.api_key_digest(key) if len(key) <= _MAX_KEY_LENGTH else ""
        await self._learn(digest)
        known = self._keys.get(digest)
        if known is None:
            raise Problem("INVALID_API_KEY")
        return self._caller(known, digest, is_signed=is_signed)

    def active_tenant(self, tenant_id: str) -> Tenant:
        """Raises Problem TENANT_NOT_FOUND or ACCOUNT_SUSPENDED."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise Problem("TENANT_NOT_FOUND")
        if not tenant.active:
            raise Problem("ACCOUNT_SUSPENDED")
        return tenant

    def tenant_of_digest(self, digest: str) -> Caller:
        """The tenant of a key by its digest, for who has proven it before. Raises Problem as `tenant` does."""
        key = self._keys.get(digest)
        if key is None:
            raise Problem("INVALID_API_KEY")
        return self._caller(key, digest)

    def _caller(self, key: ApiKey, digest: str, *, is_signed: bool = False) -> Caller:
        if key.tenant is None:
            raise Problem("FORBIDDEN", "This is an operator's key; it acts for no tenant.")
        if key.sealed_secret is not None and not is_signed:
            raise Problem("FORBIDDEN", "This key is good for signed requests alone.")
        tenant = self._tenants.get(key.tenant)
        if tenant is None:  # deleted, and its keys a moment later
            raise Problem("INVALID_API_KEY")
        if not tenant.active:
            raise Problem("ACCOUNT_SUSPENDED")
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
        return Operator(key, digest) if key.role == "operator" else self._caller(key, digest)

    def _key(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[ApiKey, str]:
        digest = _digest(headers)
        if digest is None:
            raise Problem("MISSING_API_KEY")
        key = self._keys.get(digest)
        if key is None:
            raise Problem("INVALID_API_KEY")
        return key, digest


def _digest(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The digest of the key that was given: "" for what cannot be one, None when there is none.

    Keys are looked up by it: how long that takes tells nothing about the keys that exist.
    """
    given = next((value for name, value in headers if name == _HEADER), b"")
    if not given:
        return None
    return secrets.api_key_digest(given.decode("latin-1")) if len(given) <= _MAX_KEY_LENGTH else ""


# Guards run before a body is read, so that a wrong key is told before a wrong body. They are plain functions because
# Litestar deep-copies what is registered, and a bound method would take the registries along.


def tenant_guard(authenticator: Authenticator) -> Guard:
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await authenticator.learn(connection.scope["headers"])
        connection.scope["state"]["caller"] = authenticator.tenant(connection.scope["headers"])

    return guard


def operator_guard(authenticator: Authenticator) -> Guard:
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await authenticator.learn(connection.scope["headers"])
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
