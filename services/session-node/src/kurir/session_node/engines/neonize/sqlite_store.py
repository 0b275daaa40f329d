"""The device store in files: one SQLite database in WAL mode per device.

A file is its device's only copy and belongs to one shard at a time. It must not be copied while in use or restored
from an old copy: a stale Signal ratchet loses messages.
"""

import asyncio
import contextlib
import json
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
        self._outside = _Outside()

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
            # A file goes when its device is logged out or deleted, and then nobody asks for it: this one is elsewhere.
            raise StoreUnavailable(f"{path} is not on this node: mount the volume that has it, or log the device out")
        with _told(path):
            if path not in self._used_here:
                return await asyncio.to_thread(_has_row, path, jid)
            # The library never closes its files, and its SQLite is another copy than Python's. Two copies in one
            # process do not see each other's locks: the second would cut off the WAL index under the first one's feet.
            return await self._outside.has_row(path, jid)

    async def forget(self, tenant: str, device: str) -> None:
        path = self.file(tenant, device)
        with _told(path):
            await asyncio.to_thread(remove_file, path)
        self._used_here.discard(path)

    async def stop(self) -> None:
        """Nothing is open here."""
        await self._outside.stop()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, sqlite3.Error) as error:
        raise StoreUnavailable(f"cannot use {path}: {error!r}") from error


def remove_file(path: Path) -> None:
    """Remove a database with what SQLite keeps beside it. Raises OSError."""
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


class _Outside:
    """A child process that looks into files, one after the other: it is started once, for a start costs 50 ms of CPU
    and hundreds of devices may come back at once. It ends with our process.
    """

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def has_row(self, path: Path, jid: str) -> bool:
        """Raises OSError or TimeoutError when it cannot be seen."""
        async with self._turn:
            child = self._child or await self._started()
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    said = await self._asked(child, json.dumps([str(path), jid]))
            except BaseException:  # what it says next would answer this question
                await self.stop()
                raise
        if said not in ("yes", "no"):
            raise OSError(said)
        return said == "yes"

    async def stop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _LOOK, stdin=pipe, stdout=pipe
        )
        return self._child

    async def _asked(self, child: asyncio.subprocess.Process, question: str) -> str:
        if child.stdin is None or child.stdout is None:
            raise OSError("the process that looks has no pipes")
        child.stdin.write(question.encode() + b"\n")
        await child.stdin.drain()
        line = await child.stdout.readline()
        if not line:
            raise OSError("the process that looks has ended")
        return str(json.loads(line))


_LOOK = f"""
import json, sqlite3, sys
for line in sys.stdin:
    path, jid = json.loads(line)
    try:
        database = sqlite3.connect(path, timeout=5.0)
        try:
            said = "yes" if database.execute({_QUERY!r}, (jid,)).fetchone() else "no"
        finally:
            database.close()
    except sqlite3.Error as error:
        said = "no" if "no such table" in str(error) else repr(error)
    print(json.dumps(said), flush=True)
"""
