"""A tenant's events, or the attempts to deliver them, of a span of time: one JSON text a line, oldest first.

Guarantees: memory for one batch, however long the span; a last line that says whether the export is complete, and
where to go on if it is not. Not complete is one that the database broke off, and one whose span reaches into what
the history's writer has not written yet.
"""

import base64
import binascii
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kurir.api.problems import Problem
from kurir.contracts import streams
from kurir.dialects.event_patterns import wants_type
from kurir.runtime import logs
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock
from kurir.runtime.mongo import Document, Mongo, MongoError
from kurir.runtime.progress import settled_until

BATCH = 200  # documents read at once; an event's is 100 kB at most
MAX_EXPORTS = 2  # of one tenant at one replica: each keeps the database reading

Collection = Literal["events", "attempts"]
_WRITERS = {
    "events": (streams.EVENTS.name, streams.HISTORY_CONSUMER, "kurir.evt.>"),
    "attempts": (streams.AUDIT.name, streams.AUDIT_CONSUMER, "kurir.aud.>"),
}
_TIE = {"events": "stream_seq", "attempts": "key"}  # parts what happened in the same millisecond

log = logs.get("kurir.api.export")


class Position(NamedTuple):
    """The last line that was given."""

    at_ms: int
    tie: int | str


class Span(Struct, frozen=True):
    """What is asked for: `equal` narrows by field, `patterns` by event type; `after` is where to go on."""

    tenant: str
    collection: Collection
    since: datetime
    until: datetime
    equal: dict[str, str]
    patterns: tuple[str, ...] = ("*", "send.message.*")
    after: Position | None = None


class Ending(Struct, frozen=True, kw_only=True, rename="camel"):
    """The last line of an export. `cursor` goes on behind the line before; `writtenUntil` is when to ask again for."""

    complete: bool
    lines: int
    written_until: datetime
    reason: Literal["history_behind", "history_unavailable"] | UnsetType = UNSET
    cursor: str | None = None


class _LastLine(Struct, frozen=True):
    export: Ending


class Exports:
    def __init__(self, bus: Bus, mongo: Mongo, clock: Clock) -> None:
        self._bus = bus
        self._mongo = mongo
        self._clock = clock
        self._running: Counter[str] = Counter()

    def now(self) -> datetime:
        return self._clock.now()

    async def written_until(self, collection: Collection) -> datetime:
        """Until when the history is whole. Raises BrokerUnavailable."""
        return datetime.fromtimestamp(await settled_until(self._bus, *_WRITERS[collection]), UTC)

    async def probe(self, span: Span) -> None:
        """Raise Problem LIMIT_REACHED, or MongoError while there is no database. Ask before the answer has begun."""
        if self._running[span.tenant] >= MAX_EXPORTS:
            raise Problem("LIMIT_REACHED", "Too many exports of this account run at once.")
        await self._batch(span, span.after, limit=1)

    async def lines(self, span: Span, written_until: datetime) -> AsyncGenerator[bytes]:
        """The lines of a span, a batch of them at a time, and the last line."""
        count = 0
        position = span.after
        reason: Literal["history_behind", "history_unavailable"] | UnsetType = UNSET
        self._running[span.tenant] += 1
        try:
            while found := await self._batch(span, position, limit=BATCH):
                last = found[-1]
                position = Position(int(last["at_ms"]), last[_TIE[span.collection]])
                wanted = [one["body"] for one in found if "type" not in one or wants_type(span.patterns, one["type"])]
                count += len(wanted)
                if wanted:
                    yield ("\n".join(wanted) + "\n").encode()
            if span.until > written_until:
                reason = "history_behind"
        except MongoError as error:
            log.warning("export.broken_off", tenant=span.tenant, error=str(error))
            reason = "history_unavailable"
        finally:
            self._running[span.tenant] -= 1
            self._running += Counter()  # forget those that are at zero
        ending = Ending(
            complete=reason is UNSET,
            lines=count,
            written_until=written_until,
            reason=reason,
            cursor=cursor_of(position) if position is not None else None,
        )
        yield msgspec.json.encode(_LastLine(ending)) + b"\n"

    async def _batch(self, span: Span, after: Position | None, *, limit: int) -> list[Document]:
        """The next documents: those of the same millisecond as `after`, then later ones. Raises MongoError."""
        tie = _TIE[span.collection]
        until_ms = _ms(span.until)
        ranges: list[dict[str, Any]] = [{"at_ms": {"$gte": _ms(span.since), "$lt": until_ms}}]
        if after is not None:
            same = {"at_ms": after.at_ms, tie: {"$gt": after.tie}}
            ranges = [same, {"at_ms": {"$gt": after.at_ms, "$lt": until_ms}}]
        found: list[Document] = []
        fields = ["at_ms", tie, "body", *(["type"] if span.collection == "events" else [])]
        for one in ranges:
            if len(found) < limit:
                found += await self._mongo.find(
                    span.collection,
                    {"tenant": span.tenant, **span.equal, **one},
                    sort=[("at_ms", 1), (tie, 1)],
                    limit=limit - len(found),
                    projection=fields,
                )
        return found


def cursor_of(position: Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_of(cursor: str, collection: Collection) -> Position:
    """Raises Problem for what is no cursor of an export of this kind."""
    try:
        position = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Position)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        position = None
    if position is None or not isinstance(position.tie, int if collection == "events" else str):
        raise Problem("VALIDATION_ERROR", "This is no cursor of an export before.", field="cursor")
    return position


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
