"""The media store against a real server, and against nats-py's own object store."""

import asyncio
import contextlib
import hashlib
import random
import tracemalloc
from collections.abc import AsyncIterable, AsyncIterator

import pytest
from nats.js.object_store import ObjectStore as NatsObjectStore

from kurir.runtime.broker import BrokerUnavailable, Bus
from kurir.runtime.objects import (
    CHUNK_BYTES,
    ObjectDamaged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    StoreUnavailable,
    TooLarge,
    object_name,
)
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

MIB = 1024 * 1024
NAME = object_name("t1", "m1")


@pytest.fixture
async def theirs(bus: Bus) -> NatsObjectStore:
    """What nats-py, and with it the `nats` command, sees."""
    return await bus.js.create_object_store("media")


@pytest.fixture
def store(bus: Bus, theirs: NatsObjectStore) -> ObjectStore:
    return ObjectStore(bus, "media")


def some_bytes(count: int) -> bytes:
    return random.Random(count).randbytes(count)


async def in_pieces(data: bytes, piece: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        yield data[at : at + piece]


async def put(store: ObjectStore, data: bytes, name: str = NAME, piece: int = 50_000) -> ObjectInfo:
    return await store.put_stream(name, in_pieces(data, piece), max_bytes=len(data))


async def all_of(reader: AsyncIterable[bytes]) -> bytes:
    return b"".join([piece async for piece in reader])


async def stored_messages(bus: Bus) -> int:
    return int((await bus.js.stream_info("OBJ_media")).state.messages)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * MIB + 7])
async def test_what_was_put_is_read_by_us_and_by_others(store: ObjectStore, theirs: NatsObjectStore, size: int) -> None:
    data = some_bytes(size)
    info = await put(store, data)
    assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
    reader = await store.open_stream(NAME)
    assert reader.info == info == await store.info(NAME)
    assert await all_of(reader) == data
    assert (await theirs.get(NAME)).data == data


@pytest.mark.parametrize("piece", [1000, CHUNK_BYTES, 3 * MIB])
async def test_pieces_of_any_size_make_the_same_object(store: ObjectStore, piece: int) -> None:
    data = some_bytes(2 * MIB + 1)
    assert (await put(store, data, piece=piece)).sha256 == hashlib.sha256(data).hexdigest()
    assert await all_of(await store.open_stream(NAME)) == data


async def test_what_others_put_is_read_by_us(store: ObjectStore, theirs: NatsObjectStore) -> None:
    data = some_bytes(300_000)
    await theirs.put("t1/theirs", data)
    reader = await store.open_stream("t1/theirs")
    assert reader.info.sha256 == hashlib.sha256(data).hexdigest()
    assert await all_of(reader) == data


async def test_headers_travel_with_the_object(store: ObjectStore, theirs: NatsObjectStore) -> None:
    await store.put_stream(NAME, in_pieces(b"x", 1), max_bytes=1, headers={"Content-Type": "image/png"})
    assert (await store.info(NAME)).headers == {"Content-Type": "image/png"}
    assert (await theirs.get_info(NAME)).headers == {"Content-Type": ["image/png"]}


async def test_too_much_is_refused_while_it_streams_and_nothing_of_it_stays(bus: Bus, store: ObjectStore) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield bytes(100_000)

    with pytest.raises(TooLarge):
        await store.put_stream(NAME, endless(), max_bytes=1_000_000)
    assert given == 11
    assert await stored_messages(bus) == 0
    with pytest.raises(ObjectNotFound):
        await store.info(NAME)
    assert (await put(store, bytes(1_000_000))).size == 1_000_000


async def test_a_source_that_breaks_off_leaves_nothing(bus: Bus, store: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put_stream(NAME, broken(), max_bytes=2 * MIB)
    assert await stored_messages(bus) == 0


async def test_a_cancelled_upload_leaves_nothing(bus: Bus, store: ObjectStore) -> None:
    waiting = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        waiting.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(store.put_stream(NAME, stalled(), max_bytes=2 * MIB))
    await waiting.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await stored_messages(bus) == 0


async def test_a_replaced_or_deleted_object_leaves_no_chunks(bus: Bus, store: ObjectStore) -> None:
    await put(store, some_bytes(MIB))
    newer = some_bytes(1000)
    await put(store, newer)
    assert await all_of(await store.open_stream(NAME)) == newer
    assert await stored_messages(bus) == 2
    await store.delete(NAME)
    assert await stored_messages(bus) == 1
    for ask in (store.info, store.open_stream, store.delete):
        with pytest.raises(ObjectNotFound):
            await ask(NAME)
    await put(store, newer)
    assert await all_of(await store.open_stream(NAME)) == newer


async def test_tenants_have_names_of_their_own(store: ObjectStore) -> None:
    await put(store, b"one", object_name("t1", "m"))
    await put(store, b"two", object_name("t2", "m"))
    assert await all_of(await store.open_stream("t1/m")) == b"one"
    with pytest.raises(ObjectNotFound):
        await store.open_stream("t3/m")


@pytest.mark.parametrize("which", ["first", "last"])
async def test_a_missing_chunk_is_noticed(bus: Bus, store: ObjectStore, which: str) -> None:
    await put(store, some_bytes(5 * CHUNK_BYTES))
    state = (await bus.js.stream_info("OBJ_media")).state
    # The description is the last message of the stream.
    await bus.js.delete_msg("OBJ_media", state.first_seq if which == "first" else state.last_seq - 1)
    with pytest.raises(ObjectDamaged):
        await all_of(await store.open_stream(NAME))


async def test_changed_bytes_are_noticed_before_the_last_piece_is_given(bus: Bus, store: ObjectStore) -> None:
    info = await put(store, some_bytes(3 * CHUNK_BYTES))
    await bus.js.purge_stream("OBJ_media", subject=f"$O.media.C.{info.nuid}")
    for _ in range(3):
        await bus.publish(f"$O.media.C.{info.nuid}", bytes(CHUNK_BYTES))
    pieces = aiter(await store.open_stream(NAME))
    assert [await anext(pieces), await anext(pieces)] == [bytes(CHUNK_BYTES)] * 2
    with pytest.raises(ObjectDamaged):
        await anext(pieces)


async def test_memory_stays_flat_both_ways(store: ObjectStore) -> None:
    size = 64 * MIB
    block = some_bytes(MIB)

    async def big() -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield block

    tracemalloc.start()
    try:
        await store.put_stream(NAME, big(), max_bytes=size)
        read = 0
        async for piece in await store.open_stream(NAME):
            read += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 16 * MIB, f"{peak / MIB:.1f} MiB for a {size / MIB:.0f} MiB object"


async def test_a_reader_that_stops_early_leaves_nothing_behind(bus: Bus, store: ObjectStore) -> None:
    await put(store, some_bytes(5 * MIB))
    tasks_before = asyncio.all_tasks()
    async with contextlib.aclosing(await store.open_stream(NAME)) as reader:
        await anext(aiter(reader))
    await reader.aclose()
    assert asyncio.all_tasks() == tasks_before
    assert (await bus.js.stream_info("OBJ_media")).state.consumer_count == 0


async def test_a_read_goes_on_after_the_server_was_killed(
    nats_server: NatsServer, bus: Bus, store: ObjectStore
) -> None:
    data = some_bytes(8 * MIB)
    await put(store, data)
    got = bytearray()
    async for piece in await store.open_stream(NAME):
        if not got:
            await nats_server.restart()
        got += piece
    assert bytes(got) == data


async def test_while_the_server_is_away_everything_fails_with_a_name(
    nats_server: NatsServer, bus: Bus, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, some_bytes(8 * MIB))
    monkeypatch.setattr("kurir.runtime.objects.OUTAGE_BRIDGED_S", 0.3)
    pieces = aiter(await store.open_stream(NAME))
    await anext(pieces)
    await nats_server.kill()
    await until("the outage is known", lambda: not bus.connected)
    with pytest.raises(StoreUnavailable):
        await all_of(pieces)
    with pytest.raises(StoreUnavailable):
        await store.info(NAME)
    with pytest.raises(StoreUnavailable):
        await put(store, b"x", "t1/other")
    await nats_server.start()
    await until("the bus is back", lambda: bus.connected)


async def test_an_upload_cut_off_by_an_outage_is_an_error(
    nats_server: NatsServer, bus: Bus, store: ObjectStore
) -> None:
    async def cut_off() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        await nats_server.kill()
        yield bytes(MIB)

    with pytest.raises(BrokerUnavailable):
        await store.put_stream(NAME, cut_off(), max_bytes=2 * MIB)
    await nats_server.start()
    await until("the bus is back", lambda: bus.connected)
    with pytest.raises(ObjectNotFound):
        await store.info(NAME)
