"""What processes take of the machine's memory, from /proc (Linux)."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """In bytes. `rss` is resident; `pss` shares what several processes map; `uss` is what would be free without it."""

    rss: int
    pss: int
    uss: int

    def __sub__(self, other: "Memory") -> "Memory":
        return Memory(self.rss - other.rss, self.pss - other.pss, self.uss - other.uss)


def memory_of(pids: Iterable[int]) -> Memory:
    """Of all these processes together."""
    each = [_of(pid) for pid in pids]
    return Memory(*(sum(column) for column in zip(*each, strict=True)))


def _of(pid: int) -> Memory:
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name.rstrip(":")] = int(size) * 1024
    return Memory(sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])
