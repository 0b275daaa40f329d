"""Where whatsmeow keeps the keys of paired devices: one SQLite file in WAL mode per device.

A file is its device's only copy and belongs to one shard at a time. It must not be copied while in use or restored
from an old copy: a stale Signal ratchet loses messages.
"""

import sqlite3
import subprocess
import sys
from pathlib import Path

SUFFIXES = ("", "-wal", "-shm")
LOOK_TIMEOUT_S = 10.0

_QUERY = "SELECT 1 FROM whatsmeow_device WHERE jid = ?"


class DeviceStore:
    """The files below `folder`. Tenant and device are tokens of A-Z a-z 0-9 _ and -, so they are safe as file names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used_here: set[Path] = set()

    def file(self, tenant: str, device: str) -> Path:
        return self._folder / tenant / f"{device}.db"

    def database(self, tenant: str, device: str) -> str:
        """The database's name for the library in this process, which will keep it open for good."""
        self._used_here.add(self.file(tenant, device))
        return self.database_for_child(tenant, device)

    def database_for_child(self, tenant: str, device: str) -> str:
        """The database's name for the library in another process; creates the folder.

        The library appends "?_foreign_keys=on" to the name. WAL more than doubles the rate of sending; with synchronous
        NORMAL the last moments may be lost when the power fails, not when the process dies.
        """
        path = self.file(tenant, device)
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{path}?_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=10000&_foreign_keys=on&x="

    def has(self, tenant: str, device: str, jid: str) -> bool:
        """True when the keys of `jid` are there: asked to log in without them, the library ends the whole process.

        Blocks. Raises sqlite3.Error or OSError when that cannot be found out.
        """
        path = self.file(tenant, device)
        if not path.exists():
            return False
        if path not in self._used_here:
            return _has_row(path, jid)
        # The library never closes its files, and its SQLite is another copy than Python's. Two copies in one process
        # do not see each other's locks: the second would cut off the WAL index under the first one's feet.
        looked = subprocess.run(  # noqa: S603
            [sys.executable, "-I", "-S", "-c", _LOOK, str(path), jid],
            capture_output=True,
            text=True,
            timeout=LOOK_TIMEOUT_S,
            check=False,
        )
        if looked.returncode not in (_HAS, _HAS_NOT):
            raise OSError(f"cannot look into {path}: {looked.stderr.strip()[-200:]}")
        return looked.returncode == _HAS

    def forget(self, tenant: str, device: str) -> None:
        """Remove the device's keys. Idempotent; the device's client must have been stopped."""
        path = self.file(tenant, device)
        for suffix in SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        self._used_here.discard(path)


def _has_row(path: Path, jid: str) -> bool:
    database = sqlite3.connect(path, timeout=5.0)
    try:
        return database.execute(_QUERY, (jid,)).fetchone() is not None
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return False
        raise
    finally:
        database.close()


_HAS, _HAS_NOT = 10, 11
_LOOK = f"""
import sqlite3, sys
try:
    row = sqlite3.connect(sys.argv[1], timeout=5.0).execute({_QUERY!r}, (sys.argv[2],)).fetchone()
except sqlite3.OperationalError as error:
    if "no such table" not in str(error):
        raise
    row = None
sys.exit({_HAS} if row else {_HAS_NOT})
"""
