"""HTTP load from a process of its own, over kept-alive raw sockets: closed loop, one request at a time per connection.

Costs about 10 µs a request, so that it is never what is measured; its own CPU is told all the same.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from benchmarks.children import SPEAKS_WITHIN_S, child
from benchmarks.floors import Rate, cpu_s
from benchmarks.machine import cpu_s_of

WARM_UP_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What came of one load. Latencies in milliseconds; `load_cpu_us` is the generator's own cost per request."""

    count: int
    failed: int
    first_failure: str
    seconds: float
    p50_ms: float
    p99_ms: float
    load_cpu_us: float


def request(host: str, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The bytes of one POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def load(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, pid: int
) -> tuple[Rate, Answers]:
    """Post `requests` in turn to 127.0.0.1 for so long; the rate, with the CPU of process `pid`, and the details.

    Raises RuntimeError when an answer is not 2xx.
    """
    with child(_generate, port, list(requests), connections, seconds) as generator:
        await asyncio.to_thread(generator.hear)
        before = cpu_s_of(pid)
        answers: Answers = await asyncio.to_thread(generator.hear, seconds + SPEAKS_WITHIN_S)
        used = cpu_s_of(pid) - before
    if answers.failed:
        raise RuntimeError(f"{answers.failed} of {answers.count} requests failed, first with {answers.first_failure}")
    return Rate(per_s=answers.count / answers.seconds, cpu_us=used / answers.count * 1e6), answers


def _generate(there: Connection, port: int, requests: list[bytes], connections: int, seconds: float) -> None:
    uvloop.run(_run(there, port, requests, connections, seconds))


async def _run(there: Connection, port: int, requests: list[bytes], connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    tally = Tally(requests)
    for _ in range(connections):
        await loop.create_connection(lambda: _Poster(tally), "127.0.0.1", port)
    await asyncio.sleep(WARM_UP_S)
    tally.reset()
    cpu_before, began = cpu_s(), time.perf_counter()
    there.send("measuring")
    await asyncio.sleep(seconds)
    took, used = time.perf_counter() - began, cpu_s() - cpu_before
    count = len(tally.latencies)
    tally.is_over = True
    latencies = sorted(tally.latencies[:count]) or [0.0]
    there.send(
        Answers(
            count=max(1, count),
            failed=tally.failed if count else 1,
            first_failure=tally.first_failure or "no answers",
            seconds=took,
            p50_ms=latencies[len(latencies) // 2] * 1e3,
            p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
            load_cpu_us=used / max(1, count) * 1e6,
        )
    )


class Tally:
    """What all connections of a load share."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = requests
        self._next = 0
        self.is_over = False
        self.reset()

    def reset(self) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self.first_failure = ""

    def next_request(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def answered(self, answer: bytes, latency_s: float) -> None:
        self.latencies.append(latency_s)
        if not answer.startswith(b"HTTP/1.1 2"):
            self.failed += 1
            self.first_failure = self.first_failure or answer[:300].decode("latin-1")


class _Poster(asyncio.Protocol):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._post()

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        if answer_length(held) == len(held):
            self._held = b""
            self._tally.answered(held, time.perf_counter() - self._began)
            self._post()
        else:
            self._held = held

    def _post(self) -> None:
        if self._tally.is_over:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(self._tally.next_request())


def answer_length(held: bytes) -> int:
    """Bytes of the HTTP answer that begins here, -1 while its head is not complete. Chunked answers are not known."""
    end = held.find(b"\r\n\r\n")
    if end < 0:
        return -1
    at = held[:end].lower().find(b"content-length: ")
    return end + 4 + (int(held[at + 16 : held.find(b"\r\n", at)]) if at >= 0 else 0)
