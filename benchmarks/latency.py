"""How long an event takes from its publishing to its endpoint, at a third of the rate that a dispatcher reaches.

The floor leaves out everything but the way: another process pulls the same events from a stream and posts them with
the same HTTP client at once, one request for each, unsigned and unrecorded.

python -m benchmarks.latency
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from statistics import median

import uvloop
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from benchmarks.children import child
from benchmarks.figures import Amount, show
from benchmarks.webhook_stage import WebhookStage, percentile, webhook_stage
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.broker import Bus, Incoming, Outgoing
from kurir.runtime.egress import Egress, EgressPolicy

ENDPOINTS = 64
MAXIMUM_S = 4.0
SECONDS = 4.0
ROUNDS = 3
SHARE = 1 / 3
WANTED_MS = {50: 15.0, 99: 60.0}
STREAM = CONSUMER = "FLOOR"
IN_FLIGHT = 256


def main() -> list[Amount]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Amount]:
    ours: list[list[float]] = []
    floor: list[list[float]] = []
    async with webhook_stage(ENDPOINTS) as stage:
        await stage.bus.js.add_stream(StreamConfig(name=STREAM, subjects=["floor.*"]))
        config = ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=5_000)
        await stage.bus.js.add_consumer(STREAM, config)
        maximum = (await stage.as_fast_as_it_goes(MAXIMUM_S)).per_s
        rate = maximum * SHARE
        with child(_relay, stage.server.url, [stage.farm.url(number) for number in range(ENDPOINTS)]) as relay:
            await asyncio.to_thread(relay.hear)
            for _ in range(ROUNDS):
                ours.append(await _latencies_ms(stage, rate, stage.event))
                floor.append(await _latencies_ms(stage, rate, partial(_floor_event, stage)))
    figures = [
        Amount(
            name="latency",
            what=f"ms from event to endpoint, p{percent}",
            ours=median(percentile(taken, percent) for taken in ours),
            at_most=at_most,
            floor_is="one pull and one post of the same",
            floor=median(percentile(taken, percent) for taken in floor),
            notes=(f"at {rate:,.0f} a second, a third of {maximum:,.0f}",) if percent == 50 else (),
        )
        for percent, at_most in WANTED_MS.items()
    ]
    show(figures)
    return figures


async def _latencies_ms(stage: WebhookStage, per_s: float, make: Callable[[int], Outgoing]) -> list[float]:
    since = time.time()
    await stage.at_a_rate(dict.fromkeys(range(ENDPOINTS), per_s / ENDPOINTS), SECONDS, make)
    return await stage.latencies_ms(range(ENDPOINTS), since)


def _floor_event(stage: WebhookStage, tenant: int) -> Outgoing:
    event = stage.event(tenant)
    return Outgoing(f"floor.{tenant}", event.payload, event.msg_id)


def _relay(there: Connection, nats_url: str, urls: list[str]) -> None:
    uvloop.run(_relaying(there, nats_url, urls))


async def _relaying(there: Connection, nats_url: str, urls: list[str]) -> None:
    bus = await Bus.connect(nats_url, name="floor")
    policy = EgressPolicy(guard=AddressGuard.parse(["127.0.0.0/8"]))
    async with Egress(policy) as egress, contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)

        async def post(message: Incoming) -> None:
            headers = [("Content-Type", "application/json"), ("webhook-id", message.header("Nats-Msg-Id") or "")]
            url = urls[int(message.subject.rpartition(".")[2])]
            await egress.post(url, headers=headers, body=message.data, deadline_s=15.0)
            message.ack()

        pull = await bus.open_pull(STREAM, CONSUMER, max_outstanding=IN_FLIGHT)
        there.send("relaying")
        async for batch in pull:
            await asyncio.gather(*map(post, batch))


if __name__ == "__main__":
    main()
