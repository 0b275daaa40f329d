"""The table of benchmarks/README.md, between its two marks, and the machine it is from."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import LEFT, AnyFigure, notes_of, tables
from tests.support.nats_server import server_binary

BEGIN = "<!-- figures: written by `python -m benchmarks --write` -->"
END = "<!-- end of figures -->"
PACKAGES = ("uvicorn", "uvloop", "litestar", "nats-py", "msgspec", "pycurl")


def machine_line() -> str:
    """Cores, system, and the versions that matter."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    server = subprocess.run([server_binary(), "--version"], capture_output=True, text=True, check=True, timeout=10)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {server.stdout.strip().replace(': v', ' ')}, {', '.join(versions)}"
    )


def write_readme(readme: Path, figures: Sequence[AnyFigure], load_before: float) -> None:
    """Put the figures between the marks, with the load average that the machine had before.

    Raises ValueError when the marks are not there.
    """
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} has lost its marks: {BEGIN} … {END}")
    said = f"{datetime.now(UTC):%Y-%m-%d}, {machine_line()}. Load average before the run: {load_before:.1f}."
    notes = "\n".join(f"- {note}" for note in notes_of(figures))
    readme.write_text(f"{before}{BEGIN}\n{said}\n\n{markdown(figures)}\n\n{notes}\n{END}{after}")


def markdown(figures: Sequence[AnyFigure]) -> str:
    """The figures as tables of Markdown."""
    return "\n\n".join(map(_table, tables(figures)))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head = rows[0]
    rule = tuple("---" if name in LEFT else "---:" for name in head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows[1:]))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
