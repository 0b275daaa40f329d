"""Fonnte's paths: `/send` and those of messages. Its account's are in `account`."""

from typing import Any

from litestar import Request, Router, route
from litestar.di import NamedDependency

from kurir.api.auth import Caller
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.fonnte import telling
from kurir.api.legacy.fonnte.sending import FonnteSends
from kurir.api.media.form import header_of
from kurir.api.media.service import MediaStore
from kurir.api.problems import Problem
from kurir.dialects.fonnte.errors import Refused


@route("/send", http_method=["GET", "POST"], status_code=200)
async def send(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    media: NamedDependency[MediaStore],
    fonnte_sends: NamedDependency[FonnteSends],
) -> dict[str, Any]:
    """A request may have its parameters in the URL, too; its token there, or several with commas between them."""
    callers = await _callers(request, access)
    telling.note(request.scope, callers[0])
    request_id = await fonnte_sends.request_id()
    telling.note(request.scope, callers[0], request_id)
    key = header_of(request.scope, b"idempotency-key")
    async with reading(request, media, callers[0].tenant.id) as body:
        fields = {**request.query_params, **body.fields}
        return await fonnte_sends.send(callers, fields, body.file, request_id, key)


async def _callers(request: Request[Any, Any, Any], access: Access) -> list[Caller]:
    """Whose tokens these are, all of one tenant. Raises Problem as Access.caller does."""
    given = credential(request.scope["headers"], "Authorization", "X-API-Key") or request.query_params.get("token")
    try:
        return [await access.caller(given)]
    except Problem as problem:
        tokens = [one.strip() for one in (given or "").split(",")]
        if problem.code != "INVALID_API_KEY" or not 1 < len(tokens) <= MAX_TOKENS:
            raise
    callers = [await access.caller(token) for token in tokens]
    if any(caller.tenant.id != callers[0].tenant.id for caller in callers):
        raise Problem("INVALID_API_KEY")
    return callers


MAX_TOKENS = 20


def router() -> Router:
    return Router("/", route_handlers=[send], exception_handlers={Refused: telling.tell}, include_in_schema=False)
