"""How fast the bus stores and hands over messages of 200 bytes, beside protocol bytes and beside nats-py.

python -m benchmarks.publish
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import nats
import uvloop
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import Rate, cpu_s
from benchmarks.machine import Server, cpu_s_of, nats_server
from benchmarks.nats_floor import raw_publish_rate, raw_pull_rate
from kurir.runtime.broker import Bus, Outgoing, PublishError

PAYLOAD = b"x" * 200
COUNT = 20_000
ROUNDS = 3
SUBJECT = "bench.publish"
FILLED = "BENCH_FILLED"
PIPELINE = 512  # what publish_many has in flight
FETCH = 256

_consumers = itertools.count()


def main() -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Figure]:
    async with nats_server() as server:
        bus = await Bus.connect(server.url, name="publish")
        nats_py = await nats.connect(server.url)
        try:
            await bus.js.add_stream(StreamConfig(name="BENCH", subjects=["bench.>"], max_msgs=1_000))
            await bus.js.add_stream(StreamConfig(name=FILLED, subjects=["filled"]))
            results = await bus.publish_many([Outgoing("filled", PAYLOAD)] * COUNT, timeout_s=30.0)
            assert not any(isinstance(result, PublishError) for result in results)
            server_us = _ServerCost(server)
            rates = await in_turns(ROUNDS, _measures(bus, nats_py.jetstream(), server, server_us))
        finally:
            await nats_py.close()
            await bus.close()
    figures = []
    for what, ours in (
        ("Bus.publish, 64 in flight", "bus 64"),
        ("Bus.publish, 256 in flight", "bus 256"),
        ("Bus.publish_many", "bus many"),
        ("Bus.open_pull and ack", "bus pull"),
    ):
        kind = ours.split()[1]
        figures.append(_figure(what, rates[ours], "protocol bytes", rates[f"raw {kind}"]))
        if f"nats-py {kind}" in rates:
            figures.append(_figure(what, rates[ours], "nats-py", rates[f"nats-py {kind}"]))
    note = (
        f"nats-server's own CPU: {server_us.median('bus 64'):.1f} µs a publish, "
        f"{server_us.median('bus pull'):.1f} µs a pull and ack"
    )
    figures[0] = replace(figures[0], notes=(note,))
    show(figures)
    return figures


def _figure(what: str, ours: Rate, floor_is: str, floor: Rate) -> Figure:
    return Figure(name="publish", what=what, ours=ours, floor_is=floor_is, floor=floor)


class _ServerCost:
    """CPU of nats-server per message, noted beside every measure."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._noted: dict[str, list[float]] = {}

    def around(self, name: str, measure: Measure) -> Measure:
        async def measured() -> Rate:
            before = cpu_s_of(self._server.pid)
            rate = await measure()
            self._noted.setdefault(name, []).append((cpu_s_of(self._server.pid) - before) / COUNT * 1e6)
            return rate

        return measured

    def median(self, name: str) -> float:
        noted = sorted(self._noted[name])
        return noted[len(noted) // 2]


def _measures(bus: Bus, nats_py: JetStreamContext, server: Server, server_us: _ServerCost) -> dict[str, Measure]:
    raw = partial(raw_publish_rate, server.port, SUBJECT, PAYLOAD, count=COUNT)
    measures: dict[str, Measure] = {}
    for in_flight in (64, 256):
        measures[f"raw {in_flight}"] = partial(raw, in_flight=in_flight)
        measures[f"bus {in_flight}"] = partial(_timed, _one_by_one, in_flight, lambda: bus.publish(SUBJECT, PAYLOAD))
        measures[f"nats-py {in_flight}"] = partial(
            _timed, _one_by_one, in_flight, lambda: nats_py.publish(SUBJECT, PAYLOAD)
        )
    measures["raw many"] = partial(raw, in_flight=PIPELINE)
    measures["bus many"] = partial(_timed, _all_at_once, bus)
    measures["raw pull"] = partial(_with_consumer, bus, partial(_raw_pull, server))
    measures["bus pull"] = partial(_with_consumer, bus, partial(_bus_pull, bus))
    measures["nats-py pull"] = partial(_with_consumer, bus, partial(_nats_py_pull, nats_py))
    return {name: server_us.around(name, measure) for name, measure in measures.items()}


async def _timed(work: Callable[..., Awaitable[None]], *arguments: object) -> Rate:
    """`work` handles COUNT messages."""
    cpu_before, began = cpu_s(), time.perf_counter()
    async with asyncio.timeout(60):
        await work(*arguments)
    return Rate(per_s=COUNT / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / COUNT * 1e6)


async def _one_by_one(in_flight: int, publish: Callable[[], Awaitable[object]]) -> None:
    async def publisher(count: int) -> None:
        for _ in range(count):
            await publish()

    shares = [COUNT // in_flight + (number < COUNT % in_flight) for number in range(in_flight)]
    await asyncio.gather(*map(publisher, shares))


async def _all_at_once(bus: Bus) -> None:
    results = await bus.publish_many([Outgoing(SUBJECT, PAYLOAD)] * COUNT, timeout_s=30.0)
    assert not any(isinstance(result, PublishError) for result in results)


async def _with_consumer(bus: Bus, pull: Callable[[str], Awaitable[Rate]]) -> Rate:
    name = f"c{next(_consumers)}"
    config = ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
    await bus.js.add_consumer(FILLED, config)
    try:
        return await pull(name)
    finally:
        await bus.js.delete_consumer(FILLED, name)


async def _raw_pull(server: Server, consumer: str) -> Rate:
    return await raw_pull_rate(server.port, FILLED, consumer, batch=FETCH, count=COUNT)


async def _bus_pull(bus: Bus, consumer: str) -> Rate:
    pull = await bus.open_pull(FILLED, consumer, max_outstanding=FETCH)

    async def work() -> None:
        left = COUNT
        while left > 0:
            batch = await pull.next_batch()
            for message in batch:
                message.ack()
            left -= len(batch)

    try:
        return await _timed(work)
    finally:
        await bus.close_pull(pull)


async def _nats_py_pull(nats_py: JetStreamContext, consumer: str) -> Rate:
    subscription = await nats_py.pull_subscribe_bind(consumer=consumer, stream=FILLED)

    async def work() -> None:
        left = COUNT
        while left > 0:
            batch: list[Msg] = await subscription.fetch(min(FETCH, left), timeout=5)
            for message in batch:
                await message.ack()
            left -= len(batch)

    try:
        return await _timed(work)
    finally:
        await subscription.unsubscribe()


if __name__ == "__main__":
    main()
