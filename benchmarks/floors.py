"""The floors that figures are held against, measured in the same run as what they bound.

`constant_sink` is a separate process that answers every HTTP request with one constant; `raw_post_rate` posts to
it from bare sockets. Nothing that does the same work in Python on one core can be faster than these.
"""

import asyncio
import contextlib
import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nServer: sink\r\nDate: Fri, 20 Nov 2026 08:00:00 GMT\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Operations per second, and what one cost in CPU microseconds of the measuring process."""

    per_s: float
    cpu_us: float


@contextlib.contextmanager
def constant_sink(answer: bytes = NO_CONTENT) -> Iterator[int]:
    """A process on a free port of 127.0.0.1 that answers `answer` to every request with a Content-Length body.

    Yields the port. The process ends with the block.
    """
    here, there = multiprocessing.Pipe()
    sink = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, answer), daemon=True)
    sink.start()
    try:
        if not here.poll(10.0):
            raise TimeoutError("the sink did not start within 10 s")
        yield here.recv()
    finally:
        sink.terminate()
        sink.join(5.0)


def raw_post_rate(port: int, request: bytes, answer_length: int, *, connections: int, count: int) -> Rate:
    """Posts `request` (complete bytes of one HTTP request) `count` times over that many kept-alive sockets."""
    return uvloop.run(_raw_posts(port, request, answer_length, connections, count))


def cpu_s() -> float:
    """CPU seconds of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Sink(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from it

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            mark = held.lower().find(b"content-length:", 0, end + 2)
            length = int(held[mark + 15 : held.find(b"\r\n", mark)]) if mark >= 0 else 0
            if len(held) < end + 4 + length:
                break
            self._transport.write(self._answer)
            held = held[end + 4 + length :]
        self._held = held


def _serve(there: Connection, answer: bytes) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Sink(answer), "127.0.0.1", 0)
        there.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())


class _Poster(asyncio.Protocol):
    """Sends the next request when the answer of the last one is whole."""

    def __init__(self, request: bytes, answer_length: int, budget: list[int], done: asyncio.Event) -> None:
        self._request, self._answer_length = request, answer_length
        self._budget, self._done = budget, done
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._post()

    def data_received(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing == 0:
            self._post()

    def _post(self) -> None:
        if self._budget[0] == 0:
            self._transport.close()
            self._done.set()
            return
        self._budget[0] -= 1
        self._missing = self._answer_length
        self._transport.write(self._request)


async def _raw_posts(port: int, request: bytes, answer_length: int, connections: int, count: int) -> Rate:
    loop = asyncio.get_running_loop()
    budget, done = [count], asyncio.Event()
    began, cpu_before = time.perf_counter(), cpu_s()
    for _ in range(connections):
        await loop.create_connection(lambda: _Poster(request, answer_length, budget, done), "127.0.0.1", port)
    await asyncio.wait_for(done.wait(), 120.0)
    return Rate(per_s=count / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / count * 1e6)
