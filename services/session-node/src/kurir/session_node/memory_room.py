"""How much memory is left to this process: of its cgroup, which is what a container is killed by, and of the machine.

Linux tells; elsewhere nobody does, and no bound is kept. The kernel's files are read anew at most once a second.
"""

import time
from collections.abc import Callable
from pathlib import Path

READ_EVERY_S = 1.0
MEGABYTE = 1024 * 1024
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # a container sees its own there (cgroup v2)


class MemoryRoom:
    """`reserve_mb` is what is to be left free; 0 is no bound."""

    def __init__(self, reserve_mb: int, available: Callable[[], int | None] | None = None) -> None:
        self._reserve_mb = reserve_mb
        self._available = available or available_bytes
        self._read_at = -READ_EVERY_S
        self._known: int | None = None

    def shortage(self) -> str | None:
        """Why no more is to be taken on, None when there is room."""
        if self._reserve_mb <= 0:
            return None
        now = time.monotonic()
        if now >= self._read_at + READ_EVERY_S:
            self._read_at, self._known = now, self._available()
        if self._known is None or self._known >= self._reserve_mb * MEGABYTE:
            return None
        return f"{self._known // MEGABYTE} MB of memory are left, and {self._reserve_mb} MB are to stay free"


def available_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Bytes that can still be used without swapping or being killed; None when the system does not tell."""
    known = [bytes_ for bytes_ in (_of_machine(meminfo), _of_cgroup(cgroup)) if bytes_ is not None]
    return min(known) if known else None


def _of_machine(meminfo: Path) -> int | None:
    return _value(meminfo, "MemAvailable:", 1024)


def _of_cgroup(cgroup: Path) -> int | None:
    try:
        most = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    if not most.isdecimal():  # "max"
        return None
    # Pages of files that nobody uses count as used, and are given back before anybody is killed.
    return int(most) - used + (_value(cgroup / "memory.stat", "inactive_file", 1) or 0)


def _value(file: Path, name: str, unit: int) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{name} ")), None)
    return int(found[1]) * unit if found is not None else None
