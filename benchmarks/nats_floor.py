"""JetStream in protocol bytes over one socket: confirmed publishes and pulls with acks, as bare as Python has them.

Floors only: nothing is repeated, nothing survives a loss of the connection, a refusal ends the run.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from benchmarks.floors import Rate, cpu_s

WITHIN_S = 60.0
_HELLO = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\nSUB floor.* 1\r\n'
)


async def raw_publish_rate(
    port: int, subject: str, payload: bytes, *, in_flight: int, count: int, header: bytes = b""
) -> Rate:
    """Publish `count` times with so many unconfirmed at once; CPU is this process's per message."""
    if header:
        sizes = f"{len(header)} {len(header) + len(payload)}"
        command = b"HPUB %b floor.r %b\r\n%b%b\r\n" % (subject.encode(), sizes.encode(), header, payload)
    else:
        command = b"PUB %b floor.r %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
    return await _rate(port, lambda done: _Publisher(command, in_flight, count, done), count)


async def raw_pull_rate(port: int, stream: str, consumer: str, *, batch: int, count: int) -> Rate:
    """Pull `count` messages and ack each; CPU is this process's per message."""
    return await _rate(port, lambda done: _Puller(stream, consumer, batch, count, done), count)


async def _rate(port: int, make: Callable[[asyncio.Future[None]], "_Link"], count: int) -> Rate:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    transport, link = await loop.create_connection(lambda: make(done), "127.0.0.1", port)
    try:
        await asyncio.wait_for(link.is_ready.wait(), WITHIN_S)
        cpu_before, began = cpu_s(), time.perf_counter()
        link.begin()
        await asyncio.wait_for(done, WITHIN_S)
        return Rate(per_s=count / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / count * 1e6)
    finally:
        transport.close()


class _Link(asyncio.Protocol, ABC):
    """Greets the server and answers its pings."""

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.done = done
        self.is_ready = asyncio.Event()
        self._is_greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_HELLO + b"PING\r\n")

    def data_received(self, data: bytes) -> None:
        if not self.is_ready.is_set():
            if b"PONG\r\n" in data:
                self.is_ready.set()
            return
        if data == b"PING\r\n":
            self.transport.write(b"PONG\r\n")
        elif not self.done.done():
            self.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("nats-server closed the connection"))

    @abstractmethod
    def begin(self) -> None:
        """The server is ready."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """What the server sent, as it came."""


class _Publisher(_Link):
    def __init__(self, command: bytes, in_flight: int, count: int, done: "asyncio.Future[None]") -> None:
        super().__init__(done)
        self._command = command
        self._in_flight, self._left, self._lines = in_flight, count, 2 * count

    def begin(self) -> None:
        self._write(self._in_flight)

    def received(self, data: bytes) -> None:
        if b'"error"' in data or b"HMSG" in data:  # the latter says that no stream listens
            self.done.set_exception(RuntimeError(f"refused: {data[:300]!r}"))
            return
        # A confirmation is two lines, a whole number of them or not: `MSG …` and one of JSON.
        before, self._lines = self._lines, self._lines - data.count(b"\n")
        if self._lines == 0:
            self.done.set_result(None)
        elif confirmed := (before + 1) // 2 - (self._lines + 1) // 2:
            self._write(confirmed)

    def _write(self, count: int) -> None:
        count = min(count, self._left)
        self._left -= count
        self.transport.write(self._command * count)


class _Puller(_Link):
    def __init__(self, stream: str, consumer: str, batch: int, count: int, done: "asyncio.Future[None]") -> None:
        super().__init__(done)
        body = json.dumps({"batch": batch, "expires": int(WITHIN_S * 1e9)}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self._ask = b"PUB %b floor.m %d\r\n%b\r\n" % (subject, len(body), body)
        self._batch, self._left = batch, count
        self._asked = 0
        self._held = b""

    def begin(self) -> None:
        self._ask_more()

    def received(self, data: bytes) -> None:
        data = self._held + data
        at, acks = 0, []
        while (line_end := data.find(b"\r\n", at)) >= 0:
            fields = data[at:line_end].split(b" ")
            following = line_end + 4 + int(fields[-1])
            if following > len(data):
                break
            acks.append(b"PUB %b 4\r\n+ACK\r\n" % fields[3])
            at = following
        self._held = data[at:]
        self._left -= len(acks)
        self._asked -= len(acks)
        self.transport.write(b"".join(acks))
        if self._left <= 0:
            self.done.set_result(None)
        elif self._asked <= self._batch // 2:
            self._ask_more()

    def _ask_more(self) -> None:
        self._asked += self._batch
        self.transport.write(self._ask)
