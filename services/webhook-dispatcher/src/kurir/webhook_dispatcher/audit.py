"""Events, attempts and configuration changes on their way from the streams to MongoDB, in bulk.

A fact is acknowledged after it was written, and writing it again changes nothing, so none is lost and none is doubled.
While MongoDB is away facts wait in their streams and everything else goes on. Facts that MongoDB will never take are
kept in DEAD.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from kurir.contracts import deliveries, events, subjects
from kurir.contracts.content import Address
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.runtime.broker import Bus, Incoming, Pull
from kurir.runtime.logs import get
from kurir.runtime.mongo import FactsRefused, Index, Mongo, MongoError
from kurir.runtime.settlement import GivenUp, Rejected, conclude
from kurir.webhook_dispatcher.measures import Measures

log = get("kurir.audit")

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
USUAL_WRITE_S: Final = 0.5  # for 500 facts: 0.2 s

INDEXES: Final[dict[str, tuple[Index, ...]]] = {
    "events": (
        Index([("message_id", 1)]),  # the story of a message
        Index([("tenant", 1), ("at_ms", 1), ("stream_seq", 1)]),  # exports
        Index([("tenant", 1), ("type", 1), ("at_ms", -1), ("stream_seq", -1)]),  # lists, newest first
        Index([("device", 1), ("type", 1), ("at_ms", -1), ("stream_seq", -1)]),
        Index([("chat", 1), ("type", 1), ("at_ms", -1), ("stream_seq", -1)]),
        Index([("at_ms", 1)]),  # what is too old to keep
    ),
    "attempts": (
        Index([("message_id", 1)]),
        Index([("event_id", 1)]),
        Index([("endpoint", 1), ("at_ms", -1)]),
        Index([("tenant", 1), ("at_ms", 1), ("key", 1)]),  # exports
        Index([("at_ms", 1)]),
    ),
    "changes": (
        Index([("tenant", 1), ("at_ms", -1)]),
        Index([("target", 1)]),
        Index([("at_ms", 1)]),
    ),
}


class Fact(NamedTuple):
    """A document and where it belongs; `document` has the fields of `records.EventFact` and its siblings."""

    collection: str
    document: dict[str, Any]


class _Upserted(events.EventHead, frozen=True, kw_only=True):
    chat: Address


class _Sent(events.EventHead, frozen=True, kw_only=True):
    to: str | None = None


_upserted_decoder = msgspec.json.Decoder(_Upserted)
_sent_decoder = msgspec.json.Decoder(_Sent)


def event_fact(message: Incoming) -> Fact | None:
    """The document of an event (`records.EventFact`), None of one that is not kept.

    Raises msgspec.DecodeError, or ValueError.
    """
    type_ = subjects.parse_event(message.subject).type
    if type_ in events.PERISHABLE_TYPES:
        return None
    chat = None
    head: events.EventHead
    if type_ == "messages.upsert":
        head = upserted = _upserted_decoder.decode(message.data)
        chat = upserted.chat.pn or upserted.chat.jid
    elif type_.startswith("send.message."):
        head = sent = _sent_decoder.decode(message.data)
        chat = sent.to
    else:
        head = events.decode_head(message.data)
    return Fact(
        "events",
        {
            "_id": head.id,
            "key": head.id,
            "tenant": head.tenant,
            "device": head.device,
            "type": head.type,
            "message_id": head.message_id,
            "chat": chat,
            "at": head.at,
            "at_ms": round(head.at.timestamp() * 1000),
            "seq": head.seq,
            "stream_seq": message.stream_seq,
            "body": message.data.decode(),
        },
    )


def audit_fact(message: Incoming) -> Fact:
    """The document of an attempt or a change (`records.AttemptFact`, `ChangeFact`). Raises msgspec.DecodeError."""
    fact = deliveries.decode_audit(message.data)
    common = {
        "_id": fact.id,
        "key": fact.id,
        "tenant": fact.tenant,
        "at": fact.at,
        "at_ms": round(fact.at.timestamp() * 1000),
        "body": message.data.decode(),
    }
    if isinstance(fact, ConfigurationChanged):
        return Fact("changes", {**common, "what": fact.what, "target": fact.target})
    own = {
        "device": fact.device,
        "endpoint": fact.endpoint,
        "delivery": fact.delivery,
        "generation": fact.generation,
        "attempt": fact.attempt,
        "event_id": fact.event_id,
        "message_id": fact.message_id,
        "outcome": fact.outcome,
    }
    return Fact("attempts", {**common, **own})


class FactWriter:
    """Writes what one consumer brings, up to `batch` facts at a time."""

    def __init__(
        self,
        bus: Bus,
        mongo: Mongo,
        measures: Measures,
        *,
        stream: str,
        consumer: str,
        fact_of: Callable[[Incoming], Fact | None],
        batch: int,
        wait_s: float,
    ) -> None:
        self._bus = bus
        self._mongo = mongo
        self._measures = measures
        self._stream, self._consumer = stream, consumer
        self._fact_of = fact_of
        self._batch = batch
        self._wait_s = wait_s
        self._indexed: set[str] = set()
        self._pull: Pull | None = None
        self._is_stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._is_writing = True
        measures.history(consumer, is_writing=True, backlog=0)

    async def start(self) -> None:
        """Ask for messages; `run` writes them. Needs no MongoDB."""
        self._pull = await self._bus.open_pull(self._stream, self._consumer, max_outstanding=2 * self._batch)

    async def run(self) -> None:
        """Work until `stop`."""
        assert self._pull is not None, "run comes after start"
        try:
            while not self._is_stopping.is_set():
                await self._write_through(await self._gather(self._pull))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Give back what waits, and let the write at hand finish if that takes no longer than usual.

        A longer one is cut off when `run` is cancelled, and its facts are given back too.
        """
        if self._pull is not None:
            self._is_stopping.set()
            await self._bus.close_pull(self._pull)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), USUAL_WRITE_S)

    async def _gather(self, pull: Pull) -> list[Incoming]:
        """What comes within `wait_s` of the first, until there is a batch of it."""
        messages = await pull.next_batch()
        full_at = time.monotonic() + self._wait_s
        while messages and len(messages) < self._batch and (left_s := full_at - time.monotonic()) > 0:
            messages += await pull.next_batch(left_s)
        return messages

    async def _write_through(self, messages: list[Incoming]) -> None:
        facts: dict[str, dict[str, tuple[Incoming, dict[str, Any]]]] = defaultdict(dict)
        repeats = []
        for message in messages:
            try:
                fact = self._fact_of(message)
            except (msgspec.DecodeError, ValueError) as error:
                await self._give_up(message, str(error))
                continue
            if fact is None:
                message.ack()
                continue
            of_collection = facts[fact.collection]
            if (identifier := fact.document["_id"]) in of_collection:
                repeats.append(message)
            else:
                of_collection[identifier] = (message, fact.document)
        for collection, of_collection in facts.items():
            await self._write(collection, of_collection)
        for message in repeats:
            message.ack()
        if messages:
            self._measures.history(self._consumer, is_writing=True, backlog=messages[-1].pending)

    async def _write(self, collection: str, facts: dict[str, tuple[Incoming, dict[str, Any]]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                refused = await self._insert(collection, [document for _, document in facts.values()])
            except MongoError as error:
                await self._note_waiting(collection, str(error))
                for message, _ in facts.values():
                    message.in_progress()
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                if self._is_stopping.is_set():
                    _give_back(facts)
                    return
                continue
            except asyncio.CancelledError:
                _give_back(facts)
                raise
            self._note_writing(collection)
            for identifier, (message, _) in facts.items():
                if identifier in refused:
                    await self._give_up(message, refused[identifier])
                else:
                    message.ack()
            self._measures.wrote(collection, len(facts) - len(refused))
            return

    async def _insert(self, collection: str, documents: list[dict[str, Any]]) -> dict[str, str]:
        """Write documents; the ids that MongoDB will never take, each with its reason. Raises MongoError otherwise."""
        if collection not in self._indexed:
            await self._mongo.ensure_indexes(collection, INDEXES[collection])
            self._indexed.add(collection)
        try:
            await self._mongo.insert_facts(collection, documents)
        except FactsRefused as error:
            return {fact.id: fact.reason for fact in error.refused}
        return {}

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._is_stopping.wait()
        except TimeoutError:
            return

    def _note_writing(self, collection: str) -> None:
        if not self._is_writing:
            self._is_writing = True
            log.info("history.goes_on", collection=collection, consumer=self._consumer)

    async def _note_waiting(self, collection: str, reason: str) -> None:
        if self._is_writing:
            self._is_writing = False
            log.warning("history.waits", collection=collection, consumer=self._consumer, reason=reason)
        with contextlib.suppress(Exception):  # only a figure is lost while the broker is away too
            pending = (await self._bus.js.consumer_info(self._stream, self._consumer)).num_pending
            self._measures.history(self._consumer, is_writing=False, backlog=pending or 0)

    async def _give_up(self, message: Incoming, reason: str) -> None:
        await conclude(self._bus, message, GivenUp(Rejected("VALIDATION_ERROR", reason)))
        self._measures.gave_up(self._stream.lower())


def _give_back(facts: dict[str, tuple[Incoming, dict[str, Any]]]) -> None:
    for message, _ in facts.values():
        message.nak()
