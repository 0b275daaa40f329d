"""Measure everything, or the figures that are named, and print one table at the end.

python -m benchmarks [--write] [accept publish send deliver http_out latency isolation endpoints pending_retries
                                end_to_end engine_path sessions moves cluster claims dialects]
python -m benchmarks sessions --sessions 1000 --shards 5
python -m benchmarks pending_retries --retries 1000000

Takes under twelve minutes on two cores. With --write the table and the machine go into benchmarks/README.md.
"""

import argparse
import importlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import AnyFigure, show
from benchmarks.report import machine_line, write_readme

NAMES = (
    *("accept", "publish", "send", "deliver", "http_out", "latency", "isolation", "endpoints", "pending_retries"),
    *("end_to_end", "engine_path", "sessions", "moves", "cluster", "claims", "dialects"),
)
OPTIONS = {
    "send": ("devices",),
    "sessions": ("sessions", "shards"),
    "endpoints": ("endpoints",),
    "pending_retries": ("retries",),
    "moves": ("sessions",),
    "cluster": ("devices",),
    "claims": ("devices",),
}
"""What a figure's size is called on the command line."""
BUSY_PER_CORE = 0.5
README = Path(__file__).parent / "README.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Kurir beside its floors.")
    parser.add_argument("names", nargs="*", metavar="figure", help=f"any of {', '.join(NAMES)}; all by default")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    parser.add_argument("--sessions", type=int, help="how many the figures sessions and moves open (200)")
    parser.add_argument("--devices", type=int, help="how many the figures send (500), cluster and claims (5000) have")
    parser.add_argument("--shards", type=int, help="on how many shards it opens them (2)")
    parser.add_argument("--endpoints", type=int, help="how many the figure endpoints serves (5000)")
    parser.add_argument("--retries", type=int, help="how many wait in the figure pending_retries (100000)")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no figure {unknown[0]}; there are {', '.join(NAMES)}")
    if chosen.write and chosen.names:
        parser.error("--write is for the whole table, so name no figures with it")

    began, load_before = time.monotonic(), os.getloadavg()[0]
    if load_before > BUSY_PER_CORE * (os.cpu_count() or 1):
        print(f"The machine is busy (load average {load_before:.1f}): rates will be low, ratios of CPU hold better.")
    figures: list[AnyFigure] = []
    names = chosen.names or NAMES
    for name in names:
        print(f"--- {name}", flush=True)
        sizes = {option: getattr(chosen, option) for option in OPTIONS.get(name, ())}
        given = {option: size for option, size in sizes.items() if size is not None}
        figures += importlib.import_module(f"benchmarks.{name}").main(**given)
    print(f"--- all, in {time.monotonic() - began:.0f} s, on {machine_line()}")
    if len(names) > 1:
        show(figures)
    if chosen.write:
        write_readme(README, figures, load_before)
        print(f"written to {README}")


if __name__ == "__main__":
    main()
