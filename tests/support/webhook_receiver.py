"""A small HTTP receiver for tests: records what arrives, byte for byte, and misbehaves as told.

    async with WebhookReceiver() as receiver:
        receiver.on("/hook", Reply(500), Reply(204))           # the last reply repeats; without `on`: 204
        ...
        first, second = await receiver.wait_for(count=2, where=lambda request: request.path == "/hook")

Plain HTTP/1.1 with keep-alive and Content-Length bodies. Everything is on the test's own loop.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

from tests.support.conditions import WITHIN_S
from tests.support.server_process import free_port


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request is treated. Times are seconds; what is left out does not happen."""

    status: int = 204
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    retry_after: int | str | None = None
    redirect_to: str | None = None
    announce_length: bool = True  # False: the body ends with the connection
    delay_s: float = 0.0  # before the first byte
    after: asyncio.Event | None = None  # when the test has set it
    drip_every_s: float | None = None  # the body one byte at a time
    drip_headers_every_s: float | None = None  # everything one byte at a time
    hang: bool = False  # never answers
    reset: bool = False  # closes with RST instead of answering
    close_after: bool = False  # ends the connection after the answer
    cut_body_at: int | None = None  # ends the connection after that many bytes of the body


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, whole. `at` is Unix seconds when its last byte came, `connection` counts from 1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float
    connection: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), None)

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


Where = Callable[[Received], bool]
Answering = Callable[[Received], Reply]


class WebhookReceiver:
    """Stop and start it to play an outage: the port and the record stay."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, default: Reply | None = None) -> None:
        self.host, self.port = host, port
        self.received: list[Received] = []
        self.connections = 0  # accepted so far
        self.cut_short = 0  # connections that their client ended before they were answered
        self.default = default or Reply()
        self._replies: dict[str, list[Reply] | Answering] = {}
        self._waits: list[_Wait] = []
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    def url(self, path: str = "/", host: str | None = None) -> str:
        """The URL of a path here, optionally under another name of this host."""
        return f"http://{host or (f'[{self.host}]' if ':' in self.host else self.host)}:{self.port}{path}"

    def on(self, path: str, *replies: Reply, answering: Answering | None = None) -> None:
        """Sets the replies of a path, in turn, the last one for ever; or a function that picks one."""
        self._replies[path] = answering or list(replies)

    def at(self, path: str) -> list[Received]:
        """What has arrived at that path so far."""
        return [request for request in self.received if request.path == path]

    async def wait_for(
        self, count: int = 1, where: Where = lambda request: True, timeout_s: float = WITHIN_S
    ) -> list[Received]:
        """The requests that fit, as soon as there are `count` of them, those of the past included.

        Raises AssertionError telling what did arrive.
        """
        wait = _Wait(where, count, [request for request in self.received if where(request)])
        if len(wait.fitting) < count:
            self._waits.append(wait)
            try:
                await asyncio.wait_for(wait.enough.wait(), timeout_s)
            except TimeoutError:
                last = [f"{request.method} {request.target}" for request in self.received[-10:]]
                raise AssertionError(
                    f"{len(wait.fitting)} of {count} requests in {timeout_s} s; all: {len(self.received)}, last: {last}"
                ) from None
            finally:
                self._waits.remove(wait)
        return wait.fitting

    async def start(self) -> None:
        """Listens; on the port of the last time when there was one."""
        loop = asyncio.get_running_loop()
        self.port = self.port or free_port()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)

    async def stop(self) -> None:
        """Refuses connections and drops the open ones."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.drop()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _reply_to(self, request: Received) -> Reply:
        self.received.append(request)
        for wait in self._waits:
            wait.see(request)
        planned = self._replies.get(request.path)
        if planned is None:
            return self.default
        if callable(planned):
            return planned(request)
        return planned.pop(0) if len(planned) > 1 else planned[0]


@dataclass(eq=False, slots=True)
class _Wait:
    where: Where
    count: int
    fitting: list[Received]
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, request: Received) -> None:
        if self.where(request):
            self.fitting.append(request)
            if len(self.fitting) >= self.count:
                self.enough.set()


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._held = b""
        self._is_answering = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._receiver.connections += 1
        self._number = self._receiver.connections
        self._receiver._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver._open.discard(self)
        self._receiver.cut_short += self._is_answering
        for waiting in (self._timer, self._waiting):
            if waiting is not None:
                waiting.cancel()

    def drop(self) -> None:
        self._is_answering = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._held += data
        self._next()

    def _next(self) -> None:
        while not (self._is_answering or self._transport.is_closing()) and (end := self._held.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._held[:end].decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
            length = int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
            if len(self._held) < end + 4 + length:
                return
            body = self._held[end + 4 : end + 4 + length]
            self._held = self._held[end + 4 + length :]
            request = Received(
                method=method, target=target, headers=headers, body=body, at=time.time(), connection=self._number
            )
            self._answer(self._receiver._reply_to(request))

    def _answer(self, reply: Reply) -> None:
        self._is_answering = True
        if reply.hang:
            return
        if reply.after is not None and not reply.after.is_set():
            self._waiting = waiting = asyncio.ensure_future(reply.after.wait())
            waiting.add_done_callback(lambda waited: None if waited.cancelled() else self._write_late(reply))
        elif reply.delay_s:
            self._timer = self._loop.call_later(reply.delay_s, self._write_late, reply)
        else:
            self._write(reply)

    def _write_late(self, reply: Reply) -> None:
        self._write(reply)
        self._next()

    def _write(self, reply: Reply) -> None:
        if reply.reset:
            self.drop()
            return
        head = _head(reply)
        whole = head + reply.body[: reply.cut_body_at]
        if reply.drip_headers_every_s is not None:
            self._drip(whole, 0, reply.drip_headers_every_s, reply)
        elif reply.drip_every_s is not None:
            self._transport.write(head)
            self._drip(whole, len(head), reply.drip_every_s, reply)
        else:
            self._transport.write(whole)
            self._written(reply)

    def _drip(self, whole: bytes, at: int, every_s: float, reply: Reply) -> None:
        if at >= len(whole):
            self._written(reply)
            self._next()
            return
        self._transport.write(whole[at : at + 1])
        self._timer = self._loop.call_later(every_s, self._drip, whole, at + 1, every_s, reply)

    def _written(self, reply: Reply) -> None:
        self._is_answering = False
        if reply.close_after or not reply.announce_length or reply.cut_body_at is not None:
            self._transport.close()


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Told"]
    if reply.announce_length and reply.status not in (204, 304):
        lines.append(f"Content-Length: {len(reply.body)}")
    if reply.retry_after is not None:
        lines.append(f"Retry-After: {reply.retry_after}")
    if reply.redirect_to is not None:
        lines.append(f"Location: {reply.redirect_to}")
    lines.extend(f"{name}: {value}" for name, value in reply.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
