"""The registry through outages of a real server: killed, frozen, emptied."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from kurir.runtime import keyvalue
from kurir.runtime.broker import BrokerUnavailable, Bus, PublishError
from kurir.runtime.registry import Registry
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.tunnel import Tunnel

BUCKET = "things"


class Thing(msgspec.Struct, frozen=True):
    name: str


@pytest.fixture
async def writer(nats_server: NatsServer, bus: Bus) -> AsyncIterator[Bus]:
    """Another process."""
    await bus.js.create_key_value(bucket=BUCKET, direct=True)
    other = await Bus.connect(nats_server.url, name="writer")
    yield other
    await other.close()


@pytest.fixture
async def registry(bus: Bus, writer: Bus) -> AsyncIterator[Registry[Thing]]:
    started = Registry(bus, BUCKET, Thing)
    await started.start(5)
    yield started
    await started.stop()


async def write(bus: Bus, key: str, name: str) -> None:
    """Write as soon as the server takes it."""

    async def is_written() -> bool:
        try:
            await keyvalue.put(bus, BUCKET, key, msgspec.json.encode(Thing(name)))
        except PublishError:
            return False
        return True

    await until(f"{key} is written", is_written)


async def test_a_killed_server_comes_back_and_the_watch_goes_on(
    nats_server: NatsServer, registry: Registry[Thing], writer: Bus
) -> None:
    for outage in range(3):
        await registry.put("k", Thing(f"before {outage}"))
        await nats_server.kill()
        await until("the outage is known", lambda: not registry.is_current)
        assert registry.get("k") == Thing(f"before {outage}")
        with pytest.raises(PublishError):
            await registry.put("k", Thing("refused"))
        assert registry.get("k") == Thing(f"before {outage}")
        await nats_server.start()
        await write(writer, "k", f"after {outage}")
        await until("the change arrived", lambda n=outage: registry.get("k") == Thing(f"after {n}"))  # type: ignore[misc]
        await until("it is current", lambda: registry.is_current)


@pytest.fixture
async def distant(tunnel: Tunnel, writer: Bus) -> AsyncIterator[Bus]:
    """A connection that goes by the tunnel, to a bucket that is there."""
    connected = await Bus.connect(f"nats://127.0.0.1:{tunnel.port}", name="distant")
    yield connected
    await connected.close()


async def test_what_changed_while_we_were_cut_off_is_caught_up_with(tunnel: Tunnel, distant: Bus, writer: Bus) -> None:
    """Only our connection is lost; the writer changes, adds, deletes and purges before we are back."""
    registry = Registry(distant, BUCKET, Thing)
    await registry.start(5)
    for key in ("stays", "changes", "goes", "vanishes"):
        await registry.put(key, Thing(key))
    told: list[tuple[str, Thing | None, Thing | None]] = []
    registry.on_change(lambda *change: told.append(change))
    tunnel.stop()
    await until("the loss is noticed", lambda: not distant.connected)
    await write(writer, "changes", "changed")
    await write(writer, "new", "new")
    await keyvalue.delete(writer, BUCKET, "goes")
    await writer.js.purge_stream(f"KV_{BUCKET}", subject=f"$KV.{BUCKET}.vanishes")
    assert told == []
    await tunnel.start()
    await until("the difference is applied", lambda: len(told) == 4)
    assert dict(registry.items()) == {
        "stays": Thing("stays"),
        "changes": Thing("changed"),
        "new": Thing("new"),
    }
    assert sorted(key for key, _, _ in told) == ["changes", "goes", "new", "vanishes"]
    assert ("vanishes", Thing("vanishes"), None) in told
    await registry.stop()


async def test_a_frozen_server_ends_the_watch_and_a_thawed_one_resumes_it(
    nats_server: NatsServer, registry: Registry[Thing], writer: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kurir.runtime import bucket_watch

    monkeypatch.setattr(bucket_watch, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(bucket_watch, "SILENCE_S", 0.6)
    await nats_server.freeze()
    await until("silence is noticed", lambda: not registry.is_current)
    await nats_server.thaw()
    await write(writer, "k", "after")
    await until("the change arrived", lambda: registry.get("k") == Thing("after"), within_s=20)
    await until("it is current", lambda: registry.is_current, within_s=20)


async def test_a_consumer_deleted_by_an_operator_is_replaced(
    registry: Registry[Thing], writer: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kurir.runtime import bucket_watch

    monkeypatch.setattr(bucket_watch, "SILENCE_S", 0.6)
    monkeypatch.setattr(bucket_watch, "HEARTBEAT_S", 0.2)
    for consumer in await writer.js.consumers_info(f"KV_{BUCKET}"):
        await writer.js.delete_consumer(f"KV_{BUCKET}", consumer.name)
    await write(writer, "k", "unheard")
    await until("the re-read found it", lambda: registry.get("k") == Thing("unheard"), within_s=20)


async def test_who_catches_up_waits_for_the_bucket_to_be_read_again(
    nats_server: NatsServer, bus: Bus, registry: Registry[Thing], writer: Bus
) -> None:
    """A change that a watch never hears of is found by reading again; while the server is away that is said."""
    for consumer in await writer.js.consumers_info(f"KV_{BUCKET}"):
        await writer.js.delete_consumer(f"KV_{BUCKET}", consumer.name)
    await write(writer, "k", "unheard")
    with pytest.raises(BrokerUnavailable, match="did not come"):
        await registry.catch_up(1.0)
    await registry.catch_up()
    assert registry.get("k") == Thing("unheard")
    await nats_server.kill()
    with pytest.raises(BrokerUnavailable):
        await registry.catch_up(1.0)
    await nats_server.start()
    await write(writer, "k", "after")
    await until("the server answers us too", lambda: bus.connected)
    await registry.catch_up()
    assert registry.get("k") == Thing("after")


async def test_a_bucket_that_was_made_anew_is_believed_though_its_revisions_are_lower(
    registry: Registry[Thing], writer: Bus
) -> None:
    for number in range(20):
        await registry.put("k", Thing(str(number)))
    await registry.put("old", Thing("old"))
    await writer.js.delete_key_value(BUCKET)
    await writer.js.create_key_value(bucket=BUCKET, direct=True)
    await write(writer, "k", "new world")
    assert registry._watch is not None
    registry._watch.break_off("test")
    await until("the new world is seen", lambda: dict(registry.items()) == {"k": Thing("new world")})


async def test_starting_while_the_server_is_away_waits_for_it(nats_server: NatsServer, bus: Bus, writer: Bus) -> None:
    await write(writer, "k", "there")
    await nats_server.kill()
    registry = Registry(bus, BUCKET, Thing)
    starting = asyncio.create_task(registry.start(30))
    await until("it tried", lambda: registry._problem != "not started")
    await nats_server.start()
    await starting
    assert registry.get("k") == Thing("there")
    await registry.stop()
