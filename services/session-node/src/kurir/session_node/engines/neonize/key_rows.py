"""The rows that make up one device's keys, read from and written to the library's own tables of either database.

Guarantees: all rows of the device, and of `whatsmeow_lid_map`, which all devices of a database share, those of its
peers; a table that nobody knows how to divide by device is an error, never left out. The tables are the library's: they
are not made here. Rows are compared as they were read, so what was written can be proven to be what was to be written.
"""

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

DEVICE, LID_MAP, VERSION = "whatsmeow_device", "whatsmeow_lid_map", "whatsmeow_version"
OWNER_COLUMNS = ("our_jid", "jid")
PEER_COLUMNS = ("their_id", "their_jid", "chat_id", "chat_jid", "sender_id", "sender_jid", "jid", "lid")
_ASK_VERSION = f"SELECT version FROM {VERSION}"  # noqa: S608 - a constant
_USER = re.compile(r"\d+")  # of 628…@s.whatsapp.net, 628….1:0@lid, 628…_1:0: the number, or the hidden id

Row = tuple[Any, ...]


class KeysMissing(Exception):
    """The store has no keys of the device; the text says where they were looked for."""


class KeysUnreadable(Exception):
    """There are keys, and this release cannot read or write them; the text says why."""


class Table(Struct, frozen=True):
    """`rows` are in an order of their own, the same for the same rows. BLOBs are bytes, booleans 0 or 1."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Keys(Struct, frozen=True):
    """One device's rows by table, of the library's schema `version`."""

    jid: str
    version: int
    tables: dict[str, Table]

    @property
    def own(self) -> dict[str, Table]:
        """Without what all devices of a database share."""
        return {name: table for name, table in self.tables.items() if name != LID_MAP}


# --- SQLite -----------------------------------------------------------------------------------------------------------


def sqlite_version(path: Path) -> int:
    """The library's schema version of a file. Raises KeysUnreadable."""
    try:
        with _opened(path) as database:
            found = database.execute(_ASK_VERSION).fetchone()
    except sqlite3.Error as error:
        raise KeysUnreadable(f"{path.name} is not a store of the library: {error}") from error
    if found is None:
        raise KeysUnreadable(f"{path.name} is not a store of the library: it has no version")
    return int(found[0])


def read_sqlite(path: Path, jid: str) -> Keys:
    """The keys of `jid` in a file that nobody else uses. Raises KeysMissing or KeysUnreadable."""
    version = sqlite_version(path)
    try:
        with _opened(path) as database:
            found = {}
            for name, columns in _sqlite_tables(database).items():
                where, values = _whose(name, columns, jid)
                sql = f"SELECT {', '.join(columns)} FROM {name} {where}"  # noqa: S608 - names are the schema's own
                found[name] = _table(columns, database.execute(sql, values).fetchall())
    except sqlite3.Error as error:
        raise KeysUnreadable(f"{path.name} cannot be read: {error}") from error
    return _complete(jid, version, found)


def write_sqlite(path: Path, keys: Keys) -> None:
    """Write the keys into a file with the library's empty tables, which is left in WAL mode and whole on the disk.

    Raises KeysUnreadable.
    """
    try:
        with _opened(path) as database:
            tables = _sqlite_tables(database)
            _same_shape(keys, {name: set(columns) for name, columns in tables.items()})
            database.execute("PRAGMA synchronous = FULL")
            with database:
                for name, table in keys.tables.items():
                    marks = ", ".join("?" * len(table.columns))
                    sql = f"INSERT INTO {name} ({', '.join(table.columns)}) VALUES ({marks})"  # noqa: S608 - as above
                    database.executemany(sql, table.rows)
            database.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise KeysUnreadable(f"{path.name} cannot be written: {error}") from error


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    """A connection that is closed at the end; sqlite3's own context manager only commits."""
    return contextlib.closing(sqlite3.connect(path, timeout=10.0))


def _sqlite_tables(database: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Columns of the library's tables; those that others refer to come first."""
    names = [
        row[0]
        for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if row[0].startswith("whatsmeow_") and row[0] != VERSION
    ]
    parents = {name: {row[2] for row in database.execute(f"PRAGMA foreign_key_list({name})")} for name in names}
    return {
        name: tuple(row[1] for row in database.execute(f"PRAGMA table_info({name})"))
        for name in _parents_first(names, parents)
    }


def _parents_first(names: list[str], parents: dict[str, set[str]]) -> list[str]:
    ordered: list[str] = []
    while left := [name for name in names if name not in ordered]:
        ordered += [name for name in left if parents[name] <= {*ordered, name}]
    return ordered


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


async def postgres_version(connection: Any) -> int | None:
    """The library's schema version of a database; None when the library has not made its tables there yet."""
    try:
        found = await connection.fetchval(_ASK_VERSION)
    except asyncpg.UndefinedTableError:
        return None
    return None if found is None else int(found)


async def read_postgres(connection: Any, jid: str) -> Keys:
    """The keys of `jid`, within a transaction of the caller. Raises KeysMissing or KeysUnreadable."""
    version = await postgres_version(connection)
    if version is None:
        raise KeysMissing("the database has no tables of the library")
    types = await _postgres_types(connection)
    found: dict[str, Table] = {}
    for name, columns in types.items():
        if name != LID_MAP:
            where, values = _whose(name, tuple(columns), jid, mark="$1")
            sql = f"SELECT {', '.join(columns)} FROM {name} {where}"  # noqa: S608 - names are the schema's own
            found[name] = _table(tuple(columns), [_plain(row) for row in await connection.fetch(sql, *values)])
    peers = list(_peers(found))
    sql = f"SELECT lid, pn FROM {LID_MAP} WHERE lid = ANY($1) OR pn = ANY($1)"  # noqa: S608 - a constant
    found[LID_MAP] = _table(("lid", "pn"), [tuple(row) for row in await connection.fetch(sql, peers)])
    return _complete(jid, version, found)


async def write_postgres(connection: Any, keys: Keys) -> None:
    """Write keys that were read from SQLite, within a transaction of the caller. What the database knows of other
    people's hidden ids stays as it is. Raises KeysUnreadable, or asyncpg.UniqueViolationError when it has keys of that
    JID.
    """
    types = await _postgres_types(connection)
    _same_shape(keys, {name: set(columns) for name, columns in types.items()})
    for name, table in keys.tables.items():
        marks = ", ".join(f"${n + 1}" for n in range(len(table.columns)))
        sql = f"INSERT INTO {name} ({', '.join(table.columns)}) VALUES ({marks})"  # noqa: S608 - as above
        if name == LID_MAP:
            sql += " ON CONFLICT DO NOTHING"
        kinds = [types[name][column] for column in table.columns]
        booleans = [n for n, kind in enumerate(kinds) if kind == "boolean"]
        await connection.executemany(sql, [_with_booleans(row, booleans) for row in table.rows])


async def _postgres_types(connection: Any) -> dict[str, dict[str, str]]:
    """Columns and their types of the library's tables."""
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name LIKE 'whatsmeow\\_%'"
    )
    types: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        if table != VERSION:
            types.setdefault(table, {})[column] = kind
    return types


def _plain(row: Any) -> Row:
    """As SQLite would have it."""
    return tuple(
        int(value) if isinstance(value, bool) else value if isinstance(value, int | bytes | str | None) else str(value)
        for value in row
    )


def _with_booleans(row: Row, booleans: list[int]) -> Row:
    values = list(row)
    for n in booleans:
        values[n] = bool(values[n])
    return tuple(values)


# --- what is whose ----------------------------------------------------------------------------------------------------


def _whose(name: str, columns: tuple[str, ...], jid: str, mark: str = "?") -> tuple[str, tuple[str, ...]]:
    """The condition for the device's rows of a table, and its values. Raises KeysUnreadable."""
    if name == LID_MAP:
        return "", ()
    owner = next((column for column in OWNER_COLUMNS if column in columns), None)
    if owner is None:
        raise KeysUnreadable(f"the library keeps a table {name}, of which this release does not know what is whose")
    return f"WHERE {owner} = {mark}", (jid,)


def _peers(found: dict[str, Table]) -> set[str]:
    """Numbers and hidden ids of everybody whom the device has to do with, itself included."""
    return {
        user
        for table in found.values()
        for n, column in enumerate(table.columns)
        if column in PEER_COLUMNS
        for row in table.rows
        if isinstance(row[n], str)
        for user in _USER.findall(row[n])[:1]
    }


def _complete(jid: str, version: int, found: dict[str, Table]) -> Keys:
    if DEVICE not in found or not found[DEVICE].rows:
        raise KeysMissing(f"the store has no keys of {jid}")
    peers = _peers({name: table for name, table in found.items() if name != LID_MAP})
    of_peers = [row for row in found[LID_MAP].rows if peers.intersection(row)] if LID_MAP in found else []
    tables = found | {LID_MAP: _table(("lid", "pn"), of_peers)}
    return Keys(jid, version, tables)


def _table(columns: tuple[str, ...], rows: list[Row]) -> Table:
    by_name = sorted(range(len(columns)), key=columns.__getitem__)  # the order of columns is the database's business
    values = [tuple(row[n] for n in by_name) for row in rows]
    return Table(tuple(columns[n] for n in by_name), tuple(sorted(values, key=repr)))


def _same_shape(keys: Keys, there: dict[str, set[str]]) -> None:
    for name, table in keys.tables.items():
        if table.rows and set(table.columns) - there.get(name, set()):
            raise KeysUnreadable(f"the store's table {name} is not as the keys need it")
