"""Whether this process lives and whether it should get work, and its metrics, over HTTP.

Live means the event loop answers: restarting helps only if it does not, so no outside system is asked. Ready means
started, not stopping, and every named check passes; each is bounded in time. `HealthServer` serves this on a port of
its own, up before the service has found its broker; the api mounts `Health.asgi` beside it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from kurir.runtime.http_server import HttpServer
from kurir.runtime.logs import get
from kurir.runtime.metrics import EXPOSITION_TYPE, Metrics

CHECK_TIMEOUT_S: Final = 1.0  # probes give up after 1 to 2 s by default; a slower check is a failing one

Check = Callable[[], bool | Awaitable[bool]]
log = get("kurir.health")


class HealthAnswer(NamedTuple):
    status: int
    content_type: str
    body: bytes


class Health:
    """The state of one process, told to probes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._checks: dict[str, Check] = {}
        self._phase = "starting"
        self._exposition: Callable[[], Awaitable[bytes]] | None = None

    def metrics_from(self, exposition: Callable[[], Awaitable[bytes]]) -> None:
        """Serve this at `/metrics` instead of the process's own metrics, e.g. those of its child processes too."""
        self._exposition = exposition

    def ready_when(self, name: str, check: Check) -> None:
        """Ready only while `check()` is true; it may be a coroutine function, and raising counts as false."""
        self._checks[name] = check

    def started(self) -> None:
        self._phase = "started"

    def stopping(self) -> None:
        """Not ready from now on, so that no new work is sent here while the rest finishes."""
        self._phase = "stopping"

    async def failing(self) -> list[str]:
        """Names of what keeps this process from being ready, sorted; empty if it is ready."""
        names = list(self._checks)
        passed = await asyncio.gather(*[_passes(name, check) for name, check in self._checks.items()])
        unready = [name for name, good in zip(names, passed, strict=True) if not good]
        return sorted(unready) if self._phase == "started" else sorted([self._phase, *unready])

    async def answer(self, path: str) -> HealthAnswer | None:
        """What to say at `/health/live`, `/health/ready` (503 with what fails) and `/metrics`; None elsewhere."""
        match path:
            case "/health/live":
                return _json(200, {"status": "live"})
            case "/health/ready":
                failing = await self.failing()
                return _json(503, {"status": "unready", "failing": failing}) if failing else _json(200, _READY)
            case "/metrics":
                text = self._metrics.exposition() if self._exposition is None else await self._exposition()
                return HealthAnswer(200, EXPOSITION_TYPE, text)
            case _:
                return None

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """The same as an ASGI application."""
        if scope["type"] != "http":
            return
        found = await self.answer(scope["path"])
        reply = found or _json(404, {"status": "not found"})
        headers = [(b"content-type", reply.content_type.encode()), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})


class HealthServer(HttpServer):
    """`Health` on its own port."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        super().__init__(health.asgi, host, port, grace_s=1.0)


_READY: Final = {"status": "ready"}


async def _passes(name: str, check: Check) -> bool:
    try:
        verdict = check()
        if inspect.isawaitable(verdict):
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                verdict = await verdict
        return bool(verdict)
    except Exception as error:  # whatever it raised, this check does not pass
        log.debug("health.check_failed", check=name, error=repr(error))
        return False


def _json(status: int, body: dict[str, Any]) -> HealthAnswer:
    return HealthAnswer(status, "application/json", msgspec.json.encode(body))
