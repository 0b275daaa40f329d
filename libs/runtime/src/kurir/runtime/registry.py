"""A KV bucket as a typed map in memory: reads cost nothing, writes are confirmed and seen at once.

Guarantees: after `start` the map holds the whole bucket; a write of ours is visible when it returns and is never undone
by an older update; after an outage the bucket is read again and the difference applied, deletions included. While NATS
is away reads go on from what was last known (`is_current` says so) and writes raise PublishError.
Others' writes come a moment after they were confirmed; who must not miss any waits for `catch_up`.
It does not keep history, and it does not order changes of different writers before NATS has.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec
import structlog

from kurir.runtime import keyvalue
from kurir.runtime.broker import BrokerUnavailable, Bus
from kurir.runtime.bucket_watch import BucketWatch, Update, WatchBroken
from kurir.runtime.keyvalue import KeyExists, RevisionConflict, key_of

__all__ = ["Entry", "KeyExists", "KeyMissing", "Registry", "RevisionConflict", "key_of"]

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=msgspec.Struct)

AGAIN_AFTER_S = 0.5  # between the end of one watch and the next
SWEEP_S = 0.5
EXPIRY_GRACE_S = 1.0  # the server removes an expired entry up to this much late, and never early
CATCH_UP_S = 10.0  # a watch that lost its connection begins anew after AGAIN_AFTER_S, one that fell silent after 9 s
CHANGE_ATTEMPTS = 8  # writers of one key are few; more conflicts than this are a fault, not a race


class KeyMissing(Exception):
    """There is no entry under this key."""


class Entry(NamedTuple, Generic[T]):
    value: T
    revision: int


class Registry(Generic[T]):
    """`Registry(bus, "devices", Device)`: values are JSON of `type_`, keys are tokens joined by `key_of`.

    An entry written with a TTL leaves the map after it, at most one TTL late when it was read at start.
    """

    def __init__(self, bus: Bus, bucket: str, type_: type[T]) -> None:
        self.bucket = bucket
        self.ready = asyncio.Event()
        """Set once the whole bucket has been read, and never cleared."""
        self._bus = bus
        self._decoder = msgspec.json.Decoder(type_)
        self._encoder = msgspec.json.Encoder()
        self._entries: dict[str, Entry[T]] = {}
        self._groups: dict[str, set[str]] = {}  # first token -> keys of several tokens
        self._deleted: dict[str, int] = {}  # deleted by us at this revision, until the watch confirms it
        self._expires_at: dict[str, float] = {}  # loop time
        self._undecodable: set[str] = set()
        self._callbacks: list[Callable[[str, T | None, T | None], None]] = []
        self._watch: BucketWatch | None = None
        self._before: dict[str, int] | None = None  # while reading: the revisions known when it began
        self._seen: set[str] = set()
        self._read_up_to = 0  # by this watch: the revision up to which memory holds everything
        self._catching_up: list[tuple[int, asyncio.Future[None]]] = []
        self._problem = "not started"
        self._tasks: list[asyncio.Task[None]] = []
        self._forget_reconnects: Callable[[], None] | None = None

    # Life

    async def start(self, timeout_s: float = 30.0) -> None:
        """Read everything, then follow. Raises TimeoutError, with the last problem, when it takes too long."""
        self._forget_reconnects = self._bus.on_reconnect(self._reconnected)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._sweep())]
        try:
            async with asyncio.timeout(timeout_s):
                await self.ready.wait()
        except TimeoutError:
            await self.stop()
            raise TimeoutError(f"bucket {self.bucket} was not read within {timeout_s} s: {self._problem}") from None
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop following; reads keep answering from what was last known. Harmless when repeated."""
        if self._forget_reconnects is not None:
            self._forget_reconnects()
            self._forget_reconnects = None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def catch_up(self, timeout_s: float = CATCH_UP_S) -> None:
        """Return when memory holds all that was confirmed to any writer before this call; costs one small request.

        Raises BrokerUnavailable when that takes longer; the bucket is then read again.
        """
        wanted = await keyvalue.last_revision(self._bus, self.bucket, timeout_s)
        if wanted <= self._read_up_to:
            return
        caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._catching_up.append((wanted, caught_up))
        try:
            async with asyncio.timeout(timeout_s):
                await caught_up
        except TimeoutError:
            if self._watch is not None:
                self._watch.break_off(f"revision {wanted} did not come")
            reason = f"bucket {self.bucket}: revision {wanted} did not come within {timeout_s} s"
            raise BrokerUnavailable(reason, outcome_unknown=False) from None
        finally:
            self._catching_up.remove((wanted, caught_up))

    @property
    def is_current(self) -> bool:
        """True while changes of others arrive; False during an outage and until the re-read after it."""
        return self.ready.is_set() and self._watch is not None and self._before is None and self._bus.connected

    # Reading: memory only

    def get(self, key: str) -> T | None:
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def entry(self, key: str) -> Entry[T] | None:
        """Value and revision, for `update` and `delete`."""
        return self._entries.get(key)

    def items(self, prefix: str | None = None) -> list[tuple[str, T]]:
        """All entries, or those below `prefix`, counted in whole tokens: `"t1"` finds `t1.d1`, not `t10.d1`."""
        if prefix is None:
            return [(key, entry.value) for key, entry in self._entries.items()]
        group = self._groups.get(prefix.split(".", 1)[0], ())
        return [(key, self._entries[key].value) for key in group if key.startswith(prefix + ".")]

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def on_change(self, callback: Callable[[str, T | None, T | None], None]) -> Callable[[], None]:
        """Call back with key, old and new value (None: absent) after each change, in order, ours included.

        Registered before `start`, it also gets what is there. It must not block; what it raises is logged, no more.
        The answer of this call ends the calls.
        """
        self._callbacks.append(callback)

        def forget() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return forget

    # Writing: confirmed by the server. After BrokerUnavailable the outcome is unknown; the watch brings the truth.

    async def put(self, key: str, value: T, *, ttl_s: int | None = None) -> int:
        """Write whatever was there; returns the revision. Without `ttl_s` the entry stays for ever."""
        revision = await keyvalue.put(self._bus, self.bucket, key, self._encoder.encode(value), ttl_s=ttl_s)
        self._written(key, revision, value, ttl_s)
        return revision

    async def create(self, key: str, value: T, *, ttl_s: int | None = None) -> int:
        """Write what is not there yet; returns the revision. Raises KeyExists."""
        revision = await keyvalue.create(self._bus, self.bucket, key, self._encoder.encode(value), ttl_s=ttl_s)
        self._written(key, revision, value, ttl_s)
        return revision

    async def update(self, key: str, value: T, revision: int, *, ttl_s: int | None = None) -> int:
        """Write over exactly this revision; returns the new one. Raises RevisionConflict."""
        written = await keyvalue.put(
            self._bus, self.bucket, key, self._encoder.encode(value), revision=revision, ttl_s=ttl_s
        )
        self._written(key, written, value, ttl_s)
        return written

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete a key, whether it is there or not; with `revision`, only that one (else RevisionConflict)."""
        marker = await keyvalue.delete(self._bus, self.bucket, key, revision=revision)
        if marker > self._revision_of(key):
            self._deleted[key] = marker
            self._set(key, None)

    async def change(self, key: str, change: Callable[[T], T]) -> T:
        """Read, change and write as one step, repeated when others write meanwhile; returns what was written.

        `change` must be pure. An entry that it returns unchanged is not written. Raises KeyMissing, or
        RevisionConflict after CHANGE_ATTEMPTS. A TTL is not kept.
        """
        found = self.entry(key) or await self.fetch(key)
        for _ in range(CHANGE_ATTEMPTS):
            if found is None:
                raise KeyMissing(key)
            value = change(found.value)
            if value == found.value:
                return value
            try:
                await self.update(key, value, found.revision)
            except RevisionConflict:
                found = await self.fetch(key)
            else:
                return value
        raise RevisionConflict(key)

    async def fetch(self, key: str) -> Entry[T] | None:
        """What the server holds now, for the rare reader that may not be a moment late; memory learns it too.

        Raises msgspec.DecodeError for a value that is not of our type.
        """
        known = self._revision_of(key)
        stored = await keyvalue.read(self._bus, self.bucket, key)
        if stored is None or keyvalue.is_marker(stored.headers):
            if self._revision_of(key) == known:  # else it was written meanwhile
                self._set(key, None)
            return None
        entry = Entry(self._decoder.decode(stored.data), stored.seq)
        if entry.revision > self._revision_of(key):
            self._set(key, entry, keyvalue.ttl_of(stored.headers))
        return entry

    # Following

    async def _follow(self) -> None:
        while True:
            self._before = {key: entry.revision for key, entry in self._entries.items()} | self._deleted
            self._seen.clear()
            self._read_up_to = 0  # a server that lost data counts from a lower revision
            self._watch = BucketWatch(self._bus, self.bucket, self._received, self._completed)
            try:
                await self._watch.run()
            except WatchBroken as broken:
                self._problem = str(broken)
                log.warning("registry.watch_ended", bucket=self.bucket, reason=str(broken))
            except Exception as error:
                self._problem = repr(error)
                log.exception("registry.watch_failed", bucket=self.bucket)
            self._watch = None
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _reconnected(self) -> None:
        # The server may have restarted without our consumer, and what was sent meanwhile is lost.
        if self._watch is not None:
            self._watch.break_off("the connection was lost")

    def _received(self, update: Update) -> None:
        self._take(update)
        self._has_read(update.revision)

    def _take(self, update: Update) -> None:
        if self._before is not None:
            self._seen.add(update.key)
        if self._deleted.get(update.key) == update.revision:
            del self._deleted[update.key]  # our own deletion; nothing older can follow it
            return
        known = self._revision_of(update.key)
        if self._before is not None:
            is_old = update.revision <= known and known != self._before.get(update.key)
            if is_old or update.revision == known:
                return
            # A revision lower than one that we knew before this reading: the server lost data, and its word counts.
        elif update.revision <= known:
            return
        if update.value is None:
            self._deleted.pop(update.key, None)
            self._set(update.key, None)
            return
        try:
            value = self._decoder.decode(update.value)
        except msgspec.DecodeError as error:
            # Written by an older or newer service. What was known stays; a write of ours meets a RevisionConflict.
            if update.key not in self._undecodable:
                self._undecodable.add(update.key)
                log.warning("registry.undecodable", bucket=self.bucket, entry=update.key, error=str(error))
            return
        self._deleted.pop(update.key, None)
        self._set(update.key, Entry(value, update.revision), update.ttl_s)

    def _completed(self, revision: int) -> None:
        before, self._before = self._before or {}, None
        for key, revision in before.items():
            if key in self._seen:
                continue
            if self._deleted.get(key) == revision:
                del self._deleted[key]
            elif key in self._entries and self._entries[key].revision == revision:
                self._set(key, None)
        self._seen.clear()
        self._has_read(revision)
        self.ready.set()
        log.debug("registry.read", bucket=self.bucket, entries=len(self._entries))

    def _has_read(self, revision: int) -> None:
        self._read_up_to = max(self._read_up_to, revision)
        for wanted, caught_up in self._catching_up:
            if wanted <= self._read_up_to and not caught_up.done():
                caught_up.set_result(None)

    def _written(self, key: str, revision: int, value: T, ttl_s: int | None) -> None:
        if revision > self._revision_of(key):
            self._deleted.pop(key, None)
            self._set(key, Entry(value, revision), ttl_s)

    def _revision_of(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.revision if entry is not None else self._deleted.get(key, 0)

    def _set(self, key: str, entry: Entry[T] | None, ttl_s: int | None = None) -> None:
        old = self._entries.get(key)
        first, dot, _ = key.partition(".")
        if entry is not None:
            self._entries[key] = entry
            self._undecodable.discard(key)
            if dot:
                self._groups.setdefault(first, set()).add(key)
        elif old is not None:
            del self._entries[key]
            if dot:
                self._groups[first].discard(key)
                if not self._groups[first]:
                    del self._groups[first]
        if entry is not None and ttl_s is not None:
            self._expires_at[key] = asyncio.get_running_loop().time() + ttl_s + EXPIRY_GRACE_S
        else:
            self._expires_at.pop(key, None)
        if old is not None or entry is not None:
            self._tell(key, old.value if old is not None else None, entry.value if entry is not None else None)

    def _tell(self, key: str, old: T | None, new: T | None) -> None:
        for callback in list(self._callbacks):
            try:
                callback(key, old, new)
            except Exception:
                log.exception("registry.callback_failed", bucket=self.bucket, entry=key)

    async def _sweep(self) -> None:
        """Expiry by itself tells no watcher. Without connection nothing is swept: renewals could not reach us."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            if self.is_current:
                now = loop.time()
                for key in [key for key, at in self._expires_at.items() if at <= now]:
                    self._set(key, None)
