"""Tickets: a way in for browsers, whose event streams and websockets cannot send a key in a header.

A ticket stands in a URL, and URLs are written down by proxies: it opens one kind of door, for a minute, and says
nothing about the key it was made with. It needs no memory: any replica with the same master key reads it.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from litestar.connection import ASGIConnection

from kurir.api.auth import Authenticator, Caller
from kurir.api.problems import Problem
from kurir.runtime.clock import Clock
from kurir.runtime.secrets import MasterKey, SealBroken

VALID_FOR = timedelta(seconds=60)

_CONTEXT = "live ticket"


class Tickets:
    def __init__(self, master_key: MasterKey, clock: Clock, authenticator: Authenticator) -> None:
        self._master_key = master_key
        self._clock = clock
        self._authenticator = authenticator

    def make(self, caller: Caller) -> tuple[str, datetime]:
        """A ticket with the rights of the caller's key, and when it runs out."""
        until = self._clock.now() + VALID_FOR
        inside = msgspec.json.encode((caller.digest, until.timestamp())).decode()
        return self._master_key.seal(inside, _CONTEXT), until

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Whose key or ticket a request shows. Raises Problem as `Authenticator.tenant` does."""
        ticket = connection.query_params.get("ticket")
        if ticket is not None:
            return self._authenticator.tenant_of_digest(self._digest(ticket))
        headers = connection.scope["headers"]
        await self._authenticator.learn(headers)
        return self._authenticator.tenant(headers)

    def is_welcome(self, caller: Caller) -> bool:
        """Whether the caller's key is still one, long after it was admitted."""
        try:
            return self._authenticator.tenant_of_digest(caller.digest).tenant.id == caller.tenant.id
        except Problem:
            return False

    def _digest(self, ticket: str) -> str:
        try:
            digest, until = msgspec.json.decode(self._master_key.open(ticket, _CONTEXT), type=tuple[str, float])
        except (SealBroken, UnicodeError):
            raise Problem("INVALID_API_KEY", "This is no ticket.") from None
        if self._clock.now().timestamp() > until:
            raise Problem("INVALID_API_KEY", "This ticket has run out; ask for a new one.")
        return digest
