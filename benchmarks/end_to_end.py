"""A message's whole way on the sandbox engine: accepted over HTTP, sent, delivered, read, and told by a signed webhook.

All services run as processes, by the commands that a container runs, with MongoDB's protocol behind them. Measured are
messages a second with so many under way, the latency at a third of that rate, and the CPU of every process. The floor
is the sum of the same operations made bare, measured in the same run: a constant answer for each message, a raw publish
for each message stored in any stream, a raw pull for each one handed over, a raw post for each webhook.

python -m benchmarks.end_to_end
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from benchmarks.accept import TEXT
from benchmarks.children import Child, child
from benchmarks.figures import Figure, show
from benchmarks.floors import NO_CONTENT, Rate, raw_posts
from benchmarks.load import load, request
from benchmarks.machine import Meter, children_of, cpu_s_of, nats_server, process
from benchmarks.nats_floor import raw_publish_rate, raw_pull_rate
from benchmarks.sink import sink
from benchmarks.tenant import DRAINED_WITHIN_S, Task, Told, tenant
from kurir.contracts import streams
from kurir.runtime.broker import Bus
from tests.support.server_process import free_port
from tests.system.live_system import Client, LiveSystem
from tests.system.tenancy import a_connected_device, a_tenant

DEVICES = 96  # the sandbox takes 30 to 80 ms to answer, and a device sends one message at a time
PAIRED_AT_ONCE = 8
UNDER_WAY = 512
SECONDS = 10.0
ROUNDS = 2
QUIET_WITHIN_S = 60.0
WEBHOOK_EVENTS = ["send.message.status"]  # sent, delivered, read: three webhooks a message
FLOOR_COUNT = 15_000
FLOOR_PAYLOAD = b"x" * 400
SERVICES = ("nats-server", "mongo", "api", "session-node", "webhook-dispatcher", "scheduler")


@dataclass(frozen=True, slots=True)
class Round:
    """One load, with all CPU and all bus messages it caused, per message."""

    told: Told
    cpu_us: dict[str, float]
    stored: float
    pulled: float


@dataclass(frozen=True, slots=True)
class Floor:
    """CPU of one bare operation in microseconds, servers of ours included."""

    accept: float
    publish: float
    pull: float
    post: float

    def of(self, round_: Round) -> float:
        """CPU of everything that a message of this round caused."""
        webhooks = round_.told.webhooks / round_.told.count
        return self.accept + round_.stored * self.publish + round_.pulled * self.pull + webhooks * self.post


def main() -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Figure]:
    full: list[Round] = []
    floors: list[Floor] = []
    async with _stage() as stage:
        await stage.round(seconds=2.0, under_way=64)  # connections and caches exist now
        for _ in range(ROUNDS):
            full.append(await stage.round(seconds=SECONDS, under_way=UNDER_WAY))
            floors.append(await _floor())
        per_s = median(each.told.per_s for each in full)
        calm = await stage.round(seconds=SECONDS, under_way=10_000, per_s=per_s / 3)
    cpu_us = {name: median(each.cpu_us[name] for each in full) for name in SERVICES}
    floor_us = median(floor.of(each) for floor, each in zip(floors, full, strict=True))
    figure = Figure(
        name="end to end",
        what=f"HTTP to READ webhook, {UNDER_WAY} under way",
        ours=Rate(per_s=per_s, cpu_us=sum(cpu_us.values())),
        floor_is="sum of the same operations, bare (computed)",
        floor=Rate(per_s=(os.cpu_count() or 1) * 1e6 / floor_us, cpu_us=floor_us),
        notes=_notes(full[-1], cpu_us, calm, floors[-1]),
    )
    show([figure])
    return [figure]


def _notes(last: Round, cpu_us: dict[str, float], calm: Round, floor: Floor) -> tuple[str, ...]:
    told = calm.told
    return (
        "CPU µs a message: " + ", ".join(f"{name} {used:.0f}" for name, used in cpu_us.items()),
        f"the tenant's own (load and webhook receiver, not counted): {last.told.cpu_us:.0f} µs",
        f"a message is {last.stored:.1f} stored and {last.pulled:.1f} pulled bus messages "
        f"and {last.told.webhooks / last.told.count:.1f} webhooks",
        f"bare: constant answer {floor.accept:.0f} µs, publish {floor.publish:.0f}, pull {floor.pull:.0f}, "
        f"post {floor.post:.0f}, servers included",
        f"at {told.per_s:,.0f} messages/s: accepted in p50 {told.accept_p50_ms:.1f} ms, "
        f"p99 {told.accept_p99_ms:.1f} ms; READ webhook after p50 {told.p50_ms:.0f} ms, p99 {told.p99_ms:.0f} ms, "
        "of which the sandbox's phones take 110 to 380 ms",
        f"from the reader's receipt to its webhook p50 {told.receipt_p50_ms:.1f} ms, p99 {told.receipt_p99_ms:.1f} ms; "
        f"CPU {sum(calm.cpu_us.values()):.0f} µs a message",
    )


class _Stage:
    def __init__(self, system: LiveSystem, bus: Bus, sender: Child, requests: list[bytes]) -> None:
        self._system, self._bus, self._sender = system, bus, sender
        self._requests = requests

    async def round(self, *, seconds: float, under_way: int, per_s: float | None = None) -> Round:
        """One load (see Task) and everything that follows from it. Raises RuntimeError when messages were lost."""
        task = Task(
            api_port=self._system.settings.api_port,
            requests=self._requests,
            seconds=seconds,
            under_way=under_way,
            per_s=per_s,
        )
        meter = Meter({name: self._pids(name) for name in SERVICES})
        before = await self._sequences()
        self._sender.say(task)
        told: Told = await asyncio.to_thread(self._sender.hear, task.seconds + DRAINED_WITHIN_S + QUIET_WITHIN_S)
        if told.refused or told.missing:
            raise RuntimeError(f"{told.missing} of {told.count} messages not read; {told.refused}")
        await self._quiet()
        used = meter.read()
        after = await self._sequences()
        grown = {name: (after[name] - before[name]) / told.count for name in after}
        pulled = sum(
            grown[stream.name] * times
            for stream, times in (
                (streams.COMMANDS, 1),
                (streams.EVENTS, 2),  # fan-out and history
                (streams.DELIVERIES, 1),
                (streams.AUDIT, 1),
            )
        )
        cpu_us = {name: seconds / told.count * 1e6 for name, seconds in used.items()}
        return Round(told, cpu_us, sum(grown.values()), pulled)

    def _pids(self, name: str) -> list[int]:
        pid = self._system.process(name).pid
        assert pid is not None
        return [pid, *children_of(pid)]

    async def _sequences(self) -> dict[str, int]:
        return {info.config.name or "": info.state.last_seq for info in await self._bus.js.streams_info()}

    async def _quiet(self) -> None:
        """Return when all is delivered and the history is written."""
        async with asyncio.timeout(QUIET_WITHIN_S):
            while not await self._is_quiet():
                await asyncio.sleep(0.05)

    async def _is_quiet(self) -> bool:
        for stream in (streams.COMMANDS.name, streams.DELIVERIES.name):
            if (await self._bus.js.stream_info(stream)).state.messages:
                return False
        for stream, consumer in (
            (streams.EVENTS.name, streams.HISTORY_CONSUMER),
            (streams.AUDIT.name, streams.AUDIT_CONSUMER),
        ):
            info = await self._bus.js.consumer_info(stream, consumer)
            if info.num_pending or info.num_ack_pending:
                return False
        return True


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[_Stage]:
    """The whole system with a tenant, its devices paired and a webhook for each."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kurir-bench-"))
        system = LiveSystem(Path(folder))
        stack.push_async_callback(system.stop)
        await system.start()
        sender = stack.enter_context(child(tenant))
        client = await a_tenant(system, "Bench")
        stack.push_async_callback(client.close)
        devices = await _paired(client)
        hook = {"url": f"http://127.0.0.1:{sender.hear()}/hook", "events": WEBHOOK_EVENTS}
        for device in devices:  # each with a webhook of its own, as many tenants have; one alone is limited on purpose
            await client.call("POST", "/webhooks", {**hook, "deviceId": device})
        bus = await Bus.connect(system.nats_url, name="end to end")
        stack.push_async_callback(bus.close)
        host = f"127.0.0.1:{system.settings.api_port}"
        requests = [
            request(
                host,
                "/messages/send-text",
                msgspec.json.encode({"deviceId": device, "to": "6281234567890", "text": TEXT}),
                [("X-API-Key", client.key)],
            )
            for device in devices
        ]
        yield _Stage(system, bus, sender, requests)


async def _paired(client: Client) -> list[str]:
    turns = asyncio.Semaphore(PAIRED_AT_ONCE)

    async def pair(number: int) -> str:
        async with turns:
            return await a_connected_device(client, f"Bench {number}")

    return await asyncio.gather(*map(pair, range(DEVICES)))


async def _floor() -> Floor:
    """The bare operations, one kind after the other, on a nats-server of their own."""
    async with nats_server() as server:
        bus = await Bus.connect(server.url, name="floor")
        try:
            await bus.js.add_stream(StreamConfig(name="FLOOR", subjects=["floor"]))
            config = ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
            await bus.js.add_consumer("FLOOR", config)
        finally:
            await bus.close()
        began = cpu_s_of(server.pid)
        publish = await raw_publish_rate(server.port, "floor", FLOOR_PAYLOAD, in_flight=64, count=FLOOR_COUNT)
        published = cpu_s_of(server.pid)
        pull = await raw_pull_rate(server.port, "FLOOR", "c", batch=256, count=FLOOR_COUNT)
        pulled = cpu_s_of(server.pid)
    with sink() as receiver:
        body = b"x" * 300
        headers = [(f"webhook-header-{number}", "x" * 40) for number in range(6)]
        post = request(f"127.0.0.1:{receiver.port}", "/hook", body, headers)
        posts = await raw_posts(receiver.port, post, len(NO_CONTENT), 64, FLOOR_COUNT)
    port = free_port()
    arguments = ("benchmarks.bare_server", str(port), "-", "0")
    async with process(*arguments, environment={}, ready_url=f"http://127.0.0.1:{port}/") as pid:
        ask = request(f"127.0.0.1:{port}", "/messages/send-text", FLOOR_PAYLOAD)
        accept, _ = await load(port, [ask], connections=64, seconds=1.0, pid=pid)
    return Floor(
        accept=accept.cpu_us,
        publish=publish.cpu_us + (published - began) / FLOOR_COUNT * 1e6,
        pull=pull.cpu_us + (pulled - published) / FLOOR_COUNT * 1e6,
        post=posts.cpu_us,
    )


if __name__ == "__main__":
    main()
