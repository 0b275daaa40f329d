"""Where a running emulator is found: a file in its folder, written when it is ready."""

from pathlib import Path
from typing import Self

import msgspec

FILE = "emulator.json"


class EmulatorAddress(msgspec.Struct, frozen=True, kw_only=True):
    """`proxy` is the way in, the same inside the namespace and outside. `network_of` is a process whose network
    namespace has loopback only; None where namespaces are not allowed.
    """

    proxy: str
    control: str
    authority_file: str
    root_file: str
    network_of: int | None
    pid: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises FileNotFoundError when no emulator is ready there."""
        return msgspec.json.decode((folder / FILE).read_bytes(), type=cls)

    def write(self, folder: Path) -> None:
        """Whole or not at all."""
        unfinished = folder / f".{FILE}"
        unfinished.write_bytes(msgspec.json.encode(self))
        unfinished.replace(folder / FILE)
