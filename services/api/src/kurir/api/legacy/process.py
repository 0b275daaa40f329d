"""What may be told of the process that answers: how long it runs, and its memory."""

import resource
import sys
import time
from pathlib import Path

MIB = 1024 * 1024
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
_STATM = Path("/proc/self/statm")


class Process:
    """Made when the service starts."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._began

    def memory_mb(self) -> tuple[int, int]:
        """What is used now (where the system tells it), and the most that ever was."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
        used = int(_STATM.read_text().split()[1]) * resource.getpagesize() if _STATM.exists() else peak
        return used // MIB, max(used, peak) // MIB
