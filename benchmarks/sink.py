"""Tenants' webhook receivers in a process of their own: it answers 204 at once, counts, remembers the first request."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from benchmarks.children import Child, child
from benchmarks.floors import NO_CONTENT

HOSTS = [f"127.0.0.{number}" for number in range(1, 65)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What came so far; `first` is the first request, byte for byte."""

    count: int
    first: bytes


class Sink:
    """`port` is on each of `HOSTS`, `pid` the process to measure."""

    def __init__(self, port: int, process: Child) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process

    def seen(self) -> Seen:
        """Asks the process."""
        self._process.say("seen")
        seen: Seen = self._process.hear()
        return seen


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """The process ends with the block."""
    with child(_serve) as process:
        yield Sink(process.hear(), process)


class Requests:
    """Cuts a connection's bytes into requests with a Content-Length."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The requests that are complete now."""
        held = self._held + data if self._held else data
        requests = []
        while (end := held.find(b"\r\n\r\n")) >= 0:
            at = held[:end].lower().find(b"content-length:")
            length = int(held[at + 15 : held.find(b"\r\n", at)]) if at >= 0 else 0
            size = end + 4 + length
            if len(held) < size:
                break
            requests.append(held[:size])
            held = held[size:]
        self._held = held
        return requests


class _Connection(asyncio.Protocol):
    def __init__(self, seen: list[Seen]) -> None:
        self._seen = seen
        self._requests = Requests()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        requests = self._requests.feed(data)
        if requests:
            known = self._seen[0]
            self._seen[0] = Seen(known.count + len(requests), known.first or requests[0])
            self._transport.write(NO_CONTENT * len(requests))


def _serve(there: Connection) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        seen = [Seen(0, b"")]

        def answer() -> None:
            there.recv()
            there.send(seen[0])

        server = await loop.create_server(lambda: _Connection(seen), HOSTS[0], 0, backlog=1024)
        port = server.sockets[0].getsockname()[1]
        others = await loop.create_server(lambda: _Connection(seen), HOSTS[1:], port, backlog=1024)
        loop.add_reader(there.fileno(), answer)
        there.send(port)
        await asyncio.gather(server.serve_forever(), others.serve_forever())

    uvloop.run(serve())
