"""A tenant in a process of its own: sends messages over kept-alive raw sockets and receives their webhooks.

Both ends are here, so a message's way is timed by one clock and no more than so many are ever under way.
"""

import asyncio
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, cast

import msgspec
import uvloop

from benchmarks.floors import NO_CONTENT, cpu_s
from benchmarks.load import answer_length
from benchmarks.sink import Requests

CONNECTIONS = 32
DRAINED_WITHIN_S = 40.0
_READ = b'"status":"READ"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What to send, for how long. With `per_s` at that pace; else as fast as `under_way` messages at once allow."""

    api_port: int
    requests: list[bytes]
    seconds: float
    under_way: int
    per_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What came of it. `per_s` messages were read while the task was in full swing; `count` in all.

    Latencies in milliseconds, from when a message was due to be sent to its READ webhook; `receipt_…` from the reader's
    receipt to that webhook. CPU is this process's own, per message.
    """

    count: int
    per_s: float
    webhooks: int
    missing: int
    refused: str
    p50_ms: float
    p99_ms: float
    accept_p50_ms: float
    accept_p99_ms: float
    receipt_p50_ms: float
    receipt_p99_ms: float
    cpu_us: float


def tenant(there: Connection) -> None:
    """Say the port of the webhook receiver, then do every Task that comes and answer each with a Told."""
    uvloop.run(_live(there))


class _Data(msgspec.Struct):
    id: str


class _Webhook(msgspec.Struct):
    data: _Data
    timestamp: int


_decode_webhook = msgspec.json.Decoder(_Webhook).decode
_decode_accepted = msgspec.json.Decoder(_Data).decode


@dataclass(slots=True)
class _Trip:
    """The messages of one task."""

    task: Task
    began: float
    due: dict[str, float] = field(default_factory=dict)  # by message id, when it was due to be sent
    early: dict[str, float] = field(default_factory=dict)  # read before its sender got the answer
    latencies: list[float] = field(default_factory=list)
    accepts: list[float] = field(default_factory=list)
    receipts: list[float] = field(default_factory=list)
    read_at: list[float] = field(default_factory=list)
    begun: int = 0
    webhooks: int = 0
    refused: str = ""
    is_sending: bool = True

    @property
    def under_way(self) -> int:
        return self.begun - len(self.read_at)

    def accepted(self, answer: bytes, due: float, sent: float) -> None:
        now = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200"):
            self.begun -= 1
            self.refused = self.refused or answer[:300].decode("latin-1")
            return
        self.accepts.append(now - sent)
        message = _decode_accepted(answer[answer.find(b"\r\n\r\n") + 4 :]).id
        self.due[message] = due
        if (read := self.early.pop(message, None)) is not None:
            self._arrived(message, read)

    def webhook(self, request: bytes) -> None:
        self.webhooks += 1
        if _READ in request:
            hook = _decode_webhook(request[request.find(b"\r\n\r\n") + 4 :])
            self.receipts.append(time.time() - hook.timestamp / 1000)
            now = time.perf_counter()
            if hook.data.id in self.due:
                self._arrived(hook.data.id, now)
            elif len(self.early) < 10_000:
                self.early[hook.data.id] = now

    def _arrived(self, message: str, at: float) -> None:
        self.latencies.append(at - self.due.pop(message))
        self.read_at.append(at)


class _Receiver(asyncio.Protocol):
    def __init__(self, house: "_House") -> None:
        self._house = house
        self._requests = Requests()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for request in self._requests.feed(data):
            self._transport.write(NO_CONTENT)
            if self._house.trip is not None:
                self._house.trip.webhook(request)
        self._house.send_more()


class _Sender(asyncio.Protocol):
    def __init__(self, house: "_House") -> None:
        self._house = house
        self._held = b""
        self._due = self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._house.idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        self._due, self._sent = due, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        if answer_length(held) != len(held):
            self._held = held
            return
        self._held = b""
        if self._house.trip is not None:
            self._house.trip.accepted(held, self._due, self._sent)
        self._house.idle.append(self)
        self._house.send_more()

    def close(self) -> None:
        self._transport.close()


class _House:
    """Who sends what next."""

    def __init__(self) -> None:
        self.trip: _Trip | None = None
        self.idle: deque[_Sender] = deque()

    def send_more(self) -> None:
        """Everything that is due and for which there is room and a connection."""
        trip = self.trip
        while trip is not None and trip.is_sending and self.idle and trip.under_way < trip.task.under_way:
            now = due = time.perf_counter()
            if trip.task.per_s is not None:
                due = trip.began + trip.begun / trip.task.per_s
                if due > now:
                    return
            request = trip.task.requests[trip.begun % len(trip.task.requests)]
            trip.begun += 1
            self.idle.popleft().send(request, due)

    async def do(self, task: Task) -> Told:
        loop = asyncio.get_running_loop()
        senders = []
        for _ in range(CONNECTIONS):
            _, sender = await loop.create_connection(lambda: _Sender(self), "127.0.0.1", task.api_port)
            senders.append(sender)
        cpu_before, began = cpu_s(), time.perf_counter()
        trip = self.trip = _Trip(task, began)
        while time.perf_counter() < began + task.seconds:
            self.send_more()
            await asyncio.sleep(0.001 if task.per_s is not None else 0.01)
        trip.is_sending = False
        ended = time.perf_counter()
        while trip.under_way > 0 and time.perf_counter() < ended + DRAINED_WITHIN_S:
            await asyncio.sleep(0.01)
        self.trip = None
        self.idle.clear()
        for sender in senders:
            sender.close()
        return _told(trip, ended, cpu_s() - cpu_before)


def _told(trip: _Trip, ended: float, cpu_used_s: float) -> Told:
    # The first fifth fills the pipe.
    from_s = trip.began + trip.task.seconds / 5
    in_swing = sum(from_s <= at < ended for at in trip.read_at)
    count = max(1, len(trip.read_at))
    return Told(
        count=count,
        per_s=in_swing / (ended - from_s),
        webhooks=trip.webhooks,
        missing=trip.under_way,
        refused=trip.refused,
        p50_ms=_part(trip.latencies, 0.5),
        p99_ms=_part(trip.latencies, 0.99),
        accept_p50_ms=_part(trip.accepts, 0.5),
        accept_p99_ms=_part(trip.accepts, 0.99),
        receipt_p50_ms=_part(trip.receipts, 0.5),
        receipt_p99_ms=_part(trip.receipts, 0.99),
        cpu_us=cpu_used_s / count * 1e6,
    )


def _part(seconds: list[float], part: float) -> float:
    return sorted(seconds)[int(len(seconds) * part)] * 1e3 if seconds else float("nan")


async def _live(there: Connection) -> None:
    loop = asyncio.get_running_loop()
    house = _House()
    server = await loop.create_server(lambda: _Receiver(house), "127.0.0.1", 0, backlog=1024)
    there.send(server.sockets[0].getsockname()[1])
    while True:
        task: Any = await loop.run_in_executor(None, there.recv)
        there.send(await house.do(task))
