"""MongoDB, where facts are remembered: the one home of its driver.

Only what Motor and PyMongo's AsyncMongoClient share is used, so either serves. Documents are facts: written once
under a key of their own, never updated; writing one again changes nothing, which makes replays harmless.
Guarantees: every wait is bounded; whatever the network does comes out as MongoUnavailable. Does not: retry, or sit
on the way of a message; callers keep their facts in the stream until they are written.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, Protocol, cast

import bson
from bson.errors import BSONError
from pymongo import IndexModel
from pymongo.errors import BulkWriteError, ConnectionFailure, PyMongoError

Document = dict[str, Any]
Sort = Sequence[tuple[str, Literal[1, -1]]]
Driver = Literal["motor", "pymongo"]

CONNECT_TIMEOUT_S: Final = 2.0  # readers show "history unavailable" rather than hang; writers try again anyway
ANSWER_TIMEOUT_S: Final = 10.0  # a write of 500 facts takes 0.2 s; nothing here may take long
_DUPLICATE_KEY: Final = 11000

# Write errors that tell of the server's state, not of the document: out of disk, shutting down, no primary, time
# limit (MongoDB's error_codes.yml), and what the embedded server passes on from SQLite under a code of no meaning.
_SERVER_TROUBLE: Final = frozenset({14031, 91, 11600, 11602, 10107, 13435, 13436, 189, 262, 50})
_SQLITE_TROUBLE: Final = re.compile(r"is locked|disk is full|disk I/O|readonly database|unable to open|malformed")


class MongoError(Exception):
    """Whatever can go wrong here. The facts at hand are not lost: their owner still holds them."""


class MongoUnavailable(MongoError):
    """The server did not answer, or did not confirm. Facts may or may not be written: write them again."""


class MongoRefused(MongoError):
    """The server answered that it will not do this: credentials, permissions, or a fault of ours."""


class RefusedFact(NamedTuple):
    id: Any
    reason: str


class FactsRefused(MongoError):
    """Some facts cannot be written as they are; all others of the call have been."""

    def __init__(self, written: int, refused: Sequence[RefusedFact]) -> None:
        """`written`: how many others were new."""
        super().__init__(f"{len(refused)} facts refused, the first for: {refused[0].reason}")
        self.written = written
        self.refused = tuple(refused)


class Index(NamedTuple):
    """Fields with 1 (ascending) or -1, and whether their values must be unique together."""

    fields: Sequence[tuple[str, Literal[1, -1]]]
    unique: bool = False


class Mongo:
    """One database. Safe to share by all tasks of a loop."""

    def __init__(self, client: Any, database: Any) -> None:
        self._client = client
        self._database = database

    @classmethod
    def connect(cls, url: str, driver: Driver = "motor", *, app_name: str = "kurir") -> "Mongo":
        """A database handle for `url`; its path names the database, `kurir` if there is none.

        Returns at once and connects on first use, because services start and work without MongoDB; `ping` tells.
        """
        options: dict[str, Any] = {
            "appname": app_name,
            "serverSelectionTimeoutMS": int(CONNECT_TIMEOUT_S * 1000),
            "connectTimeoutMS": int(CONNECT_TIMEOUT_S * 1000),
            "socketTimeoutMS": int(ANSWER_TIMEOUT_S * 1000),
            "waitQueueTimeoutMS": int(ANSWER_TIMEOUT_S * 1000),
            "tz_aware": True,  # a naive datetime is a bug waiting for its time zone
            "tzinfo": UTC,
        }
        client = _client_class(driver)(url, **options)
        return cls(client, client.get_default_database("kurir"))

    async def ping(self) -> None:
        """Ask the server for an answer. Raises MongoUnavailable."""
        with _failures():
            await self._database.command("ping")

    async def server_time(self) -> datetime:
        """The server's wall clock, to the millisecond. Raises MongoUnavailable."""
        with _failures():
            answer = await self._database.command("hello")
        at: datetime = answer["localTime"]
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)  # a command's answer may come naive

    async def missing_indexes(self, collection: str, indexes: Sequence[Index]) -> list[Index]:
        """Those of `indexes` that the collection does not have, by their fields. Raises MongoUnavailable.

        Directions are not compared: the embedded server forgets them.
        """
        with _failures():
            known = await self._of(collection).index_information()
        existing = {tuple(name for name, _ in index["key"]) for index in known.values()}
        return [index for index in indexes if tuple(name for name, _ in index.fields) not in existing]

    async def ensure_indexes(self, collection: str, indexes: Sequence[Index]) -> None:
        """Create what is missing of `indexes`; existing ones stay. Raises MongoUnavailable.

        The first field of a compound index gets one of its own too: the embedded server uses a compound index only
        beside it, and elsewhere it costs little.
        """
        wanted = {tuple(index.fields): index.unique for index in indexes}
        for index in indexes:
            wanted.setdefault((index.fields[0],), False)
        models = [IndexModel(list(fields), unique=unique) for fields, unique in wanted.items()]
        with _failures():
            await self._of(collection).create_indexes(models)

    async def insert_facts(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> int:
        """Write facts, each with its own `_id`, in bulk and in any order; returns how many are new.

        Those written before, by their `_id` or another unique index, are left as they are. Raises MongoUnavailable
        (write them all again) or FactsRefused (all but the named ones are written: do not offer these again).
        Datetimes keep milliseconds. Numbers must be finite and below 2^63.
        """
        if not documents:
            return 0
        if any("_id" not in document for document in documents):
            raise ValueError("a fact needs an _id of its own, or a repeat would be a second fact")
        try:
            with _failures():
                result = await self._of(collection).insert_many(documents, ordered=False)
            return len(result.inserted_ids)
        except BulkWriteError as error:
            return _settled(error.details)
        except (BSONError, OverflowError, UnicodeError) as error:
            # the driver encodes the whole batch before it sends any: one bad document holds up all others
            reasons = [_why_not_encodable(document) for document in documents]
            if not any(reasons):
                raise MongoRefused(_brief(error)) from error
        refused = [RefusedFact(d["_id"], why) for d, why in zip(documents, reasons, strict=True) if why]
        good = [document for document, why in zip(documents, reasons, strict=True) if not why]
        try:
            written = await self.insert_facts(collection, good)
        except FactsRefused as more:
            raise FactsRefused(more.written, [*refused, *more.refused]) from None
        raise FactsRefused(written, refused)

    async def find(
        self,
        collection: str,
        filter: Mapping[str, Any],
        *,
        limit: int,
        sort: Sort = (),
        projection: Sequence[str] | None = None,
    ) -> list[Document]:
        """Up to `limit` documents that match, sorted, with `projection` fields only (and `_id`).

        Raises MongoUnavailable. Filter by equality on indexed fields, and by ranges on strings and integers:
        the embedded server scans for ranges on `_id` or datetimes and for `$in` on anything but `_id`.
        """
        if limit < 1:
            raise ValueError("a limit is at least 1")  # 0 means "no limit" to the driver
        with _failures():
            cursor = self._of(collection).find(filter, None if projection is None else list(projection))
            if sort:
                cursor = cursor.sort(list(sort))
            found: list[Document] = await cursor.limit(limit).to_list(limit)
        return found

    async def find_one(
        self, collection: str, filter: Mapping[str, Any], *, sort: Sort = (), projection: Sequence[str] | None = None
    ) -> Document | None:
        """The first match or None; otherwise as `find`."""
        found = await self.find(collection, filter, limit=1, sort=sort, projection=projection)
        return found[0] if found else None

    async def delete_older_than(
        self,
        collection: str,
        field: str,
        before: int | str | datetime,
        *,
        filter: Mapping[str, Any] | None = None,
        batch: int = 1000,
    ) -> int:
        """Delete up to `batch` of the documents that match and whose `field` is below `before`, oldest first.

        Returns how many.

        Call it again while it returns `batch`, pausing between, since one long call stalls the embedded server's
        other clients. TTL indexes never delete there, so this is how things expire. Index `field`, and let it be an
        integer or a string: a datetime works but is found by scanning. Raises MongoUnavailable.
        """
        wanted = {**(filter or {}), field: {"$lt": before}}
        old = await self.find(collection, wanted, sort=[(field, 1)], limit=batch, projection=["_id"])
        if not old:
            return 0
        with _failures():
            result = await self._of(collection).delete_many({"_id": {"$in": [document["_id"] for document in old]}})
        return int(result.deleted_count)

    async def close(self) -> None:
        """Close all connections."""
        closing = self._client.close()
        if closing is not None:  # a coroutine in PyMongo, a plain call in Motor
            await closing

    def _of(self, collection: str) -> "_Collection":
        return cast("_Collection", self._database[collection])


class _Collection(Protocol):
    """The subset of both drivers' collections that is used here."""

    async def index_information(self) -> Mapping[str, Any]: ...
    async def create_indexes(self, indexes: Sequence[IndexModel]) -> Any: ...
    async def insert_many(self, documents: Sequence[Mapping[str, Any]], *, ordered: bool) -> Any: ...
    async def delete_many(self, filter: Mapping[str, Any]) -> Any: ...
    def find(self, filter: Mapping[str, Any], projection: list[str] | None) -> Any: ...


def _client_class(driver: Driver) -> Any:
    """Import one driver only: the other need not even be installed."""
    if driver == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient

        return AsyncIOMotorClient
    from pymongo import AsyncMongoClient

    return AsyncMongoClient


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Give the driver's errors our names, so that nobody else imports it."""
    try:
        yield
    except BulkWriteError:
        raise  # the outcome of a bulk write; `_settled` reads it
    except ConnectionFailure as error:  # includes refused, reset, timed out, no primary, pool exhausted
        raise MongoUnavailable(_brief(error)) from error
    except BSONError:
        raise
    except PyMongoError as error:
        if error.timeout or _SQLITE_TROUBLE.search(str(error)):
            raise MongoUnavailable(_brief(error)) from error
        raise MongoRefused(_brief(error)) from error


def _settled(details: Mapping[str, Any]) -> int:
    """The number of new facts of an unordered bulk write that reported errors, or the error it amounts to."""
    faults = [error for error in details["writeErrors"] if error.get("code") != _DUPLICATE_KEY]
    for fault in faults:
        if fault.get("code") in _SERVER_TROUBLE or _SQLITE_TROUBLE.search(str(fault.get("errmsg"))):
            raise MongoUnavailable(f"the server could not write: {fault.get('errmsg')}")
    if details.get("writeConcernErrors"):
        raise MongoUnavailable(f"the write was not confirmed: {details['writeConcernErrors'][0].get('errmsg')}")
    written = int(details["nInserted"])
    if faults:
        raise FactsRefused(written, [RefusedFact(f["op"]["_id"], str(f.get("errmsg"))) for f in faults])
    return written


def _why_not_encodable(document: Mapping[str, Any]) -> str | None:
    try:
        bson.encode(document)
    except (BSONError, OverflowError, UnicodeError) as error:
        return _brief(error)
    return None


def _brief(error: BaseException) -> str:
    """One line without the topology dump the driver appends, which would fill the log while a server is away."""
    return f"{type(error).__name__}: {str(error).partition(', Timeout:')[0]}"[:300]
