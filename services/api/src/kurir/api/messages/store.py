"""Messages as the history database knows them. Reads alone: the webhook-dispatcher writes it from the streams."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kurir.api.problems import Problem
from kurir.contracts import deliveries, events
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.events import AnyEvent
from kurir.runtime import logs
from kurir.runtime.mongo import Document, Mongo

MAX_FACTS = 500  # of one message: receipts of a large group are the most there can be of interest
MAX_ATTEMPTS = 1000
CONCURRENT_READS = 8
LIST_TYPES = {"outbound": "send.message.queued", "inbound": "messages.upsert"}
"""The event that stands for a message in lists, by direction."""

log = logs.get("kurir.api.history")


class Position(NamedTuple):
    """Where a page ends. The sequence tells apart what happened in the same millisecond."""

    at_ms: int
    stream_seq: int


class MessageHistory:
    """Everything here raises MongoError while the database is away."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def facts(self, tenant: str, message_id: str) -> list[AnyEvent]:
        """The events about a message, in the order of the stream; [] when none is written."""
        found = await self._mongo.find("events", {"message_id": message_id}, limit=MAX_FACTS)
        return _decoded(sorted((d for d in found if d["tenant"] == tenant), key=lambda d: d["stream_seq"]))

    async def received(self, tenant: str, beginning: str) -> list[AnyEvent]:
        """The events about received messages whose ids begin so."""
        ids_ = {"$gte": beginning, "$lt": beginning + "g"}  # what follows are hexadecimal digits
        found = await self._mongo.find("events", {"message_id": ids_}, limit=MAX_FACTS)
        return _decoded([document for document in found if document["tenant"] == tenant])

    async def attempts(self, tenant: str, message_id: str) -> list[DeliveryAttempt]:
        """Every request by which webhooks were told of a message."""
        found = await self._mongo.find("attempts", {"message_id": message_id}, limit=MAX_ATTEMPTS)
        facts = [deliveries.decode_audit(d["body"].encode()) for d in found if d["tenant"] == tenant]
        return [fact for fact in facts if isinstance(fact, DeliveryAttempt)]

    async def page(
        self, tenant: str, *, limit: int, before: Position | None, directions: Sequence[str], **equal: str | None
    ) -> tuple[list[list[AnyEvent]], Position | None]:
        """The facts of up to `limit` messages, newest first, and the position before which the next page begins.

        A page may hold fewer and still not be the last one.

        `before` is a position of an earlier page; `equal` narrows by field, None meaning any.
        """
        wanted: dict[str, Any] = {"tenant": tenant} | {name: value for name, value in equal.items() if value}
        heads: list[Document] = []
        for direction in directions:  # one by one: the embedded server scans for "one of these"
            heads += await self._heads({**wanted, "type": LIST_TYPES[direction]}, before, limit + 1)
        heads.sort(key=_position, reverse=True)
        shown = heads[:limit]
        gate = asyncio.Semaphore(CONCURRENT_READS)

        async def facts_of(head: Mapping[str, Any]) -> list[AnyEvent]:
            async with gate:
                return await self.facts(tenant, head["message_id"])

        found = await asyncio.gather(*(facts_of(head) for head in shown))
        facts = [each for head, each in zip(shown, found, strict=True) if _is_first(head, each)]
        return facts, _position(shown[-1]) if len(heads) > limit else None

    async def _heads(self, wanted: Mapping[str, Any], before: Position | None, limit: int) -> list[Document]:
        """The first events of messages, newest first: those of the same millisecond as `before`, then older ones."""
        found: list[Document] = []
        ranges: list[dict[str, Any]] = [{}]
        if before is not None:
            same = {"at_ms": before.at_ms, "stream_seq": {"$lt": before.stream_seq}}
            ranges = [same, {"at_ms": {"$lt": before.at_ms}}]
        for one in ranges:
            if len(found) < limit:
                found += await self._mongo.find(
                    "events",
                    {**wanted, **one},
                    sort=[("at_ms", -1), ("stream_seq", -1)],
                    limit=limit - len(found),
                    projection=["message_id", "at_ms", "stream_seq"],
                )
        return found


def cursor_of(position: Position) -> str:
    return base64.urlsafe_b64encode(f"{position.at_ms}.{position.stream_seq}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> Position:
    """Raises Problem for what is no cursor of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        at_ms, stream_seq = map(int, text.split("."))
        return Position(at_ms, stream_seq)
    except (ValueError, binascii.Error):
        raise Problem("VALIDATION_ERROR", "This is no cursor of a page before.", field="cursor") from None


def _position(head: Mapping[str, Any]) -> Position:
    return Position(int(head["at_ms"]), int(head["stream_seq"]))


def _is_first(head: Mapping[str, Any], facts: Sequence[AnyEvent]) -> bool:
    """Whether a message stands in a list for this event: one for later is queued again when its time has come."""
    standing = next((fact for fact in facts if events.type_of(fact) in LIST_TYPES.values()), None)
    return standing is not None and standing.id == head["_id"]


def _decoded(documents: Sequence[Mapping[str, Any]]) -> list[AnyEvent]:
    decoded = []
    for document in documents:
        try:
            event = events.decode(document["type"], document["body"].encode())
        except msgspec.DecodeError as error:
            log.error("history.unreadable", event_id=document["_id"], error=str(error))
            continue
        if event is not None:
            decoded.append(event)
    return decoded
