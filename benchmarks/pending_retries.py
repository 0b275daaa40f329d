"""How fast new deliveries go while retries are waiting for their time, against the same with none.

The retries are scheduled for tomorrow, each as a failed attempt leaves it behind. The rate is that of one dispatcher
from event to endpoint, CPU that of dispatcher and nats-server. What nats-server takes of memory, and of time to start
again with all of them, is told beside it.

python -m benchmarks.pending_retries [--retries 1000000]
"""

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.figures import Figure, show
from benchmarks.floors import Rate
from benchmarks.webhook_stage import Progress, WebhookStage, status_event, webhook_stage
from kurir.contracts import events, headers, ids, subjects
from kurir.contracts.deliveries import Delivery
from kurir.runtime.broker import Outgoing, PubAck
from kurir.runtime.partitions import partition_of

RETRIES = 100_000
ENDPOINTS = 64
BATCH = 10_000
ROUNDS = 3
SECONDS = 3.0


def main(retries: int = RETRIES) -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured(retries))


async def _measured(retries: int) -> list[Figure]:
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
        await full.bus.close()
        began = time.perf_counter()
        await full.server.restart()
        note = f"with {waiting:,} waiting a killed nats-server answers again after {time.perf_counter() - began:.1f} s"
        figures[-1] = replace(figures[-1], notes=(*figures[-1].notes, note))
    show(figures)
    return figures


def _rate(rounds: list[Progress]) -> Rate:
    return Rate(
        per_s=median(one.per_s for one in rounds),
        cpu_us=median(one.dispatcher_us + one.server_us for one in rounds),
    )


async def _schedule(stage: WebhookStage, count: int) -> None:
    while count > 0:
        batch = [_retry(stage, number) for number in range(min(BATCH, count))]
        for result in await stage.bus.publish_many(batch, timeout_s=60.0):
            if not isinstance(result, PubAck):
                raise result
        count -= len(batch)


def _retry(stage: WebhookStage, number: int) -> Outgoing:
    """The second attempt of a delivery, tomorrow."""
    endpoint = stage.endpoints[number % ENDPOINTS]
    event = status_event(endpoint.tenant)
    delivery = Delivery(
        id=ids.delivery_id(event.id, endpoint.id),
        tenant=event.tenant,
        device=event.device,
        endpoint=endpoint.id,
        event_id=event.id,
        event_type=events.type_of(event),
        event=msgspec.Raw(events.encode(event)),
        stream_seq=number + 1,
        attempt=2,
        first_at=event.at,
    )
    at = datetime.now(UTC) + timedelta(days=1)
    target = subjects.delivery(partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS), endpoint.id)
    schedule = {headers.SCHEDULE: f"@at {at:%Y-%m-%dT%H:%M:%SZ}", headers.SCHEDULE_TARGET: target}
    return Outgoing(subjects.delivery_retry(endpoint.id, delivery.id), msgspec.json.encode(delivery), None, schedule)


def _resident_mb(stage: WebhookStage) -> float:
    pages = int(Path(f"/proc/{stage.server.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retries", type=int, default=RETRIES)
    main(parser.parse_args().retries)
