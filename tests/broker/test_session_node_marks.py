"""The mark of a message that waits is stored with the outcome of the one before it, and means what any mark means."""

from datetime import UTC, datetime, timedelta

import pytest

from kurir.contracts import subjects
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


async def test_each_message_is_begun_once_and_after_the_outcome_of_the_one_before(
    gateway: Gateway, marked_ahead: list[str]
) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(20)]
    await gateway.order(*messages)
    async with LocalShard(gateway.url):
        await until("all are read", lambda: gateway.has_status(messages, "read"), within_s=30)
    facts = [e for e in await gateway.events("d1") if isinstance(e, MessageSending | MessageStatusChanged)]
    told = [(fact.message_id, fact.status) for fact in facts if fact.status in ("sending", "sent")]
    assert told == [(message.id, status) for message in messages for status in ("sending", "sent")]
    assert len(marked_ahead) > len(messages) // 2


async def test_a_mark_stored_ahead_stands_right_behind_the_outcome(gateway: Gateway, marked_ahead: list[str]) -> None:
    await gateway.add_device("d1")
    first, second = a_message("d1"), a_message("d1")
    await gateway.order(first, second)
    async with LocalShard(gateway.url):
        await until("both are sent", lambda: gateway.has_status([first, second], "sent"), within_s=30)
    assert marked_ahead == [second.id]
    stored = await gateway.bus.read_from(EVENTS.name, subjects.event(TENANT, "d1", "send.message.>"), 1, 100)
    said = {(subjects.parse_event(one.subject).type, one.seq) for one in stored}
    outcome = min(seq for type_, seq in said if type_ == "send.message.status")
    assert ("send.message.sending", outcome + 1) in said


async def test_only_what_needs_nothing_but_to_be_sent_is_marked_ahead(
    gateway: Gateway, marked_ahead: list[str]
) -> None:
    await gateway.add_device("d1")
    place = a_message("d1", content=Location(latitude=-6.2, longitude=106.8))
    late = a_message("d1", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    plain = [a_message("d1"), a_message("d1")]
    await gateway.order(plain[0], late, place, plain[1])
    async with LocalShard(gateway.url):
        await until("all have ended", lambda: gateway.has_status([*plain, place], "sent"), within_s=30)
        await until("the late one has ended", lambda: gateway.has_status([late], "expired"))
    assert marked_ahead == [plain[1].id]


async def test_a_message_marked_by_an_owner_that_stops_before_it_begins_is_sent_by_the_next_and_is_not_unknown(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.add_device("d1")
    first, second = a_message("d1"), a_message("d1")
    await gateway.order(first, second)
    original = Outbound._store
    async with LocalShard(gateway.url, node="former") as former:

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
            await until("the second is marked", lambda: gateway.has_status([second], "sending"), within_s=30)
            await former.stop()
    async with LocalShard(gateway.url, node="next"):
        await until("both are sent", lambda: gateway.has_status([first, second], "sent"), within_s=30)
    said = await gateway.statuses("d1")
    assert [fact.status for fact in said[first.id]][:2] == ["sending", "sent"]
    assert [fact.status for fact in said[second.id]][:4] == ["sending", "retrying", "sending", "sent"]
