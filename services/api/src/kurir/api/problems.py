"""Every HTTP error: what goes wrong becomes a `Problem`, and a `Problem` one body.

Handlers raise; status and sentence come from `contracts.errors`. Unknown paths and methods are answered here too, in
the words of the API that the path belongs to. What is our own fault is logged and told without details.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.types import Scope
from msgspec import Struct

from kurir.api.choices import choices
from kurir.contracts.errors import ERRORS, ErrorCode
from kurir.contracts.states import Reason
from kurir.runtime import logs
from kurir.runtime.broker import BacklogFull, BrokerUnavailable, PublishError, Unreachable
from kurir.runtime.mongo import MongoError
from kurir.runtime.objects import StoreUnavailable

log = logs.get("kurir.api")

BACKLOG_RETRY_AFTER_S = 30  # at the default pace a full backlog has room for 15 messages by then
UNAVAILABLE_RETRY_AFTER_S = 2  # a restarted bus is found again within a second


class Problem(Exception):
    """An answer other than success. `field` names the part of the request that is wrong, in the caller's words;
    `capability` what the device's engine lacks; `reason` and `detail` why WhatsApp did not do what was asked."""

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        capability: str | None = None,
        reason: Reason | None = None,
        detail: str | None = None,
    ) -> None:
        self.code = code
        self.status = ERRORS[code].status
        self.message = message or ERRORS[code].sentence
        self.field = field
        self.headers = dict(headers or {})
        self.capability = capability
        self.reason = reason
        self.detail = detail
        super().__init__(self.message)


class Told(Exception):
    """An answer that is finished, in the words of the API that was asked. `body` is what JSON is made of."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        super().__init__(f"{status} {body}")


class ErrorBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error. `error` and `message` say the same: clients of this API read one or the other."""

    error: str
    code: ErrorCode
    message: str
    field: str | None = None
    capability: str | None = None
    reason: Reason | None = None
    detail: str | None = None


def body_of(problem: Problem) -> ErrorBody:
    return ErrorBody(
        error=problem.message,
        code=problem.code,
        message=problem.message,
        field=problem.field,
        capability=problem.capability,
        reason=problem.reason,
        detail=problem.detail,
    )


def problem_of(error: Exception) -> Problem:
    """What to tell a caller about any exception. An unforeseen one is logged, and nothing of it is told."""
    match error:
        case Problem():
            return error
        case BacklogFull():
            return Problem("BACKLOG_FULL", headers={"Retry-After": str(BACKLOG_RETRY_AFTER_S)})
        case BrokerUnavailable() | StoreUnavailable():
            return Problem("SERVICE_UNAVAILABLE", headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)})
        case Unreachable():
            return Problem("SESSION_UNOWNED", headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)})
        case MongoError():
            log.warning("history.unavailable", error=str(error))
            return Problem("HISTORY_UNAVAILABLE", headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)})
        case msgspec.ValidationError():
            return invalid(error)
        case msgspec.DecodeError() | SerializationException():
            return Problem("INVALID_JSON")
        case NotFoundException():
            return Problem("NOT_FOUND")
        case MethodNotAllowedException():
            return Problem("METHOD_NOT_ALLOWED", headers=dict(error.headers or {}))
        case ValidationException():
            return _litestar_validation(error)
        case HTTPException() if error.status_code == 413:
            return Problem("PAYLOAD_TOO_LARGE")
        case HTTPException() if isinstance(error.__cause__, SerializationException | msgspec.DecodeError):
            return Problem("INVALID_JSON")
        case HTTPException() if error.status_code < 500:
            return Problem("VALIDATION_ERROR", error.detail)
    kind = "publish refused" if isinstance(error, PublishError) else type(error).__name__
    log.error("request.failed", kind=kind, exc_info=error)
    return Problem("INTERNAL_ERROR")


_AT = re.compile(r" - at `(?:\$|key in `\$)(?P<path>[^`]*)`$")
_NAMED_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<field>[^`]+)`")


def invalid(error: msgspec.ValidationError, decoded: Any = None) -> Problem:
    """The problem that a msgspec error tells, with the field in dotted form: `contacts[0].name`.

    With the type that was decoded, it also tells which values are allowed.
    """
    allowed = choices(error, decoded) if decoded is not None else []
    return Problem("VALIDATION_ERROR", _allowing(str(error), allowed), field=field_of(str(error)))


def _allowing(message: str, allowed: Sequence[str]) -> str:
    return f"{message}; allowed: {', '.join(allowed)}" if allowed else message


def field_of(text: str) -> str | None:
    """The field that a msgspec message speaks of: ``Expected `str`, got `int` - at `$.to` `` is about `to`."""
    at = _AT.search(text)
    path = at["path"].replace("[...]", "").lstrip(".") if at else ""
    named = _NAMED_FIELD.search(text)
    return ".".join(part for part in (path, named["field"] if named else "") if part) or None


def _litestar_validation(error: ValidationException) -> Problem:
    """Litestar's own finding, about a path or query parameter or a body."""
    for extra in error.extra if isinstance(error.extra, list) else []:
        if isinstance(extra, dict):
            text, key = str(extra.get("message", error.detail)), extra.get("key")
            if field_of(text) is None and key:
                return Problem("VALIDATION_ERROR", f"{key}: {text}", field=key)
            return Problem("VALIDATION_ERROR", text, field=field_of(text) or key)
    return Problem("VALIDATION_ERROR", error.detail, field=field_of(error.detail))


Words = Callable[[Problem, Scope], Response[Any]]
"""How an API tells a problem. The scope is for what its answer repeats of the request, e.g. method and path."""

WordsOf = Callable[[str], Words]
"""The words of the API that answers at a path."""


def native_answer(problem: Problem, _: Scope) -> Response[Any]:
    return Response(body_of(problem), status_code=problem.status, headers=problem.headers)


def _choices_of_handler(request: Request[Any, Any, Any], error: msgspec.ValidationError) -> list[str]:
    """Litestar decodes all that a handler takes as one struct, with a field for each parameter."""
    parameters = request.route_handler.parsed_fn_signature.parameters
    return choices(error, msgspec.defstruct("Taken", [(name, one.annotation) for name, one in parameters.items()]))


def answering(words_of: WordsOf) -> Callable[[Request[Any, Any, Any], Exception], Response[Any]]:
    """The one exception handler of an application whose paths `words_of` knows."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        if isinstance(error, Told):
            return Response(error.body, status_code=error.status, headers=error.headers)
        problem = problem_of(error)
        if isinstance(error, ValidationException) and isinstance(error.__cause__, msgspec.ValidationError):
            problem.message = _allowing(problem.message, _choices_of_handler(request, error.__cause__))
        return words_of(request.scope["path"])(problem, request.scope)

    return answer


async def answer_cut_off(words_of: WordsOf, scope: Any, receive: Any, send: Any) -> None:
    """Tell that the service ends before the request was carried out, which would have taken longer."""
    code: ErrorCode = "NO_ANSWER" if scope["method"] in ("GET", "HEAD") else "OUTCOME_UNKNOWN"
    problem = Problem(code, headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)})
    response = words_of(scope["path"])(problem, scope)
    await response.to_asgi_response(None, Request(scope))(scope, receive, send)
