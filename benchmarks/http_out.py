"""How fast `Egress.post` is against bare sockets posting the same bytes to the same sink, in one run.

python -m benchmarks.http_out [seconds per figure, default 5]
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import uvloop

from benchmarks.floors import NO_CONTENT, Rate, constant_sink, cpu_s, raw_post_rate
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Egress, EgressPolicy

BODY = b'{"event":"message.received","data":"' + b"x" * 962 + b'"}'  # 1 kB
ROUNDS = 5  # of floor and ours in turn, so that a busy machine slows both; the median ratio counts
HEADERS = (
    ("Content-Type", "application/json"),
    ("webhook-id", "0199c1de-6a4d-7d4e-9d1c-5a0d1f2b3c4d"),
    ("webhook-timestamp", "1763625600"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ("X-Webhook-Event", "message.received"),
    ("X-Webhook-Signature", "0" * 64),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One line of the result: our rate and the floor's, at so many posts in flight."""

    in_flight: int
    egress: Rate
    floor: Rate

    @property
    def ratio(self) -> float:
        """How much of the floor's rate is ours."""
        return self.egress.per_s / self.floor.per_s


def main(seconds: float = 5.0) -> list[Figure]:
    """Measures with 1 and 64 in flight, prints and returns the figures."""
    figures = []
    with constant_sink() as port:
        for in_flight in (1, 64):
            rounds = [_round(port, in_flight, seconds / ROUNDS) for _ in range(ROUNDS)]
            figures.append(sorted(rounds, key=lambda figure: figure.ratio)[ROUNDS // 2])
    print("posts of 1 kB, kept alive    in flight    posts/s   CPU us    bare sockets   CPU us    ratio")
    for figure in figures:
        print(
            f"{figure.in_flight:38} {figure.egress.per_s:10,.0f} {figure.egress.cpu_us:8.1f}"
            f" {figure.floor.per_s:15,.0f} {figure.floor.cpu_us:8.1f} {figure.ratio:8.2f}"
        )
    return figures


def _round(port: int, in_flight: int, seconds: float) -> Figure:
    request = _request(port)
    probe = raw_post_rate(port, request, len(NO_CONTENT), connections=in_flight, count=2_000)
    count = int(probe.per_s * seconds)
    floor = raw_post_rate(port, request, len(NO_CONTENT), connections=in_flight, count=count)
    return Figure(in_flight=in_flight, egress=uvloop.run(_posts(port, in_flight, seconds)), floor=floor)


def _request(port: int) -> bytes:
    lines = [f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(BODY)}"]
    lines.extend(f"{name}: {value}" for name, value in HEADERS)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + BODY


async def _posts(port: int, in_flight: int, seconds: float) -> Rate:
    guard = AddressGuard.parse([f"127.0.0.1/32:{port}"])
    url = f"http://127.0.0.1:{port}/hook"
    count = 0

    async def post_until(end: float) -> None:
        nonlocal count
        while time.perf_counter() < end:
            answer = await egress.post(url, headers=HEADERS, body=BODY, deadline_s=15.0)
            assert answer.status == 204
            count += 1

    async def run(duration: float) -> None:
        end = time.perf_counter() + duration
        await asyncio.gather(*(post_until(end) for _ in range(in_flight)))

    async with Egress(EgressPolicy(guard=guard)) as egress:
        await run(0.3)  # connections and handles exist from here on
        count, began, cpu_before = 0, time.perf_counter(), cpu_s()
        await run(seconds)
        return Rate(per_s=count / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / count * 1e6)


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
