"""The mark of a message that waits is stored with the outcome of the one before it, and means what any mark means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from kurir.contracts import events, subjects
from kurir.contracts.content import Location
from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus
from kurir.runtime.partitions import partition_of
from kurir.session_node.event_log import Appended
from kurir.session_node.outbound import Following, Outbound
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import TENANT, Gateway, LocalShard, a_message


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
def marked_ahead(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of messages whose mark was stored with an outcome."""
    seen: list[str] = []
    original = Outbound._store

    async def store(self: Outbound, outcome: MessageStatusChanged, following: Following | None) -> Appended:
        if following is not None:
            seen.append(following.command.id)
        return await original(self, outcome, following)

    monkeypatch.setattr(Outbound, "_store", store)
    return seen


@asynccontextmanager
async def connected_shard(gateway: Gateway, node: str = "node") -> AsyncIterator[LocalShard]:
    """A shard whose device is connected: no order waits for that, and each finds the next one right behind it."""

    async def is_connected() -> bool:
        return await gateway.state("d1") == "connected"

    async with LocalShard(gateway.url, node=node) as shard:
        await until("the device is connected", is_connected, within_s=30)
        yield shard


async def test_each_message_is_begun_once_and_after_the_outcome_of_the_one_before(
    gateway: Gateway, marked_ahead: list[str]
) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(20)]
    async with connected_shard(gateway):
        await gateway.order(*messages)
        await until("all are read", lambda: gateway.has_status(messages, "read"), within_s=30)
    facts = [e for e in await gateway.events("d1") if isinstance(e, MessageSending | MessageStatusChanged)]
    told = [(fact.message_id, fact.status) for fact in facts if fact.status in ("sending", "sent")]
    assert told == [(message.id, status) for message in messages for status in ("sending", "sent")]
    assert marked_ahead


async def test_a_mark_stored_ahead_stands_right_behind_the_outcome(gateway: Gateway, marked_ahead: list[str]) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(20)]
    async with connected_shard(gateway):
        await gateway.order(*messages)
        await until("all are sent", lambda: gateway.has_status(messages, "sent"), within_s=30)
    stored = await gateway.bus.read_from(EVENTS.name, subjects.event(TENANT, "d1", "send.message.>"), 1, 200)
    outcomes, marks = dict[str, int](), dict[str, int]()
    for one in stored:
        fact = events.decode(subjects.parse_event(one.subject).type, one.data)
        assert isinstance(fact, MessageSending | MessageStatusChanged)
        (marks if isinstance(fact, MessageSending) else outcomes).setdefault(fact.message_id, one.seq)
    before = {after.id: message.id for message, after in pairwise(messages)}
    assert marked_ahead
    assert {id_: marks[id_] for id_ in marked_ahead} == {id_: outcomes[before[id_]] + 1 for id_ in marked_ahead}


async def test_only_what_needs_nothing_but_to_be_sent_is_marked_ahead(
    gateway: Gateway, marked_ahead: list[str]
) -> None:
    await gateway.add_device("d1")
    place = a_message("d1", content=Location(latitude=-6.2, longitude=106.8))
    late = a_message("d1", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    plain = [a_message("d1"), a_message("d1")]
    async with connected_shard(gateway):
        await gateway.order(plain[0], late, place, plain[1])
        await until("all have ended", lambda: gateway.has_status([*plain, place], "sent"), within_s=30)
        await until("the late one has ended", lambda: gateway.has_status([late], "expired"))
    assert marked_ahead == [plain[1].id]


async def test_a_message_marked_by_an_owner_that_stops_before_it_begins_is_sent_by_the_next_and_is_not_unknown(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.add_device("d1")
    first, second = a_message("d1"), a_message("d1")
    original = Outbound._store
    async with connected_shard(gateway, node="former") as former:

        async def store_and_stop(
            self: Outbound, outcome: MessageStatusChanged, following: Following | None
        ) -> Appended:
            stored = await original(self, outcome, following)
            if following is not None:
                partition = former.shard.partitions[partition_of("d1", subjects.COMMAND_PARTITIONS)]
                partition._consumer._is_stopping = True
            return stored

        with monkeypatch.context() as patched:
            patched.setattr(Outbound, "_store", store_and_stop)
            await gateway.order(first, second)
            await until("the second is marked", lambda: gateway.has_status([second], "sending"), within_s=30)
            await former.stop()
    async with LocalShard(gateway.url, node="next"):
        await until("both are sent", lambda: gateway.has_status([first, second], "sent"), within_s=30)
    said = await gateway.statuses("d1")
    assert [fact.status for fact in said[first.id]][:2] == ["sending", "sent"]
    assert [fact.status for fact in said[second.id]][:4] == ["sending", "retrying", "sending", "sent"]
