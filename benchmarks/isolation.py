"""What 49 healthy endpoints notice of one that hangs, against the same without it.

In turns: all of 50 endpoints are well; the first one never answers. It is written to five times as often as each of
the others, so that its lane opens, its attempts time out, its circuit opens and closes.

python -m benchmarks.isolation
"""

import asyncio
import time
from statistics import median

import uvloop

from benchmarks.figures import Amount, show
from benchmarks.webhook_stage import WITHIN_S, WebhookStage, percentile, webhook_stage
from kurir.contracts import streams
from tests.support.endpoint_farm import Behaviour

ENDPOINTS = 50
SICK = 0
HEALTHY = range(1, ENDPOINTS)
PER_S, SICK_PER_S = 20.0, 100.0
SECONDS = 6.0
ROUNDS = 4
AT_MOST = 1.5
ENVIRONMENT = {
    "KURIR_ATTEMPT_DEADLINE_S": "2",
    "KURIR_RETRY_SCHEDULE": "1,2",
    "KURIR_CIRCUIT_FIRST_S": "1",
    "KURIR_CIRCUIT_LONGEST_S": "1",
}
"""Quicker than usual, so that in each turn all of it happens, and more often than it would."""


def main() -> list[Amount]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Amount]:
    taken: dict[Behaviour, list[list[float]]] = {"well": [], "hang": []}
    async with webhook_stage(ENDPOINTS, environment=ENVIRONMENT) as stage:
        for _ in range(ROUNDS):
            for behaviour, latencies in taken.items():
                stage.farm.behave(SICK, behaviour)
                since = time.time()
                await stage.at_a_rate(dict.fromkeys(HEALTHY, PER_S) | {SICK: SICK_PER_S}, SECONDS)
                latencies.append(await stage.latencies_ms(HEALTHY, since))
                stage.farm.behave(SICK, "well")
                await _drained(stage)
    figures = [_figure(50, taken), _figure(99, taken)]
    show(figures)
    return figures


def _figure(percent: int, taken: dict[Behaviour, list[list[float]]]) -> Amount:
    beside, without = (
        [percentile(latencies, percent) for latencies in taken[behaviour]] for behaviour in ("hang", "well")
    )
    turns = ", ".join(f"{sick:.1f} and {well:.1f}" for sick, well in zip(beside, without, strict=True))
    return Amount(
        name="isolation",
        what=f"ms to {len(HEALTHY)} healthy endpoints beside one that hangs, p{percent}",
        ours=median(beside),
        at_most=AT_MOST * median(without),
        floor_is="without it",
        floor=median(without),
        notes=(f"p{percent} with and without, by turns: {turns} ms",),
    )


async def _drained(stage: WebhookStage) -> None:
    """Return when the sick one has got everything, so that the next turn begins with nothing."""
    async with asyncio.timeout(WITHIN_S):
        while (await stage.bus.js.stream_info(streams.DELIVERIES.name)).state.messages:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
