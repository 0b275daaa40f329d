"""How fast new deliveries go while retries are waiting for their time, against the same with none.

The retries are scheduled for tomorrow, each as a failed attempt leaves it behind. The rate is that of one dispatcher
from event to endpoint, CPU that of dispatcher and nats-server; the time that an event takes is measured at a rate that
leaves both idle most of the time. What nats-server takes of memory, and of time to start again with all of them, is
told beside it. A million takes some three minutes on two cores.

python -m benchmarks.pending_retries [--retries 1000000]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.figures import Amount, AnyFigure, Figure, show
from benchmarks.floors import Rate
from benchmarks.webhook_stage import Progress, WebhookStage, percentile, status_event, webhook_stage
from kurir.contracts import events, headers, ids, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Outgoing, PubAck
from kurir.runtime.partitions import partition_of

RETRIES = 100_000
ENDPOINTS = 64
BATCH = 10_000
ROUNDS = 3
SECONDS = 3.0
LATENCY_PER_S = 200.0
LATENCY_SECONDS = 12.0  # two of the looks that each dispatcher takes at what waits
WANTED_MS = {50: 15.0, 99: 60.0}


def main(retries: int = RETRIES) -> list[AnyFigure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured(retries))


async def _measured(retries: int) -> list[AnyFigure]:
    figures: list[Figure] = []
    async with webhook_stage(ENDPOINTS) as empty, webhook_stage(ENDPOINTS) as full:
        waiting = 0
        for size in sorted({retries // 100, retries // 10, retries}):
            began = time.perf_counter()
            await _schedule(full, size - waiting)
            note = f"{size - waiting:,} more were scheduled in {time.perf_counter() - began:.0f} s"
            waiting = size
            ours, floor = [], []
            for _ in range(ROUNDS):
                ours.append(await full.as_fast_as_it_goes(SECONDS))
                floor.append(await empty.as_fast_as_it_goes(SECONDS))
            figures.append(
                Figure(
                    name="pending retries",
                    what=f"deliveries while {size:,} retries wait",
                    ours=_rate(ours),
                    floor_is="while none waits",
                    floor=_rate(floor),
                    notes=(
                        f"{note}; nats-server takes {_resident_mb(full):,.0f} MB, {_resident_mb(empty):,.0f} without",
                    ),
                )
            )
        late, usual = await _latencies_ms(full), await _latencies_ms(empty)
        await full.bus.close()
        began = time.perf_counter()
        await full.server.restart()
        note = f"with {waiting:,} waiting a killed nats-server answers again after {time.perf_counter() - began:.1f} s"
        figures[-1] = replace(figures[-1], notes=(*figures[-1].notes, note))
    amounts = [
        Amount(
            name="pending retries",
            what=f"ms from event to endpoint, p{percent}, while {waiting:,} retries wait",
            ours=percentile(late, percent),
            at_most=at_most,
            floor_is="while none waits",
            floor=percentile(usual, percent),
            notes=(f"at {LATENCY_PER_S:.0f} a second; the slowest {late[-1]:,.0f} ms, {usual[-1]:,.0f} without",)
            if percent == 50
            else (),
        )
        for percent, at_most in WANTED_MS.items()
    ]
    show([*figures, *amounts])
    return [*figures, *amounts]


async def _latencies_ms(stage: WebhookStage) -> list[float]:
    since = time.time()
    await stage.at_a_rate(dict.fromkeys(range(ENDPOINTS), LATENCY_PER_S / ENDPOINTS), LATENCY_SECONDS)
    return await stage.latencies_ms(range(ENDPOINTS), since)


def _rate(rounds: list[Progress]) -> Rate:
    return Rate(
        per_s=median(one.per_s for one in rounds),
        cpu_us=median(one.dispatcher_us + one.server_us for one in rounds),
    )


async def _schedule(stage: WebhookStage, count: int) -> None:
    makers = [_maker(endpoint) for endpoint in stage.endpoints]
    while count > 0:
        batch = [makers[number % ENDPOINTS]() for number in range(min(BATCH, count))]
        for result in await stage.bus.publish_many(batch, timeout_s=60.0):
            if not isinstance(result, PubAck):
                raise result
        count -= len(batch)


def _maker(endpoint: Endpoint) -> Callable[[], Outgoing]:
    """What makes second attempts of deliveries to `endpoint`, tomorrow: alike but for their events' ids."""
    event = status_event(endpoint.tenant)
    delivery = Delivery(
        id=ids.delivery_id(event.id, endpoint.id),
        tenant=event.tenant,
        device=event.device,
        endpoint=endpoint.id,
        event_id=event.id,
        event_type=events.type_of(event),
        event=msgspec.Raw(events.encode(event)),
        stream_seq=1,
        attempt=2,
        first_at=event.at,
    )
    at = datetime.now(UTC) + timedelta(days=1)
    target = subjects.delivery(partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS), endpoint.id)
    schedule = {headers.SCHEDULE: f"@at {at:%Y-%m-%dT%H:%M:%SZ}", headers.SCHEDULE_TARGET: target}
    body = msgspec.json.encode(delivery)

    def make() -> Outgoing:
        event_id = ids.status_event_id(ids.uuid7(), "delivered")
        subject = subjects.delivery_retry(endpoint.id, ids.delivery_id(event_id, endpoint.id))
        return Outgoing(subject, body.replace(event.id.encode(), event_id.encode()), None, schedule)

    return make


def _resident_mb(stage: WebhookStage) -> float:
    pages = int(Path(f"/proc/{stage.server.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retries", type=int, default=RETRIES)
    main(parser.parse_args().retries)
