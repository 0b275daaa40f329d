"""One HTTP server inside a running service: uvicorn, without its hold on signals and logging.

Guarantees: the port is bound when `start` returns, or PortTaken says which one is in the way; `stop` lets requests
in flight finish within a limit. Does not: reload, spawn workers, or read proxy headers unless asked to.
"""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HELD_BYTES = 64 * 1024  # more than that is written at once, so that the transport notices a slow reader


class PortTaken(OSError):
    """Another process listens there. The message names host and port."""


class HttpServer:
    """Serves one ASGI application. Call `start` once and `stop` once."""

    def __init__(
        self, app: Any, host: str, port: int, *, lifespan: bool = False, grace_s: float = 10.0, **options: Any
    ) -> None:
        """`port` 0 takes any free one; `grace_s` bounds the wait for open requests (event streams never end by
        themselves); `options` go to uvicorn.Config, such as `proxy_headers` or `limit_concurrency`."""
        self._host = host
        self._port = port
        self._grace_s = grace_s
        settings: dict[str, Any] = {
            "interface": "asgi3",  # its guess fails on bound methods
            "http": _Protocol,
            "ws": "none",
            "lifespan": "on" if lifespan else "off",
            "log_config": None,  # logs.py routes uvicorn's loggers
            "access_log": False,  # a line per request is the application's to write, with its ids
            "server_header": False,
            "proxy_headers": False,  # forwarded addresses are believed only where the operator says so
            "timeout_graceful_shutdown": max(1, int(grace_s)),
        }
        self._server = _QuietServer(uvicorn.Config(app, **(settings | options)))
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens; the port is the real one after `start`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and serve. Raises PortTaken, or RuntimeError if the application's own start-up fails."""
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listener]), name=f"http {self.url}")
        try:
            while not self._server.started:
                if self._serving.done():
                    await self._serving  # raises what kept it from starting
                await asyncio.sleep(0.005)  # uvicorn sets a flag, there is nothing one could wait on
        except BaseException:
            self._serving.cancel()
            listener.close()
            raise

    @property
    def is_serving(self) -> bool:
        return self._serving is not None and not self._serving.done()

    async def stop(self) -> None:
        """Stop accepting, let open requests finish for `grace_s`, then cancel them; who has not begun to answer may
        still do so at once."""
        if self._serving is None:
            return
        self._server.should_exit = True
        try:
            await asyncio.wait_for(asyncio.shield(self._serving), self._grace_s + 1)
        except TimeoutError:
            self._server.force_exit = True
            self._serving.cancel()
            await asyncio.wait((self._serving,), timeout=1)
        if cut := set(self._server.server_state.tasks):  # cancelled by now; what they still say is to leave
            await asyncio.wait(cut, timeout=1)


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the service, which stops all its parts in order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RuntimeError("the HTTP application did not start; its log says why") from None


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_OneWrite(transport, self.loop))  # type: ignore[arg-type]


class _OneWrite:
    """A transport whose writes of one turn of the loop leave in one system call: an answer's head and body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(held))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener
