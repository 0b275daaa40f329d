"""The floor of posting over HTTP, measured in the same run as what it bounds: bare sockets.

Nothing that does the same work in Python on one core can be faster than this.
"""

import asyncio
import resource
import socket
import time
from dataclasses import dataclass
from typing import cast

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nServer: sink\r\nDate: Fri, 20 Nov 2026 08:00:00 GMT\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Operations per second, and what one cost in CPU microseconds of the measuring process."""

    per_s: float
    cpu_us: float


async def raw_posts(port: int, request: bytes, answer_length: int, connections: int, count: int) -> Rate:
    """Posts `request` (complete bytes of one HTTP request) `count` times over that many kept-alive sockets."""
    loop = asyncio.get_running_loop()
    budget, done = [count], asyncio.Event()
    began, cpu_before = time.perf_counter(), cpu_s()
    for _ in range(connections):
        await loop.create_connection(lambda: _Poster(request, answer_length, budget, done), "127.0.0.1", port)
    await asyncio.wait_for(done.wait(), 120.0)
    return Rate(per_s=count / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / count * 1e6)


def cpu_s() -> float:
    """CPU seconds of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


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
