"""Whose token a request has: of a device, or of an account."""

from typing import Any

from litestar import Request

from kurir.api.auth import Caller
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.fonnte import telling
from kurir.api.problems import Problem

MAX_TOKENS = 20


def token_of(request: Request[Any, Any, Any]) -> str:
    """The token as it was given: in Authorization, with `Bearer` before it or not, or in the URL; "" for none."""
    given = credential(request.scope["headers"], "Authorization", "X-API-Key")
    return given or request.query_params.get("token") or ""


async def caller_of(request: Request[Any, Any, Any], access: Access) -> Caller:
    """Raises Problem as Access.caller does."""
    caller = await access.caller(token_of(request))
    telling.note(request.scope, caller)
    return caller


async def callers_of(request: Request[Any, Any, Any], access: Access) -> list[Caller]:
    """Of several tokens, with commas between them, all of one tenant. Raises Problem as Access.caller does."""
    try:
        return [await caller_of(request, access)]
    except Problem as problem:
        tokens = [one.strip() for one in token_of(request).split(",")]
        if problem.code != "INVALID_API_KEY" or not 1 < len(tokens) <= MAX_TOKENS:
            raise
    callers = [await access.caller(token) for token in tokens]
    if any(caller.tenant.id != callers[0].tenant.id for caller in callers):
        raise Problem("INVALID_API_KEY")
    telling.note(request.scope, callers[0])
    return callers
