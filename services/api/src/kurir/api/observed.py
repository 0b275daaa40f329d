"""Around every request: an id for it, its trace, its duration by route. No line is logged for what went well.

A request that the end of the service cuts off is answered, too.
"""

import asyncio
import itertools
import secrets
import time
from typing import Any

import structlog

from kurir.api.problems import WordsOf, answer_cut_off
from kurir.runtime import logs, tracing
from kurir.runtime.metrics import Metrics

log = logs.get("kurir.api.http")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_MAX_ID = 64
_PROCESS = secrets.token_hex(5)  # tells replicas and restarts apart
_numbers = itertools.count(1)


class Observed:
    """An ASGI application around `app`. A caller's own `X-Request-Id` is kept, and answered in any case."""

    def __init__(self, app: Any, metrics: Metrics, words_of: WordsOf) -> None:
        self._app = app
        self._words_of = words_of
        self._durations = metrics.histogram(
            "kurir_http_request_duration_seconds",
            "Time from a request's head to the end of its answer",
            method=_METHODS,
            route=_route_family,
            status=_STATUS_CLASSES,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, traceparent = _ids_in(scope["headers"])
        status, has_begun = 500, False

        async def observe(message: Any) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        tokens = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            with tracing.child_span("http", traceparent) as span:
                try:
                    await self._app(scope, receive, observe)
                except asyncio.CancelledError:  # the server ends, and waits no longer
                    if has_begun:
                        raise
                    await answer_cut_off(self._words_of, scope, receive, observe)
                span.set("http.response.status_code", status)
        finally:
            structlog.contextvars.reset_contextvars(**tokens)
            route = scope.get("path_template") or ""
            self._durations.observe(
                time.perf_counter() - began, method=scope["method"], route=route, status=f"{status // 100}xx"
            )
            if status >= 500:
                log.warning("http.failed", request_id=request_id, method=scope["method"], route=route, status=status)


def _ids_in(headers: list[tuple[bytes, bytes]]) -> tuple[str, str | None]:
    request_id = traceparent = None
    for name, value in headers:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = tracing.traceparent_of({tracing.TRACEPARENT: value.decode("latin-1")})
    if request_id is None or not request_id.isprintable() or not request_id.isascii() or len(request_id) > _MAX_ID:
        request_id = f"{_PROCESS}-{next(_numbers):x}"
    return request_id, traceparent


def _route_family(template: str) -> str:
    """The route without its mount, so that a path counts once wherever it is asked for."""
    return template.removeprefix("/api") or "none"
