"""The places of keys as they are exported, imported and migrated: whole, by one process, while no shard uses them.

Guarantees: keys that were put somewhere were read back and compared before anything calls them there; put is all or
nothing, and a process that dies amid it leaves what was there. That nobody else uses the keys, the caller sees to.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from kurir.session_node.engines.neonize.device_store import StoreUnavailable
from kurir.session_node.engines.neonize.key_rows import (
    Keys,
    KeysMissing,
    KeysUnreadable,
    postgres_version,
    read_postgres,
    read_sqlite,
    sqlite_version,
    write_postgres,
    write_sqlite,
)
from kurir.session_node.engines.neonize.library_tables import file_database, make_tables
from kurir.session_node.engines.neonize.postgres_store import (
    CONNECT_TIMEOUT_S,
    UNAVAILABLE,
    forget_keys,
    jids_of,
    keep_keys,
    make_register,
    owner_of,
    said_by,
    url_for_asyncpg,
    url_for_library,
)
from kurir.session_node.engines.neonize.sqlite_store import SUFFIXES, SqliteStore, remove_file

MIGRATED = ".migrated"
"""What a file's name ends in whose keys are in PostgreSQL from now on."""
COPY_TIMEOUT_S = 120.0


class PlaceTaken(Exception):
    """Other keys are there already; the text says whose."""


class KeyPlace(Protocol):
    """All raise StoreUnavailable, and KeysUnreadable for what this release of the library cannot read."""

    async def read(self, tenant: str, device: str, jid: str) -> Keys:
        """Raises KeysMissing."""
        ...

    async def put(self, tenant: str, device: str, keys: Keys, *, replace: bool) -> bool:
        """Make these keys the device's; False when they were so already. Raises PlaceTaken unless `replace`, and in any
        case when they are another device's.
        """
        ...

    async def forget(self, tenant: str, device: str) -> None:
        """Remove the device's keys. Idempotent."""
        ...


class Workbench:
    """A folder of one's own for files that are read or made, with a file of the library's empty tables. Blocking."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kurir-keys-"))  # nobody else may read it
        self._empty = self._folder / "empty.db"

    def file(self) -> Path:
        return self._folder / f"{secrets.token_hex(8)}.db"

    @property
    def version(self) -> int:
        """The schema version that the library writes. Raises KeysUnreadable."""
        return sqlite_version(self._tables())

    def read(self, file: Path, jid: str) -> Keys:
        """The keys in a file of the bench, brought to the library's version. Raises KeysMissing, KeysUnreadable."""
        version = sqlite_version(file)
        if version > self.version:
            raise KeysUnreadable(
                f"the keys are of the library's version {version}, and this release knows {self.version}: update Kurir"
            )
        if version < self.version:
            make_tables(file_database(file))
        return read_sqlite(file, jid)

    def write(self, keys: Keys) -> Path:
        """A new file of the bench with these keys, read back and compared. Raises KeysUnreadable."""
        if keys.version != self.version:
            raise KeysUnreadable(
                f"the keys are of the library's version {keys.version}, this release's is {self.version}"
            )
        file = self.file()
        shutil.copy(self._tables(), file)
        write_sqlite(file, keys)
        if read_sqlite(file, keys.jid).tables != keys.tables:
            raise KeysUnreadable("the keys that were written are not those that were read")
        return file

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tables(self) -> Path:
        if not self._empty.exists():
            make_tables(file_database(self._empty))
        return self._empty


class FileKeys:
    """The files of a SqliteStore's `folder`."""

    def __init__(self, folder: Path, bench: Workbench) -> None:
        self._store = SqliteStore(folder)
        self._bench = bench

    async def read(self, tenant: str, device: str, jid: str) -> Keys:
        return await asyncio.to_thread(self._read, self._store.file(tenant, device), jid)

    async def put(self, tenant: str, device: str, keys: Keys, *, replace: bool) -> bool:
        file = self._store.file(tenant, device)
        try:
            return await asyncio.to_thread(self._put, file, keys, replace)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {file}: {error.strerror or error}") from error

    async def forget(self, tenant: str, device: str) -> None:
        await self._store.forget(tenant, device)

    async def retire(self, tenant: str, device: str) -> None:
        """Rename the device's file, so that nobody logs in from it any more. Idempotent."""
        file = self._store.file(tenant, device)
        try:
            await asyncio.to_thread(self._retire, file)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"cannot rename {file}: {error}") from error

    def _read(self, file: Path, jid: str) -> Keys:
        if not file.exists():
            raise KeysMissing(f"{file} is not here")
        copy = self._bench.file()
        try:
            with (
                contextlib.closing(sqlite3.connect(file, timeout=10.0)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)  # with what is in its WAL alone
                target.execute("PRAGMA journal_mode = DELETE")
                flaws = target.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.Error as error:
            raise KeysUnreadable(f"{file} cannot be read: {error}") from error
        if flaws != "ok":
            raise KeysUnreadable(f"{file} is damaged: {flaws}")
        try:
            return self._bench.read(copy, jid)
        finally:
            remove_file(copy)

    def _put(self, file: Path, keys: Keys, replace: bool) -> bool:
        if file.exists() and not replace:
            there = _jids_in(file)
            if keys.jid in there and self._read(file, keys.jid).own == keys.own:
                return False
            if there:
                raise PlaceTaken(f"{file} has keys of {', '.join(sorted(there))}, and not these")
        made = self._bench.write(keys)
        file.parent.mkdir(parents=True, exist_ok=True)
        arriving = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(made, arriving)
            arriving.chmod(0o600)
            _give_to_owner_of(file.parent.parent, file.parent, arriving)
            _sync(arriving)
            for suffix in SUFFIXES[1:]:  # SQLite would play a former file's log over the new one
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            arriving.replace(file)
            _sync(file.parent)
        finally:
            arriving.unlink(missing_ok=True)
            remove_file(made)
        return True

    def _retire(self, file: Path) -> None:
        if not file.exists():
            return
        with contextlib.closing(sqlite3.connect(file, timeout=10.0)) as database:
            database.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
        file.replace(file.with_name(file.name + MIGRATED))
        _sync(file.parent)


class PostgresKeys:
    """The rows of a PostgresStore at `url`, over one connection."""

    def __init__(self, connection: Any, url: str, bench: Workbench) -> None:
        self._connection = connection
        self._url = url
        self._bench = bench

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, bench: Workbench) -> AsyncIterator["PostgresKeys"]:
        """Raises StoreUnavailable."""
        with _told():
            connection = await asyncpg.connect(
                url_for_asyncpg(url),
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COPY_TIMEOUT_S,
                statement_cache_size=0,
                server_settings={"application_name": "kurir devices"},
            )
        try:
            yield cls(connection, url, bench)
        finally:
            connection.terminate()

    async def read(self, tenant: str, device: str, jid: str) -> Keys:
        with _told():
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                owner = await owner_of(self._connection, jid)
                if owner != (tenant, device):
                    raise KeysMissing(f"the database has no keys of {jid} for this device")
                await self._require_version()
                return await read_postgres(self._connection, jid)

    async def put(self, tenant: str, device: str, keys: Keys, *, replace: bool) -> bool:
        with _told():
            await self._make_tables()
            async with self._connection.transaction():
                await make_register(self._connection)
                owner = await owner_of(self._connection, keys.jid)
                if owner is not None and owner != (tenant, device):
                    raise PlaceTaken(f"{keys.jid} is another device's there: {'.'.join(owner)}")
                if owner is not None and not replace:
                    with contextlib.suppress(KeysMissing):
                        there = await read_postgres(self._connection, keys.jid)
                        if there.own == keys.own:
                            return False
                        raise PlaceTaken(f"the database has keys of {keys.jid} already, and they differ")
                if not replace and (others := await jids_of(self._connection, tenant, device) - {keys.jid}):
                    raise PlaceTaken(f"the database has keys of {', '.join(others)} for this device")
                await forget_keys(self._connection, tenant, device)
                await write_postgres(self._connection, keys)
                await keep_keys(self._connection, tenant, device, keys.jid)
                written = await read_postgres(self._connection, keys.jid)
                if written.own != keys.own:
                    raise KeysUnreadable("the keys that were written are not those that were read")
        return True

    async def forget(self, tenant: str, device: str) -> None:
        with _told():
            async with self._connection.transaction():
                await make_register(self._connection)
                await forget_keys(self._connection, tenant, device)

    async def _make_tables(self) -> None:
        if await postgres_version(self._connection) is None:
            await asyncio.to_thread(make_tables, url_for_library(self._url, "tables"))
        await self._require_version()

    async def _require_version(self) -> None:
        """Only nodes bring a database that is in use to another version."""
        there, ours = await postgres_version(self._connection), await asyncio.to_thread(lambda: self._bench.version)
        if there != ours:
            raise KeysUnreadable(
                f"the database's tables are of the library's version {there}, this release's is {ours}: run this with "
                "the release that the session nodes run"
            )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UNAVAILABLE as error:
        raise StoreUnavailable(said_by(error)) from error


def _jids_in(file: Path) -> set[str]:
    """Whose keys a file has: nobody's, after WhatsApp unlinked its device. Raises KeysUnreadable."""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=10.0)) as database:
            return {row[0] for row in database.execute("SELECT jid FROM whatsmeow_device")}
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return set()
        raise KeysUnreadable(f"{file} cannot be read: {error}") from error


def _give_to_owner_of(folder: Path, *made: Path) -> None:
    """What root makes beside a service's files is to be the service's."""
    if os.geteuid() == 0:
        owner = folder.stat()
        for path in made:
            os.chown(path, owner.st_uid, owner.st_gid)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
