"""How failures are told: at Fonnte's paths, and at those of the dashboard."""

from typing import Any

from litestar import Request, Response
from litestar.types import Scope

from kurir.api.auth import Caller
from kurir.api.problems import Problem, problem_of
from kurir.dialects.fonnte import errors
from kurir.dialects.fonnte.errors import Refused

PATHS = tuple(
    f"/{name}/"
    for name in (
        "send",
        "device",
        "get-devices",
        "add-device",
        "update-device",
        "delete-device",
        "disconnect",
        "qr",
        "status",
        "validate",
        "get-whatsapp-group",
        "fetch-group",
        "rotator",
        "reset-message",
        "delete-message",
        "typing",
        "statistics",
    )
)
"""Fonnte's, each beginning for itself: the native API has `/devices`."""

_CALLER = "fonnte_caller"
_REQUEST = "fonnte_request"


def note(scope: Scope, caller: Caller, request_id: int | None = None) -> None:
    """Keep what a failure of this request is told with: the options of its key, and its number."""
    scope["state"][_CALLER] = caller
    if request_id is not None:
        scope["state"][_REQUEST] = request_id


def words(problem: Problem, scope: Scope) -> Response[Any]:
    """Fonnte's."""
    return _told(errors.of_kurir(problem.code, problem.message, problem.field), scope, problem.headers)


def dashboard_words(problem: Problem, _: Scope) -> Response[Any]:
    refused = errors.dashboard_of_kurir(problem.code, problem.message)
    return Response(errors.dashboard(refused), status_code=refused.status, headers=problem.headers)


def tell(request: Request[Any, Any, Any], refused: Refused) -> Response[Any]:
    """The exception handler of Fonnte's routes, for what the dialect refuses."""
    return _told(refused, request.scope, {})


def tell_dashboard(_: Request[Any, Any, Any], refused: Refused) -> Response[Any]:
    """The same for the dashboard's routes."""
    return Response(errors.dashboard(refused), status_code=refused.status)


def tell_dashboard_of_groups(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """For the one route of the dashboard that stands among native ones."""
    problem = problem_of(error)
    if problem.code == "DEVICE_NOT_CONNECTED":
        return tell_dashboard(request, Refused(503, errors.GROUPS_OFFLINE))
    return dashboard_words(problem, request.scope)


def _told(refused: Refused, scope: Scope, headers: dict[str, str]) -> Response[Any]:
    caller: Caller | None = scope["state"].get(_CALLER)
    is_200 = caller is not None and caller.key.options.failures_are_200
    # What the document prints for 401, 500 and 503 has no number; Fonnte's own failures, always 200, have one.
    has_number = is_200 or refused.status not in (401, 500, 503)
    body = errors.body(refused, scope["state"].get(_REQUEST) if has_number else None)
    return Response(body, status_code=200 if is_200 else refused.status, headers=headers)
