"""The device store as `kurir doctor` looks at it: can it be reached, and does it have the keys of every paired device?

Only reads. Files are opened read-only and in a process that holds no client of the library, beside which its SQLite
copes with others as with any process.
"""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg

from kurir.contracts.records import Device, Session
from kurir.runtime.diagnosis import Finding, NotAnswering, Scene
from kurir.runtime.settings import load
from kurir.session_node.engines.neonize.postgres_store import CONNECT_TIMEOUT_S, url_for_asyncpg
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from kurir.session_node.settings import SessionNodeSettings

NAME = "device store"
LOOKED_AT = 500  # files; a fault of the volume shows in any of them
SHOWN = 5
FREE_SHARE = 0.1
BUSY_SHARE = 0.9
ASK_TIMEOUT_S = 5.0

_LINK_AGAIN = "Log the device out, and link it by a new QR code."
_PAIR_AGAIN = "The device has to be paired again; never restore an old copy, its stale ratchets lose messages."


async def check(scene: Scene) -> list[Finding]:
    """Of the store alone while NATS cannot say which devices are paired. Raises PublishError, SettingsRefused."""
    settings = load(SessionNodeSettings)
    try:
        paired = await _paired(scene)
    except NotAnswering:
        paired = []
    if settings.device_store_url is not None:
        return await _postgres(settings.device_store_url.get_secret_value(), paired)
    return await asyncio.to_thread(_files, settings.device_store_dir / "neonize", paired[:LOOKED_AT])


async def _paired(scene: Scene) -> list[tuple[str, str, str]]:
    """Tenant, device and JID of every device that logs in from the store."""
    engines = {entry.key: entry.value.engine for entry in await scene.records("devices", Device)}
    return [
        (entry.value.tenant, entry.value.device, entry.value.jid)
        for entry in await scene.records("sessions", Session)
        if entry.value.paired and entry.value.jid is not None and engines.get(entry.key) == "neonize"
    ]


def _files(folder: Path, paired: list[tuple[str, str, str]]) -> list[Finding]:
    if not paired:
        return [Finding(NAME, "ok", f"{folder}: no paired device is known")]
    if not folder.is_dir():
        cure = "Run the doctor on the session node, or mount the volume of KURIR_DEVICE_STORE_DIR."
        return [Finding(NAME, "fail", f"{folder} is not here, and {len(paired)} devices are paired", cure)]
    store = SqliteStore(folder)
    faults: dict[tuple[str, str], list[str]] = {}
    for tenant, device, jid in paired:
        fault = _fault_of(store.file(tenant, device), jid)
        if fault is not None:
            faults.setdefault(fault, []).append(f"{tenant}.{device}")
    found = [
        Finding(NAME, "fail", f"{len(whose)} files {what}: {', '.join(whose[:SHOWN])}", cure)
        for (what, cure), whose in faults.items()
    ]
    disk = shutil.disk_usage(folder)
    if disk.free < FREE_SHARE * disk.total:
        text = f"{folder} has {disk.free / 1024**2:.0f} MB left, {disk.free / disk.total:.0%} of its disk"
        found.append(
            Finding(NAME, "warn", text, "Give the volume more room: keys that cannot be written lose messages.")
        )
    return found or [Finding(NAME, "ok", f"{folder}: the keys of {len(paired)} devices can be read")]


def _fault_of(path: Path, jid: str) -> tuple[str, str] | None:
    """What is wrong with a device's file, and the cure."""
    try:
        if not path.exists():
            return "are missing", f"Mount the volume that has them. If none has: {_LINK_AGAIN}"
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            mode = database.execute("PRAGMA journal_mode").fetchone()[0]
            keys = database.execute("SELECT 1 FROM whatsmeow_device WHERE jid = ?", (jid,)).fetchone()
        finally:
            database.close()
    except OSError as error:
        return f"cannot be reached ({error.strerror})", "Give the service's user the folder and its files."
    except sqlite3.Error as error:
        if "unable to open" in str(error) or "readonly" in str(error):
            return f"cannot be opened ({error})", "Give the service's user the folder and its files."
        return f"cannot be read ({error})", _PAIR_AGAIN
    if keys is None:
        return "do not have their device's keys", _PAIR_AGAIN
    if mode != "wal":
        return (
            f"are in journal mode {mode}",
            "Something else than Kurir opened them: keep it away; a login puts it right.",
        )
    return None


async def _postgres(url: str, paired: list[tuple[str, str, str]]) -> list[Finding]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S + ASK_TIMEOUT_S):
            connection = await asyncpg.connect(
                url_for_asyncpg(url),
                timeout=CONNECT_TIMEOUT_S,
                statement_cache_size=0,
                server_settings={"application_name": "kurir doctor"},
            )
            try:
                return await _asked(connection, paired)
            finally:
                connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        cure = "Start PostgreSQL or correct DEVICE_STORE_URL; devices leave WhatsApp until it is back, by themselves."
        return [Finding(NAME, "fail", f"PostgreSQL: {error or 'no answer'}", cure)]


async def _asked(connection: Any, paired: list[tuple[str, str, str]]) -> list[Finding]:
    found = []
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        cure = "Let the host name in DEVICE_STORE_URL follow the primary: a virtual address, a service, or PgBouncer."
        found.append(Finding(NAME, "fail", "PostgreSQL is a standby, which takes no writes", cure))
    used = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    most = int(await connection.fetchval("SHOW max_connections"))
    if used > BUSY_SHARE * most:
        cure = "Raise max_connections, or put PgBouncer between: three connections for each device that is at work."
        found.append(Finding(NAME, "warn", f"{used} of {most} connections are taken", cure))
    try:
        rows = await connection.fetch(
            "SELECT tenant, device, jid FROM kurir_device_keys JOIN whatsmeow_device USING (jid)"
        )
    except asyncpg.UndefinedTableError:
        rows = []
    known = {tuple(row) for row in rows}
    without = [f"{tenant}.{device}" for tenant, device, jid in paired if (tenant, device, jid) not in known]
    if without:
        text = f"{len(without)} paired devices have no keys there: {', '.join(without[:SHOWN])}"
        cure = (
            "Is DEVICE_STORE_URL the database they were paired into? From files `kurir devices migrate` brings them "
            f"there. If they are lost: {_LINK_AGAIN}"
        )
        found.append(Finding(NAME, "fail", text, cure))
    return found or [
        Finding(NAME, "ok", f"PostgreSQL has the keys of {len(paired)} devices, {used} of {most} connections")
    ]
