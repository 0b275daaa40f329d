"""The registry against a real server: what is read, what is written, who wins."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest
from nats.aio.msg import Msg

from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.bucket_watch import BucketWatch
from kurir.runtime.registry import KeyExists, KeyMissing, Registry, RevisionConflict
from tests.support.conditions import until

BUCKET = "things"


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int = 0


@pytest.fixture
async def bucket(bus: Bus) -> str:
    await bus.js.create_key_value(bucket=BUCKET, direct=True)
    return BUCKET


@pytest.fixture
async def registry(bus: Bus, bucket: str) -> AsyncIterator[Registry[Thing]]:
    started = Registry(bus, bucket, Thing)
    await started.start(5)
    yield started
    await started.stop()


@pytest.fixture
async def other(bus: Bus, bucket: str) -> AsyncIterator[Registry[Thing]]:
    """The same bucket as another process sees it."""
    started = Registry(bus, bucket, Thing)
    await started.start(5)
    yield started
    await started.stop()


async def test_start_reads_everything_that_is_there(bus: Bus, bucket: str) -> None:
    for number in range(500):
        await keyvalue.put(bus, bucket, f"t.{number}", b'{"name":"x"}')
    await keyvalue.delete(bus, bucket, "t.7")
    registry = Registry(bus, bucket, Thing)
    await registry.start(5)
    assert len(registry) == 499
    assert registry.get("t.0") == Thing(name="x")
    assert registry.get("t.7") is None
    await registry.stop()


async def test_starting_and_stopping_at_once_never_hangs(bus: Bus, bucket: str) -> None:
    for number in range(20):
        await keyvalue.put(bus, bucket, f"t.{number}", b'{"name":"x"}')
    for _ in range(200):
        registry = Registry(bus, bucket, Thing)
        await registry.start(5)
        await registry.stop()


async def test_start_of_an_empty_bucket_is_immediate(registry: Registry[Thing]) -> None:
    assert registry.ready.is_set()
    assert registry.is_current
    assert len(registry) == 0


async def test_start_without_the_bucket_names_it(bus: Bus) -> None:
    with pytest.raises(TimeoutError, match=r"bucket nowhere was not read.*stream not found"):
        await Registry(bus, "nowhere", Thing).start(2)


async def test_own_writes_are_seen_at_once_and_those_of_others_soon(
    registry: Registry[Thing], other: Registry[Thing]
) -> None:
    revision = await registry.create("a.b", Thing(name="one"))
    assert registry.entry("a.b") == (Thing(name="one"), revision)
    revision = await registry.update("a.b", Thing(name="two"), revision)
    assert registry.entry("a.b") == (Thing(name="two"), revision)
    await until("the other sees the update", lambda: other.entry("a.b") == (Thing(name="two"), revision))
    await registry.delete("a.b", revision)
    assert registry.get("a.b") is None
    await until("the other sees the deletion", lambda: other.get("a.b") is None)


async def test_who_catches_up_sees_what_others_had_written_before(
    registry: Registry[Thing], other: Registry[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = BucketWatch._receive

    async def receive_late(watch: BucketWatch, message: Msg) -> None:
        await asyncio.sleep(0.01)
        await receive(watch, message)

    monkeypatch.setattr(BucketWatch, "_receive", receive_late)
    for number in range(20):
        await other.put("t.k", Thing(name=str(number)))
        await registry.catch_up()
        assert registry.get("t.k") == Thing(name=str(number))
    await other.delete("t.k")
    await registry.catch_up()
    assert registry.get("t.k") is None


async def test_nothing_is_waited_for_in_a_bucket_whose_newest_entry_is_gone(bus: Bus, bucket: str) -> None:
    await keyvalue.put(bus, bucket, "t.k", b'{"name":"x"}')
    await bus.js.purge_stream(f"KV_{bucket}")
    registry = Registry(bus, bucket, Thing)
    await registry.start(5)
    await registry.catch_up(5.0)
    await registry.stop()


async def test_conflicts_are_errors_and_change_nothing(registry: Registry[Thing], other: Registry[Thing]) -> None:
    revision = await registry.create("k", Thing(name="first"))
    with pytest.raises(KeyExists):
        await other.create("k", Thing(name="second"))
    with pytest.raises(RevisionConflict):
        await other.update("k", Thing(name="second"), revision + 1)
    with pytest.raises(RevisionConflict):
        await other.delete("k", revision + 1)
    await until("both agree", lambda: other.get("k") == registry.get("k") == Thing(name="first"))


async def test_a_deleted_key_can_be_created_again(registry: Registry[Thing], other: Registry[Thing]) -> None:
    await registry.create("k", Thing(name="first"))
    await registry.delete("k")
    await other.create("k", Thing(name="second"))
    await until("the second is seen", lambda: registry.get("k") == Thing(name="second"))


async def test_of_twenty_creators_one_wins(bus: Bus, registry: Registry[Thing]) -> None:
    tried = await asyncio.gather(*(registry.create("k", Thing(name=str(n))) for n in range(20)), return_exceptions=True)
    assert [type(one) for one in tried if isinstance(one, BaseException)] == [KeyExists] * 19


async def test_change_is_atomic_among_writers(registry: Registry[Thing], other: Registry[Thing]) -> None:
    await registry.create("k", Thing(name="n"))

    def grow(thing: Thing) -> Thing:
        return msgspec.structs.replace(thing, size=thing.size + 1)

    for _ in range(20):
        await asyncio.gather(registry.change("k", grow), other.change("k", grow))
    assert (await registry.fetch("k") or (None,))[0] == Thing(name="n", size=40)
    with pytest.raises(KeyMissing):
        await registry.change("nobody", grow)


async def test_items_are_found_by_whole_tokens(registry: Registry[Thing]) -> None:
    for key in ("t1.a", "t1.b", "t10.a", "t1", "t1.b.c"):
        await registry.put(key, Thing(name=key))
    await registry.delete("t1.a")
    assert {key for key, _ in registry.items("t1")} == {"t1.b", "t1.b.c"}
    assert {key for key, _ in registry.items("t1.b")} == {"t1.b.c"}
    assert {key for key, _ in registry.items()} == {"t1.b", "t10.a", "t1", "t1.b.c"}
    assert registry.items("nobody") == []


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "ä", "a\r\nb"])
async def test_a_key_that_is_no_key_is_refused(registry: Registry[Thing], key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await registry.put(key, Thing(name="x"))


def test_a_token_cannot_smuggle_in_another() -> None:
    assert keyvalue.key_of("tenant", "device") == "tenant.device"
    with pytest.raises(ValueError, match="not a key"):
        keyvalue.key_of("tenant", "device.other")


async def test_changes_are_told_in_order_and_a_raising_listener_disturbs_nobody(
    bus: Bus, bucket: str, other: Registry[Thing]
) -> None:
    await other.put("k", Thing(name="0"))
    registry = Registry(bus, bucket, Thing)
    told: list[tuple[str, str | None, str | None]] = []

    def raising(key: str, old: Thing | None, new: Thing | None) -> None:
        if old is None:
            raise RuntimeError("a listener that raises")

    def listen(key: str, old: Thing | None, new: Thing | None) -> None:
        told.append((key, old.name if old else None, new.name if new else None))

    registry.on_change(raising)
    forget = registry.on_change(listen)
    await registry.start(5)
    for number in range(1, 50):
        await (other if number % 2 else registry).put("k", Thing(name=str(number)))
    await until("the last is known", lambda: registry.get("k") == Thing(name="49"))
    assert told[0] == ("k", None, "0")
    assert all(before[2] == after[1] for before, after in itertools.pairwise(told))
    names = [int(new) for _, _, new in told if new is not None]
    assert names == sorted(set(names))
    forget()
    await registry.delete("k")
    assert told[-1][2] == "49"
    await registry.stop()


async def test_an_older_update_never_undoes_a_write_of_ours(registry: Registry[Thing]) -> None:
    seen: list[int] = []
    registry.on_change(lambda _key, _old, new: seen.append(new.size if new else -1))
    for number in range(300):
        await registry.put("k", Thing(name="n", size=number))
        found = registry.get("k")
        assert found is not None
        assert found.size == number
    assert seen == list(range(300))
    await registry.delete("k")
    # The 300 echoes are behind us once a later write of another key has come back.
    await registry.put("end", Thing(name="end"))
    assert registry.get("k") is None


async def test_a_value_that_does_not_decode_is_skipped_and_what_was_known_stays(
    bus: Bus, bucket: str, registry: Registry[Thing]
) -> None:
    revision = await registry.create("k", Thing(name="good"))
    await keyvalue.put(bus, bucket, "k", b'{"name": 7}')
    await keyvalue.put(bus, bucket, "bad", b"not json")
    await keyvalue.put(bus, bucket, "later", b'{"name":"later","added_by_a_newer_service":1}')
    await until("what follows is read", lambda: registry.get("later") == Thing(name="later"))
    assert registry.get("k") == Thing(name="good")
    assert registry.get("bad") is None
    with pytest.raises(RevisionConflict):
        await registry.update("k", Thing(name="mine"), revision)
    fresh = Registry(bus, bucket, Thing)
    await fresh.start(5)
    assert {key for key, _ in fresh.items()} == {"later"}
    await fresh.stop()


async def test_an_entry_with_a_ttl_leaves_every_memory(registry: Registry[Thing], other: Registry[Thing]) -> None:
    await registry.put("k", Thing(name="mortal"), ttl_s=3)
    await until("the other knows it", lambda: other.get("k") == Thing(name="mortal"))
    late = Registry(registry._bus, BUCKET, Thing)
    await late.start(5)
    assert late.get("k") == Thing(name="mortal")
    for one in (registry, other, late):
        await until("it is forgotten", lambda one=one: one.get("k") is None)  # type: ignore[misc]
    assert await registry.fetch("k") is None
    await late.stop()


async def test_an_entry_that_is_renewed_outlives_its_ttl(
    bus: Bus, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir.runtime.registry.EXPIRY_GRACE_S", 0.1)
    monkeypatch.setattr("kurir.runtime.registry.SWEEP_S", 0.05)
    registry = Registry(bus, bucket, Thing)
    await registry.start(5)
    gone: list[str] = []
    registry.on_change(lambda key, _old, new: gone.append(key) if new is None else None)
    for _ in range(8):
        await registry.put("k", Thing(name="alive"), ttl_s=2)
        await asyncio.sleep(0.4)
    assert gone == []
    await registry.put("k", Thing(name="eternal"))
    await asyncio.sleep(2.3)  # longer than TTL and grace: what must not happen has had its time
    assert gone == []
    await registry.stop()
