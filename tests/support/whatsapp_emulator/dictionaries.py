"""The dictionaries of WhatsApp's binary XML, read out of the neonize library that is loaded into this process.

They are data of the library, so they are read and not copied: another release with other words is understood too.
The library is only loaded; nothing of it is called, and neonize's Python code is not imported.
"""

import ctypes
import importlib.util
import platform
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SINGLE_TOKENS = 236
DOUBLE_DICTIONARIES = 4
DOUBLE_TOKENS = 256
WORD = 8

_SINGLE_BEGINS = ("xmlstreamstart", "xmlstreamend", "s.whatsapp.net", "type", "participant", "from", "receipt", "id")
_DOUBLE_BEGINS = ("read-self", "active", "fbns", "protocol", "reaction")


@dataclass(frozen=True, slots=True)
class Dictionaries:
    """`single` is indexed by the token (0 is unused), `double` by dictionary and token."""

    single: Sequence[str]
    double: Sequence[Sequence[str]]


class Segment(NamedTuple):
    """A part of this process's memory."""

    start: int
    end: int
    permissions: str


def library_path() -> Path:
    """neonize's shared library for this machine. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("neonize")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("neonize is not installed")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    path = Path(spec.origin).parent / f"neonize-linux-{machine}.so"
    if not path.exists():
        raise FileNotFoundError(str(path))
    return path


def segments_of(path: Path) -> Iterator[Segment]:
    """Where this process has mapped the file, readable parts only."""
    with Path("/proc/self/maps").open() as maps:
        for line in maps:
            addresses, permissions, *_, mapped = line.split(maxsplit=5)
            if mapped.strip() == str(path) and "r" in permissions:
                start, _, end = addresses.partition("-")
                yield Segment(int(start, 16), int(end, 16), permissions)


def read() -> Dictionaries:
    """Load the library and read. Raises LookupError when a release keeps its dictionaries otherwise."""
    path = library_path().resolve()
    ctypes.CDLL(str(path))
    segments = [segment for segment in segments_of(path) if "x" not in segment.permissions]
    memory = {segment: ctypes.string_at(segment.start, segment.end - segment.start) for segment in segments}
    # The table of single tokens begins with an unused empty word.
    single = _find_strings(memory, _SINGLE_BEGINS) - 2 * WORD
    first_double = _find_strings(memory, _DOUBLE_BEGINS)
    slices = _find_slices(memory, first_double)
    return Dictionaries(_strings(single, SINGLE_TOKENS), [_strings(start, DOUBLE_TOKENS) for start in slices])


def _find_strings(memory: dict[Segment, bytes], words: Sequence[str]) -> int:
    """The address of an array of Go strings, each a pointer and a length, that begins with `words`."""
    lengths = re.compile((b".{%d}" % WORD).join(re.escape(struct.pack("<Q", len(word))) for word in words), re.DOTALL)
    for segment, content in memory.items():
        for match in lengths.finditer(content):
            start = segment.start + match.start() - WORD
            if start % WORD == 0 and _begins_with(start, words, memory):
                return start
    raise LookupError(f"the library holds no list that begins with {words[0]!r}")


def _begins_with(start: int, words: Sequence[str], memory: dict[Segment, bytes]) -> bool:
    pointers = struct.unpack(f"<{2 * len(words)}Q", ctypes.string_at(start, 2 * WORD * len(words)))[::2]
    in_library = all(any(s.start <= pointer < s.end for s in memory) for pointer in pointers)
    return in_library and _strings(start, len(words)) == list(words)


def _find_slices(memory: dict[Segment, bytes], first: int) -> list[int]:
    """Where the dictionaries begin that a list of Go slices names, each a pointer, a length and a capacity."""
    sizes = struct.pack("<QQ", DOUBLE_TOKENS, DOUBLE_TOKENS)
    for content in memory.values():
        at = content.find(struct.pack("<Q", first) + sizes)
        if at >= 0:
            headers = [content[at + 3 * WORD * n :][: 3 * WORD] for n in range(DOUBLE_DICTIONARIES)]
            if all(header[WORD:] == sizes for header in headers):
                return [int.from_bytes(header[:WORD], "little") for header in headers]
    raise LookupError("the library holds no list of double dictionaries")


def _strings(start: int, count: int) -> list[str]:
    raw = struct.unpack(f"<{2 * count}Q", ctypes.string_at(start, 2 * WORD * count))
    return [ctypes.string_at(raw[2 * n], raw[2 * n + 1]).decode() if raw[2 * n + 1] else "" for n in range(count)]
