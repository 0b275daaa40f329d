"""How fast `Egress.post` is against bare sockets posting the same bytes to the same sink.

python -m benchmarks.http_out
"""

import asyncio
import time
from functools import partial

import uvloop

from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import NO_CONTENT, Rate, cpu_s, raw_posts
from benchmarks.sink import sink
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Egress, EgressPolicy

BODY = b'{"event":"message.received","data":"' + b"x" * 962 + b'"}'  # 1 kB
ROUNDS = 5
SECONDS = 1.0
WARM_UP_S = 0.2
FLOOR_COUNTS = {1: 8_000, 64: 30_000}  # by posts in flight; about half a second each
HEADERS = (
    ("Content-Type", "application/json"),
    ("webhook-id", "0199c1de-6a4d-7d4e-9d1c-5a0d1f2b3c4d"),
    ("webhook-timestamp", "1763625600"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ("X-Webhook-Event", "message.received"),
    ("X-Webhook-Signature", "0" * 64),
)


def main() -> list[Figure]:
    """Measure with 1 and 64 in flight, print and return the figures."""
    with sink() as receiver:
        figures = [uvloop.run(_measured(receiver.port, in_flight)) for in_flight in FLOOR_COUNTS]
    show(figures)
    return figures


async def _measured(port: int, in_flight: int) -> Figure:
    floor = partial(raw_posts, port, _request(port), len(NO_CONTENT), in_flight, FLOOR_COUNTS[in_flight])
    measures: dict[str, Measure] = {"floor": floor, "ours": partial(_posts, port, in_flight)}
    rates = await in_turns(ROUNDS, measures)
    return Figure(
        name="http out",
        what=f"Egress.post of 1 kB, {in_flight} in flight",
        ours=rates["ours"],
        floor_is="the same bytes from bare sockets",
        floor=rates["floor"],
    )


def _request(port: int) -> bytes:
    lines = [f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(BODY)}"]
    lines.extend(f"{name}: {value}" for name, value in HEADERS)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + BODY


async def _posts(port: int, in_flight: int) -> Rate:
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
        await run(WARM_UP_S)  # connections and handles exist from here on
        count, began, cpu_before = 0, time.perf_counter(), cpu_s()
        await run(SECONDS)
        return Rate(per_s=count / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / count * 1e6)


if __name__ == "__main__":
    main()
