"""What `kurir doctor` and the checks of services share: what is looked at, and what is found there.

A check is an async function from a Scene to findings. Services bring theirs by the entry points `kurir.checks`.
Checks only read; each ends by itself or is cut off, and those that need what does not answer are not run to the end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock
from kurir.runtime.mongo import Mongo
from kurir.runtime.settings import RuntimeSettings

Verdict = Literal["ok", "warn", "fail"]

T = TypeVar("T", bound=Struct)


class Finding(Struct, frozen=True):
    """What a check found, and in one sentence what to do about it; nothing to do when all is well."""

    check: str
    verdict: Verdict
    text: str
    cure: str = ""


class NotAnswering(Exception):
    """A check needs what does not answer; the text names it. Another check tells of it."""


class Kept(NamedTuple, Generic[T]):
    """An entry of a bucket. `stored_at` is in epoch seconds; without `ttl_s` the entry stays for ever."""

    key: str
    value: T
    stored_at: float
    ttl_s: int | None


class Scene:
    """What checks may ask. `bus` is None when NATS does not answer; `backlog_age_s` is how long work may wait."""

    def __init__(
        self, settings: RuntimeSettings, bus: Bus | None, mongo: Mongo, clock: Clock, *, backlog_age_s: float
    ) -> None:
        self.settings = settings
        self.mongo = mongo
        self.clock = clock
        self.backlog_age_s = backlog_age_s
        self.unreadable: dict[str, list[str]] = {}
        """Keys of entries that are not of our types, by bucket; complete for the buckets that were read."""
        self._bus = bus
        self._records: dict[str, list[Any]] = {}
        self._reading = asyncio.Lock()

    @property
    def bus(self) -> Bus:
        """Raises NotAnswering."""
        if self._bus is None:
            raise NotAnswering("NATS does not answer")
        return self._bus

    async def records(self, bucket: str, type_: type[T]) -> list[Kept[T]]:
        """All entries of a bucket, read once for all checks. Raises NotAnswering or PublishError."""
        async with self._reading:
            if bucket not in self._records:
                self._records[bucket] = await self.read(bucket, type_)
        found: list[Kept[T]] = self._records[bucket]
        return found

    async def read(self, bucket: str, type_: type[T]) -> list[Kept[T]]:
        """All entries of a bucket as they are now."""
        stored = await self.bus.last_by_subjects(keyvalue.stream_of(bucket), f"$KV.{bucket}.>")
        found: list[Kept[T]] = []
        unreadable = []
        for entry in stored:
            if keyvalue.is_marker(entry.headers):
                continue
            key = keyvalue.key_in(bucket, entry.subject)
            try:
                value = msgspec.json.decode(entry.data, type=type_)
            except msgspec.DecodeError:
                unreadable.append(key)
                continue
            found.append(Kept(key, value, entry.published_at, keyvalue.ttl_of(entry.headers)))
        self.unreadable[bucket] = unreadable
        return found


Check = Callable[[Scene], Awaitable[list[Finding]]]
