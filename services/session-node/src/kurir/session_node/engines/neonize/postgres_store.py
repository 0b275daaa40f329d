"""The device store in one PostgreSQL database, which every node of a system shares.

whatsmeow's own tables know keys by JID alone. Ours, `kurir_device_keys`, says whose they are: a device finds nothing
but the keys that were paired for it, also when WhatsApp gives a JID a second time, to another tenant. The library opens
its own connections, two for each client that does something; ours is one for each shard.

The library acknowledges a message before it looks for the keys to read it. So a shard notices within moments that the
database is away, and says so to be disconnected: messages then wait at WhatsApp.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from kurir.session_node.engines.neonize.device_store import StoreUnavailable

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
ASK_TIMEOUT_S = 10.0
LOOK_EVERY_S = 2.0  # a server that ends is noticed at once, one behind a dead network after this and ANSWER_TIMEOUT_S
ANSWER_TIMEOUT_S = 3.0
TRY_AGAIN_S = 1.0
LIBRARY_IDLE_S = 60  # it opens a new one when it needs one, and never closes those of a client that was stopped

_MAKE = """
CREATE TABLE IF NOT EXISTS kurir_device_keys (
    jid text PRIMARY KEY,
    tenant text NOT NULL,
    device text NOT NULL,
    paired_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS kurir_device_keys_device ON kurir_device_keys (tenant, device);
"""
_MAKING = 7_353_712_001  # an advisory lock: two that make the same table at once would make one of them fail
_KEEP = """
INSERT INTO kurir_device_keys (jid, tenant, device) VALUES ($1, $2, $3)
ON CONFLICT (jid) DO UPDATE SET tenant = excluded.tenant, device = excluded.device, paired_at = now()
"""
_OWNER = "SELECT tenant, device FROM kurir_device_keys WHERE jid = $1"
_JIDS = """
SELECT jid FROM kurir_device_keys JOIN whatsmeow_device USING (jid) WHERE tenant = $1 AND device = $2
"""
_FORGET = """
WITH gone AS (DELETE FROM kurir_device_keys WHERE tenant = $1 AND device = $2 RETURNING jid)
DELETE FROM whatsmeow_device WHERE jid IN (SELECT jid FROM gone)
"""

_ONLY_FOR_THE_LIBRARY = frozenset({"connect_timeout", "binary_parameters", "disable_prepared_binary_result"})


class PostgresStore:
    """`url` is the database's; what stands in its query is understood as lib/pq does, e.g. `sslmode`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._why_none = ""
        self._has_tried = asyncio.Event()
        self._turn = asyncio.Lock()
        self._connecting: asyncio.Task[None] | None = None

    async def start(self, lost: Callable[[str], None]) -> None:
        self._connecting = asyncio.create_task(self._stay_connected(lost), name="device store")

    async def database(self, tenant: str, device: str) -> str:
        return url_for_library(self._url, device)

    async def database_for_child(self, tenant: str, device: str) -> str:
        return url_for_library(self._url, device)

    async def keep(self, tenant: str, device: str, jid: str) -> None:
        async def do(connection: Any) -> None:
            async with connection.transaction():
                await make_register(connection)
                await keep_keys(connection, tenant, device, jid)

        await self._ask(do)

    async def has(self, tenant: str, device: str, jid: str) -> bool:
        async def do(connection: Any) -> bool:
            owner = await owner_of(connection, jid)
            if owner is None:
                # When WhatsApp unlinks a device its entry stays, and when we do, nobody asks: this is another database.
                raise StoreUnavailable(
                    f"the database never had keys of {jid}: is it the one that they were paired into? If they are in "
                    "files, `kurir devices migrate` brings them here; if they are lost, log the device out"
                )
            return owner == (tenant, device) and jid in await jids_of(connection, tenant, device)

        return bool(await self._ask(do))

    async def forget(self, tenant: str, device: str) -> None:
        async def do(connection: Any) -> None:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                await forget_keys(connection, tenant, device)

        await self._ask(do)

    async def stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])

    async def _ask(self, do: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await self._has_tried.wait()
                async with self._turn:
                    if self._connection is None:
                        raise StoreUnavailable(self._why_none)
                    return await do(self._connection)
        except TimeoutError as error:
            raise StoreUnavailable(f"PostgreSQL did not answer within {ASK_TIMEOUT_S:.0f} s") from error
        except UNAVAILABLE as error:
            raise StoreUnavailable(said_by(error)) from error

    async def _stay_connected(self, lost: Callable[[str], None]) -> None:
        """Keep a connection for ever, and tell when none is to be had any more.

        Nobody learns of keys without it, so that who is connected to WhatsApp is told whenever it is lost.
        """
        was_there = False
        while True:
            try:
                connection = await asyncpg.connect(
                    url_for_asyncpg(self._url),
                    timeout=CONNECT_TIMEOUT_S,
                    statement_cache_size=0,  # a pooler between may give each transaction another connection
                    server_settings={"application_name": "kurir device store"},
                )
            except Exception as error:  # whatever it is: if this loop ended, nobody would notice the next loss
                self._why_none = said_by(error)
                self._has_tried.set()
                if was_there:
                    was_there = False
                    self._tell_lost(lost)
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            if not was_there:
                log.info("the device store answers")
            was_there, self._connection = True, connection
            self._has_tried.set()
            try:
                is_silent = await self._until_it_ends(connection)
            finally:
                self._connection, self._why_none = None, "PostgreSQL closed the connection"
                connection.terminate()
            if is_silent:
                self._why_none, was_there = "PostgreSQL does not answer", False
                self._tell_lost(lost)

    def _tell_lost(self, lost: Callable[[str], None]) -> None:
        log.warning("the device store is away: %s", self._why_none)
        lost(self._why_none)

    async def _until_it_ends(self, connection: Any) -> bool:
        """Return when the connection is of no use any more: True when it hangs, False when it was closed."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        while not connection.is_closed():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await ended.wait()
                return False
            try:
                async with self._turn:
                    await connection.execute("SELECT", timeout=ANSWER_TIMEOUT_S)
            except TimeoutError:
                return True
            except Exception as error:  # as above: what it says is said again by the next try to connect
                log.info("the device store's connection ended: %r", error)
                return False
        return False


UNAVAILABLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


"""What a database that cannot be used makes asyncpg raise."""


async def make_register(connection: Any) -> None:
    """Make our own table, if need be, within a transaction; others that make it wait for the end of that."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _MAKING)
    await connection.execute(_MAKE)


async def keep_keys(connection: Any, tenant: str, device: str, jid: str) -> None:
    """The keys of `jid` are this device's from now on."""
    await connection.execute(_KEEP, jid, tenant, device)


async def owner_of(connection: Any, jid: str) -> tuple[str, str] | None:
    """Whose keys of `jid` are, or were until WhatsApp unlinked them; None when they were never here."""
    try:
        found = await connection.fetchrow(_OWNER, jid)
    except asyncpg.UndefinedTableError:
        return None
    return None if found is None else (found["tenant"], found["device"])


async def jids_of(connection: Any, tenant: str, device: str) -> set[str]:
    """Of which JIDs the device has keys. Raises asyncpg.UndefinedTableError before the first pairing."""
    return {row["jid"] for row in await connection.fetch(_JIDS, tenant, device)}


async def forget_keys(connection: Any, tenant: str, device: str) -> None:
    """Remove the device's keys. Raises asyncpg.UndefinedTableError before the first pairing."""
    await connection.execute(_FORGET, tenant, device)


def said_by(error: BaseException) -> str:
    """A sentence for what UNAVAILABLE catches, without passwords."""
    return f"PostgreSQL: {error}" if str(error) else "PostgreSQL does not answer"


def url_for_library(url: str, device: str) -> str:
    """For lib/pq, which waits for ever unless told otherwise. The server lists the connections under the device."""
    parts = urlsplit(url)
    defaults = {
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "idle_session_timeout": f"{LIBRARY_IDLE_S}s",
        "binary_parameters": "yes",  # one round trip for a question and not two; a pooler in transaction mode needs it
    }
    given = defaults | dict(parse_qsl(parts.query, keep_blank_values=True)) | {"application_name": f"kurir {device}"}
    return urlunsplit(parts._replace(query=urlencode(given, quote_via=quote)))


def url_for_asyncpg(url: str) -> str:
    """With the library's own default for TLS, and without settings that would be taken for the server's."""
    parts = urlsplit(url)
    given = {
        name: value
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in _ONLY_FOR_THE_LIBRARY
    }
    return urlunsplit(parts._replace(query=urlencode({"sslmode": "require"} | given, quote_via=quote)))
