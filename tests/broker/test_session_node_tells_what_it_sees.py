"""What a device sees becomes events in the stream: in order, numbered, once, and never at the cost of messages."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.contracts.content import Address, Document, Media
from kurir.contracts.events import (
    CallUpdated,
    ConnectionUpdate,
    ContactUpdated,
    Event,
    GroupMembersChanged,
    GroupUpdated,
    MediaFailed,
    MessageUpserted,
    PresenceUpdated,
)
from kurir.contracts.states import Reason
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime.broker import Bus
from kurir.runtime.objects import ObjectStore
from kurir.session_node import inbound_media
from kurir.session_node.engines import engine
from kurir.session_node.engines.engine import Received, StateChanged
from kurir.session_node.engines.observations import CallSeen, GroupChanged, MembershipChanged, PresenceSeen, Seen
from kurir.session_node.inbound_media import keep_media
from kurir.session_node.observed import observed_event
from kurir.session_node.reports import PERISHABLE_LIMIT
from tests.broker.test_session_node_session import Stage, a_text
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import TENANT, Gateway, LocalShard, a_message

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
ANN = Address(jid="101@lid", lid="101@lid")
GROUP = Address(jid="120363@g.us")
FILE = b"%PDF-1.7" * 1000


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def local_shard(gateway: Gateway) -> AsyncIterator[LocalShard]:
    async with LocalShard(gateway.url) as shard:
        await until("it owns every partition", lambda: len(shard.shard.owned) == COMMAND_PARTITIONS)
        yield shard


@pytest.fixture
async def stage(bus: Bus, gateway: Gateway) -> AsyncIterator[Stage]:
    stage = Stage(bus, gateway)
    await stage.sessions.start()
    yield stage
    if stage.session is not None:
        async with asyncio.timeout(20):
            await stage.session.stop(is_lost=False)
    await stage.sessions.stop()


def a_call(**known: Any) -> CallSeen:
    facts: dict[str, Any] = {"call_id": "c1", "chat": ANN, "sender": ANN, "state": "offered", "at": NOW} | known
    return CallSeen(**facts)


def typing(**known: Any) -> PresenceSeen:
    return PresenceSeen(chat=ANN, sender=ANN, presence="composing", at=NOW, **known)


async def told(gateway: Gateway, *kinds: type[Event]) -> list[Any]:
    return [event for event in await gateway.events("d1") if isinstance(event, kinds)]


async def until_told(gateway: Gateway, count: int, *kinds: type[Event]) -> list[Any]:
    found: list[Any] = []

    async def are_told() -> bool:
        found[:] = await told(gateway, *kinds)
        return len(found) >= count

    await until(f"{count} events are told", are_told, seen=lambda: found)
    return found


# --- with the sandbox, from a message to what follows it ------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "kind", "facts"),
    [
        ("6285550118@s.whatsapp.net", PresenceUpdated, ["available", "composing", "paused", "unavailable"]),
        ("6285550119@s.whatsapp.net", CallUpdated, ["offered", "missed"]),
        ("6285550121@s.whatsapp.net", ContactUpdated, ["changed"]),
        ("1203636285550122@g.us", GroupMembersChanged, ["add", "promote", "demote", "leave"]),
        ("1203636285550123@g.us", GroupMembersChanged, ["remove"]),
    ],
)
async def test_what_a_tenant_provokes_in_the_sandbox_is_told_in_order(
    gateway: Gateway, local_shard: LocalShard, to: str, kind: type[Event], facts: list[str]
) -> None:
    await gateway.add_device("d1")
    await gateway.order(a_message("d1", to=to))
    found = await until_told(gateway, len(facts), kind)
    names = ("presence", "state", "picture", "action")
    assert [next(getattr(event, name) for name in names if hasattr(event, name)) for event in found] == facts
    everything = await gateway.events("d1")
    assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
    assert {event.epoch for event in everything} == {(await gateway.session("d1")).epoch}
    assert all("." not in event.id for event in everything)


async def test_a_file_that_whatsapp_lost_is_told_after_its_message(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    await gateway.order(a_message("d1", to="6285550120@s.whatsapp.net"))
    message, failed = await until_told(gateway, 2, MessageUpserted, MediaFailed)
    assert isinstance(message.content, Document)
    assert (message.content.media.object, message.content.media.missing) == ("", "media_expired")
    assert (failed.message_id, failed.reason, failed.media) == (
        message.message_id,
        "media_expired",
        message.content.media,
    )


# --- with an engine that says what it is told to --------------------------------------------------------------------


async def test_all_that_is_seen_keeps_its_order_among_messages(stage: Stage) -> None:
    await stage.play(await stage.gateway.add_device("d1"))
    reports: list[Received | Seen] = [
        a_text("w1"),
        a_call(),
        GroupChanged(chat=GROUP, author=ANN, subject="Choir", at=NOW),
        a_text("w2"),
        MembershipChanged(chat=GROUP, action="add", participants=(ANN,), at=NOW),
        typing(),
        a_text("w3"),
        a_call(state="ended"),
    ]
    for report in reports:
        stage.puppet.report(report)

    found = await until_told(
        stage.gateway, 8, MessageUpserted, CallUpdated, GroupUpdated, GroupMembersChanged, PresenceUpdated
    )
    assert [type(event) for event in found] == [
        MessageUpserted,
        CallUpdated,
        GroupUpdated,
        MessageUpserted,
        GroupMembersChanged,
        PresenceUpdated,
        MessageUpserted,
        CallUpdated,
    ]
    seqs = [event.seq for event in found]
    assert seqs == list(range(seqs[0], seqs[0] + 8))
    assert found[1].at == NOW


async def test_a_refusal_is_told_with_whatsapps_own_number(stage: Stage) -> None:
    await stage.play(await stage.gateway.add_device("d1"))
    stage.puppet.report(StateChanged(state="logged_out", reason="device_logged_out", detail="LOGGED_OUT", code=401))
    _, out = await until_told(stage.gateway, 2, ConnectionUpdate)
    assert (out.state, out.reason, out.detail, out.code) == ("logged_out", "device_logged_out", "LOGGED_OUT", 401)


async def test_what_whatsapp_tells_twice_is_stored_once(stage: Stage) -> None:
    await stage.play(await stage.gateway.add_device("d1"))
    twice: list[Seen] = [
        a_call(),
        a_call(state="ended"),
        GroupChanged(chat=GROUP, author=ANN, subject="Choir", at=NOW),
        MembershipChanged(chat=GROUP, action="add", participants=(ANN,), at=NOW),
    ]
    for report in twice + twice:
        stage.puppet.report(report)
    stage.puppet.report(a_text("last"))
    await until_told(stage.gateway, 1, MessageUpserted)
    assert len(await told(stage.gateway, CallUpdated, GroupUpdated, GroupMembersChanged)) == len(twice)


async def test_presence_is_let_go_when_much_waits_and_messages_are_not(stage: Stage, nats_server: NatsServer) -> None:
    await stage.play(await stage.gateway.add_device("d1"))
    await until_told(stage.gateway, 1, ConnectionUpdate)
    await nats_server.kill()
    names = [f"w{number}" for number in range(3 * PERISHABLE_LIMIT)]
    for name in names:
        stage.puppet.report(a_text(name))
        stage.puppet.report(typing())
    await nats_server.restart()
    await until("the bus is back", lambda: stage.bus.connected, within_s=30)
    found = await until_told(stage.gateway, len(names), MessageUpserted)
    assert [event.whatsapp_id for event in found] == names
    assert 0 < len(await told(stage.gateway, PresenceUpdated)) <= 2 * PERISHABLE_LIMIT


def test_a_repeat_is_known_whoever_of_two_addresses_is_known_by_then() -> None:
    complete = Address(jid=ANN.jid, lid=ANN.lid, pn="62811@s.whatsapp.net")
    first = GroupChanged(chat=GROUP, author=ANN, subject="Choir", at=NOW)
    second = GroupChanged(chat=GROUP, author=complete, subject="Choir", at=NOW)
    assert observed_event("t", "d", first).id == observed_event("t", "d", second).id
    other = GroupChanged(chat=GROUP, author=ANN, subject="Band", at=NOW)
    assert observed_event("t", "d", first).id != observed_event("t", "d", other).id


# --- files ----------------------------------------------------------------------------------------------------------


class GivenFile:
    """An attachment that yields what it is given, or fails so often before."""

    mimetype = "application/pdf"
    file_name: str | None = "offer.pdf"

    def __init__(self, data: bytes, *, failures: list[Reason] | None = None, hangs: bool = False) -> None:
        self._data, self._failures, self._hangs = data, failures or [], hangs
        self.size: int | None = len(data)
        self.times_fetched = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self.times_fetched += 1
        if self._failures:
            raise engine.MediaFailed(self._failures.pop(0))
        if self._hangs:
            await asyncio.Event().wait()
        yield self._data


def a_document(file: GivenFile, *, size: int | None = None, sha256: str | None = None) -> Received:
    said = hashlib.sha256(FILE).hexdigest() if sha256 is None else sha256
    media = Media(object="", mimetype=file.mimetype, size=size or file.size or 0, sha256=said, file_name=file.file_name)
    return Received(whatsapp_id="w1", chat=ANN, sender=ANN, content=Document(media=media), sent_at=NOW, attachment=file)


@pytest.fixture
def store(gateway: Gateway) -> ObjectStore:
    return ObjectStore(gateway.bus, "media")


async def test_a_file_is_kept_with_its_hash(store: ObjectStore) -> None:
    content, missing = await keep_media(store, TENANT, a_document(GivenFile(FILE)), 1 << 20)
    assert missing is None
    assert isinstance(content, Document)
    assert (content.media.missing, content.media.size) == (None, len(FILE))
    assert (await store.info(content.media.object)).sha256 == hashlib.sha256(FILE).hexdigest()


@pytest.mark.parametrize(
    ("file", "document", "reason"),
    [
        (lambda: GivenFile(FILE, failures=["media_expired"]), {}, "media_expired"),
        (lambda: GivenFile(FILE), {"sha256": "0" * 64}, "media_damaged"),
        (lambda: GivenFile(FILE * 100), {"size": 10}, "media_too_large"),
        (lambda: GivenFile(FILE, hangs=True), {}, "media_timeout"),
    ],
    ids=["gone", "another file", "larger than it says", "too slow"],
)
async def test_a_file_that_cannot_be_kept_is_marked_missing_and_leaves_nothing(
    store: ObjectStore, gateway: Gateway, file: Callable[[], GivenFile], document: dict[str, Any], reason: Reason
) -> None:
    content, missing = await keep_media(
        store, TENANT, a_document(file(), **document), 100_000, timeout_s=0.5 if reason == "media_timeout" else 30
    )
    assert isinstance(content, Document)
    assert (content.media.object, content.media.missing) == ("", reason)
    assert missing is not None
    assert missing.reason == reason
    chunks = await gateway.bus.js.stream_info("OBJ_media", subjects_filter="$O.media.C.>")
    assert not chunks.state.subjects


async def test_a_file_that_is_said_to_be_too_large_is_not_even_fetched(store: ObjectStore) -> None:
    file = GivenFile(FILE)
    _, missing = await keep_media(store, TENANT, a_document(file, size=1 << 40), 1 << 20)
    assert missing is not None
    assert missing.reason == "media_too_large"
    assert file.times_fetched == 0


async def test_a_file_waits_for_a_connection_that_is_being_restored(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound_media, "AGAIN_S", 0.01)
    file = GivenFile(FILE, failures=["device_offline", "device_offline"])
    content, missing = await keep_media(store, TENANT, a_document(file), 1 << 20)
    assert missing is None
    assert isinstance(content, Document)
    assert content.media.object


async def test_a_file_waits_for_the_store(store: ObjectStore, gateway: Gateway, nats_server: NatsServer) -> None:
    await nats_server.kill()
    await until("the bus is away", lambda: not gateway.bus.connected)
    keeping = asyncio.create_task(keep_media(store, TENANT, a_document(GivenFile(FILE)), 1 << 20))
    await nats_server.restart()
    content, missing = await asyncio.wait_for(keeping, 30)
    assert missing is None
    assert isinstance(content, Document)
    assert content.media.object
