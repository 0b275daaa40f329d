"""The device store in files: one SQLite database in WAL mode per device.

A file is its device's only copy and belongs to one shard at a time. It must not be copied while in use or restored
from an old copy: a stale Signal ratchet loses messages.
"""

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from kurir.session_node.engines.neonize.device_store import StoreUnavailable

SUFFIXES = ("", "-wal", "-shm")
LOOK_TIMEOUT_S = 10.0

_QUERY = "SELECT 1 FROM whatsmeow_device WHERE jid = ?"


class SqliteStore:
    """The files below `folder`. Tenant and device are tokens of A-Z a-z 0-9 _ and -, so they are safe as file names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used_here: set[Path] = set()

    def file(self, tenant: str, device: str) -> Path:
        return self._folder / tenant / f"{device}.db"

    async def start(self, lost: Callable[[str], None]) -> None:
        """Nothing to do: folders are made when a device needs them, and a disk does not go away."""

    async def database(self, tenant: str, device: str) -> str:
        """The library, in this process, will keep the file open for good."""
        self._used_here.add(self.file(tenant, device))
        return await self.database_for_child(tenant, device)

    async def database_for_child(self, tenant: str, device: str) -> str:
        """The library appends "?_foreign_keys=on" to the name.

        WAL more than doubles the rate of sending; with synchronous NORMAL the last moments may be lost when the power
        fails, not when the process dies.
        """
        path = self.file(tenant, device)
        with _told(path):
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        return f"{path}?_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=10000&_foreign_keys=on&x="

    async def keep(self, tenant: str, device: str, jid: str) -> None:
        """Nothing to do: the file is the device's own."""

    async def has(self, tenant: str, device: str, jid: str) -> bool:
        path = self.file(tenant, device)
        if not path.exists():
            return False
        with _told(path):
            if path not in self._used_here:
                return await asyncio.to_thread(_has_row, path, jid)
            # The library never closes its files, and its SQLite is another copy than Python's. Two copies in one
            # process do not see each other's locks: the second would cut off the WAL index under the first one's feet.
            return await _look_from_outside(path, jid)

    async def forget(self, tenant: str, device: str) -> None:
        path = self.file(tenant, device)
        with _told(path):
            await asyncio.to_thread(_remove, path)
        self._used_here.discard(path)

    async def stop(self) -> None:
        """Nothing is open."""


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, sqlite3.Error) as error:
        raise StoreUnavailable(f"cannot use {path}: {error!r}") from error


def _remove(path: Path) -> None:
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


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


async def _look_from_outside(path: Path, jid: str) -> bool:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _LOOK, str(path), jid, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            _, said = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode not in (_HAS, _HAS_NOT):
        raise OSError(said.decode(errors="replace").strip()[-200:])
    return child.returncode == _HAS


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
