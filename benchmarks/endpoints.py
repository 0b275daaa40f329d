"""What a delivery costs one webhook-dispatcher with 5,000 endpoints, against the same with 10.

Every event goes to ten endpoints, each a host of its own. Cost is the CPU of the dispatcher and of nats-server; the
first round opens the connections and is not counted.

python -m benchmarks.endpoints [--endpoints 5000]
"""

import argparse
import contextlib
from statistics import median

import uvloop

from benchmarks.figures import Amount, show
from benchmarks.webhook_stage import Progress, webhook_stage

FEW, MANY = 10, 5_000
PER_EVENT = 10
ROUNDS = 3
SECONDS = 3.0
AT_MOST = 1.3


def main(endpoints: int = MANY) -> list[Amount]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured(sorted({FEW, 100, 1_000, endpoints})))


async def _measured(sizes: list[int]) -> list[Amount]:
    taken: dict[int, list[Progress]] = {size: [] for size in sizes}
    async with contextlib.AsyncExitStack() as stack:
        stages = {
            size: await stack.enter_async_context(webhook_stage(size, tenants=size // PER_EVENT)) for size in sizes
        }
        for _ in range(ROUNDS):
            for size, stage in stages.items():
                taken[size].append(await stage.as_fast_as_it_goes(SECONDS))
    cost = {size: median(map(_us, rounds)) for size, rounds in taken.items()}
    figures = [
        Amount(
            name="endpoints",
            what=f"CPU µs of a delivery, {size:,} endpoints",
            ours=cost[size],
            at_most=AT_MOST * cost[FEW],
            floor_is=f"the same with {FEW}",
            floor=cost[FEW],
            notes=(_note(size, taken[size]),),
        )
        for size in sizes
        if size != FEW
    ]
    show(figures)
    return figures


def _us(progress: Progress) -> float:
    return progress.dispatcher_us + progress.server_us


def _note(size: int, rounds: list[Progress]) -> str:
    dispatcher, server, per_s = (
        median(getattr(one, name) for one in rounds) for name in ("dispatcher_us", "server_us", "per_s")
    )
    return f"{size:,} endpoints: dispatcher {dispatcher:.0f} µs, nats-server {server:.0f} µs, {per_s:,.0f} a second"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=MANY)
    main(parser.parse_args().endpoints)
