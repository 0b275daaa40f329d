"""A shard: from commands to events, with the sandbox engine."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kurir.contracts import ids, queries, subjects
from kurir.contracts.commands import Logout
from kurir.contracts.content import Image, Media
from kurir.contracts.events import MessageStatusChanged, MessageUpserted
from kurir.contracts.queries import Paired, Refused, SandboxScan
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.runtime.broker import Bus, Unreachable
from kurir.runtime.objects import ObjectStore
from kurir.runtime.partitions import partition_of
from kurir.session_node.partition import BACKLOG_FULL
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import FRIEND, TENANT, Gateway, LocalShard, a_message

FAILING = "6285550101@s.whatsapp.net"
TOO_FAST = "6285550113@s.whatsapp.net"
TIMEOUT = "6285550104@s.whatsapp.net"
REPLYING = "6285550114@s.whatsapp.net"
UNLINKING = "6285550110@s.whatsapp.net"
DROPPING = "6285550108@s.whatsapp.net"
PHONE_OFF = "6285550105@s.whatsapp.net"
BANNING = "6285550107@s.whatsapp.net"


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def local_shard(gateway: Gateway) -> AsyncIterator[LocalShard]:
    async with LocalShard(gateway.url) as shard:
        await until("it owns every partition", lambda: len(shard.shard.owned) == subjects.COMMAND_PARTITIONS)
        yield shard


async def none_left(gateway: Gateway) -> bool:
    return await gateway.commands_left() == 0


async def has_state(gateway: Gateway, device: str, state: str | None) -> bool:
    return await gateway.state(device) == state


async def was_in_state(gateway: Gateway, device: str, state: str) -> bool:
    return state in await gateway.connection_states(device)


async def ask(gateway: Gateway, question: SandboxScan) -> Paired | Refused:
    method = queries.method_of(question).name
    subject = subjects.rpc(partition_of(question.device, subjects.COMMAND_PARTITIONS), method)
    return queries.decode_reply(question, await gateway.bus.request(subject, msgspec.json.encode(question), 10.0))


async def test_a_message_goes_through_all_its_statuses_in_order(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    message = a_message("d1")
    await gateway.order(message)
    await until("the message is read", lambda: gateway.has_status([message], "read"))
    said = (await gateway.statuses("d1"))[message.id]
    assert [fact.status for fact in said] == ["sending", "sent", "delivered", "read"]
    assert {fact.epoch for fact in said} == {(await gateway.session("d1")).epoch}
    assert [event.seq for event in await gateway.events("d1")] == list(range(1, 3 + len(said)))
    await until("the command is acknowledged", lambda: none_left(gateway))


async def test_messages_of_a_device_are_sent_in_their_order(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(50)]
    await gateway.order(*messages)
    await until("all are read", lambda: gateway.has_status(messages, "read"), within_s=30)
    facts = [event for event in await gateway.events("d1") if isinstance(event, MessageStatusChanged)]
    sent = [fact.message_id for fact in facts if fact.status == "sent"]
    assert sent == [message.id for message in messages]


async def test_an_offline_device_keeps_its_messages_until_it_is_connected(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    device = await gateway.add_device("d1", wanted="disconnected")
    message = a_message("d1")
    await gateway.order(message)
    other = a_message("d2")
    await gateway.add_device("d2")
    await gateway.order(other)
    await until("another device's message is read", lambda: gateway.has_status([other], "read"))
    assert (await gateway.statuses("d1")) == {}
    await gateway.put_device(msgspec.structs.replace(device, wanted="connected"))
    await until("the message is read", lambda: gateway.has_status([message], "read"))


async def test_a_message_that_waits_too_long_expires(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1", wanted="disconnected")
    message = a_message("d1", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    await gateway.order(message)
    await until("it is expired", lambda: gateway.has_status([message], "expired"))
    await until("the command is acknowledged", lambda: none_left(gateway))


async def test_a_message_to_a_deleted_device_fails(gateway: Gateway, local_shard: LocalShard) -> None:
    message = a_message("nobody")
    await gateway.order(message)
    await until("it has failed", lambda: gateway.has_status([message], "failed"))
    (fact,) = (await gateway.statuses("nobody"))[message.id]
    assert isinstance(fact, MessageStatusChanged)
    assert fact.reason == "device_deleted"


async def test_what_the_engine_refuses_has_failed_with_its_reason(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    message = a_message("d1", to=FAILING)
    await gateway.order(message)
    await until("it has failed", lambda: gateway.has_status([message], "failed"))
    assert [f.status for f in (await gateway.statuses("d1"))[message.id]] == ["sending", "failed"]


async def test_a_send_that_may_succeed_later_is_tried_again_before_the_next_one(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    await gateway.add_device("d1")
    message, behind = a_message("d1", to=TOO_FAST), a_message("d1")
    await gateway.order(message, behind)
    await until("both are read", lambda: gateway.has_status([message, behind], "read"))
    said = await gateway.statuses("d1")
    assert [(f.status, f.attempt) for f in said[message.id]][:4] == [
        ("sending", 1),
        ("retrying", 1),
        ("sending", 2),
        ("sent", 2),
    ]
    assert said[behind.id][0].seq > said[message.id][3].seq


async def test_an_answer_that_does_not_come_is_unknown_and_not_sent_again(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    local_shard.engine.pace = msgspec.structs.replace(local_shard.engine.pace, timeout_s=0.05)
    await gateway.add_device("d1")
    message = a_message("d1", to=TIMEOUT)
    await gateway.order(message)
    await until("the command is acknowledged", lambda: none_left(gateway))
    assert [f.status for f in (await gateway.statuses("d1"))[message.id]] == ["sending", "unknown"]


async def test_a_logged_out_device_fails_its_messages_until_it_is_connected_anew(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    await gateway.add_device("d1")
    last, next_one = a_message("d1", to=UNLINKING), a_message("d1")
    await gateway.order(last)
    await until("the device is logged out", lambda: has_state(gateway, "d1", "logged_out"))
    await gateway.order(next_one)
    await until("the next one has failed", lambda: gateway.has_status([next_one], "failed"))
    (fact,) = (await gateway.statuses("d1"))[next_one.id]
    assert isinstance(fact, MessageStatusChanged)
    assert fact.reason == "device_logged_out"
    assert not (await gateway.session("d1")).paired


async def test_a_lost_connection_comes_back_with_its_receipts(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    first, second = a_message("d1", to=DROPPING), a_message("d1")
    await gateway.order(first, second)
    await until("both are read", lambda: gateway.has_status([first, second], "read"))
    assert await gateway.connection_states("d1") == ["connecting", "connected", "disconnected", "connected"]


async def test_a_ban_with_an_end_is_waited_out(gateway: Gateway, local_shard: LocalShard) -> None:
    local_shard.engine.pace = msgspec.structs.replace(local_shard.engine.pace, ban_s=1.0)
    await gateway.add_device("d1")
    banned, waiting = a_message("d1", to=BANNING), a_message("d1")
    await gateway.order(banned, waiting)
    await until("the device is banned", lambda: was_in_state(gateway, "d1", "banned"))
    await until("the waiting message is read", lambda: gateway.has_status([waiting], "read"))


async def test_an_answer_of_a_contact_arrives_once_and_completely(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    message = a_message("d1", to=REPLYING, text="hi")
    await gateway.order(message)

    async def arrived() -> bool:
        return any(isinstance(event, MessageUpserted) for event in await gateway.events("d1"))

    await until("the answer arrives", arrived)
    (answer,) = [event for event in await gateway.events("d1") if isinstance(event, MessageUpserted)]
    assert answer.content.text == "You wrote: hi"  # type: ignore[union-attr]
    assert answer.chat.jid == REPLYING
    assert answer.message_id.startswith("in")


async def test_media_is_sent_from_the_store_and_received_into_it(gateway: Gateway, local_shard: LocalShard) -> None:
    store = ObjectStore(gateway.bus, MEDIA_BUCKET)
    data = bytes(range(256)) * 1000

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    info = await store.put_stream(f"{TENANT}/m1", pieces(), max_bytes=10**6)
    media = Media(object=info.name, mimetype="image/png", size=info.size, sha256=info.sha256)
    await gateway.add_device("d1")
    message = msgspec.structs.replace(a_message("d1", to=FRIEND), content=Image(media=media, caption="echo look"))
    await gateway.order(message)

    async def arrived() -> bool:
        return any(isinstance(event, MessageUpserted) for event in await gateway.events("d1"))

    await until("the echo arrives", arrived)
    (answer,) = [event for event in await gateway.events("d1") if isinstance(event, MessageUpserted)]
    assert isinstance(answer.content, Image)
    assert answer.content.media.sha256 == info.sha256
    assert answer.content.media.object != info.name
    assert (await store.info(answer.content.media.object)).size == len(data)


async def test_media_that_is_gone_fails_the_message(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    media = Media(object=f"{TENANT}/gone", mimetype="image/png", size=3, sha256="0" * 64)
    message = msgspec.structs.replace(a_message("d1"), content=Image(media=media))
    await gateway.order(message)
    await until("it has failed", lambda: gateway.has_status([message], "failed"))


async def test_a_new_device_is_paired_by_a_scan_over_rpc(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1", jid=None)
    await until("a QR code is shown", lambda: has_state(gateway, "d1", "qr"))
    shown = await gateway.session("d1")
    assert shown.qr
    reply = await ask(gateway, SandboxScan(tenant=TENANT, device="d1", phone="628123456789"))
    assert reply == Paired(jid="628123456789@s.whatsapp.net")
    await until("it is connected", lambda: has_state(gateway, "d1", "connected"))
    paired = await gateway.session("d1")
    assert (paired.paired, paired.jid, paired.qr) == (True, "628123456789@s.whatsapp.net", None)


async def test_a_scan_is_refused_where_there_is_nothing_to_scan(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    await until("it is connected", lambda: has_state(gateway, "d1", "connected"))
    assert await ask(gateway, SandboxScan(tenant=TENANT, device="d1")) == Refused(code="DEVICE_NOT_PAIRING")
    assert await ask(gateway, SandboxScan(tenant=TENANT, device="d0")) == Refused(code="DEVICE_NOT_FOUND")


async def test_nobody_answers_for_a_partition_without_owner(gateway: Gateway) -> None:
    with pytest.raises(Unreachable):
        await ask(gateway, SandboxScan(tenant=TENANT, device="d1"))


async def test_a_qr_code_that_ran_out_is_shown_again_on_a_fresh_connect(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    local_shard.engine.pace = msgspec.structs.replace(local_shard.engine.pace, qr_first_s=0.02, qr_next_s=0.02)
    device = await gateway.add_device("d1", jid=None)

    async def timed_out() -> bool:
        session = await gateway.session("d1") if await gateway.state("d1") else None
        return session is not None and session.reason == "qr_timeout"

    await until("the code ran out", timed_out)
    local_shard.engine.pace = msgspec.structs.replace(local_shard.engine.pace, qr_first_s=60.0)
    await gateway.put_device(msgspec.structs.replace(device, connect_generation=2))
    await until("a QR code is shown", lambda: has_state(gateway, "d1", "qr"))
    assert (await gateway.session("d1")).generation == 2


async def test_a_device_is_disconnected_and_connected_as_wanted(gateway: Gateway, local_shard: LocalShard) -> None:
    device = await gateway.add_device("d1")
    await until("it is connected", lambda: has_state(gateway, "d1", "connected"))
    await gateway.put_device(msgspec.structs.replace(device, wanted="disconnected"))
    await until("it is disconnected", lambda: has_state(gateway, "d1", "disconnected"))
    assert (await gateway.session("d1")).reason == "requested"
    await gateway.put_device(device)
    await until("it is connected again", lambda: has_state(gateway, "d1", "connected"))


async def test_a_logout_waits_for_no_backlog_and_what_waits_then_fails(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    await gateway.add_device("d1", pace_per_minute=1)
    first, *waiting = [a_message("d1", to=PHONE_OFF) for _ in range(5)]
    await gateway.order(first, *waiting)
    await until("the first is sent", lambda: gateway.has_status([first], "sent"))
    await gateway.order(Logout(id=ids.uuid7(), tenant=TENANT, device="d1", accepted_at=datetime.now(UTC)))
    await until("it is logged out", lambda: has_state(gateway, "d1", "logged_out"))
    session = await gateway.session("d1")
    assert (session.paired, session.jid, session.reason) == (False, None, "requested")
    await until("what waited has failed", lambda: gateway.has_status(waiting, "failed"))
    await until("the commands are acknowledged", lambda: none_left(gateway))


async def test_a_device_with_nearly_as_many_messages_as_fit_asks_for_no_more_and_loses_none(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    device = await gateway.add_device("d1", wanted="disconnected")
    backlog = [a_message("d1", to=PHONE_OFF) for _ in range(BACKLOG_FULL + 40)]
    await gateway.order(*backlog)
    await until("the api is told", lambda: _is_backlog_full(gateway, True), within_s=60)
    assert await gateway.commands_left() == len(backlog)
    await gateway.put_device(msgspec.structs.replace(device, wanted="connected", connect_generation=2))
    await until("there is room again", lambda: _is_backlog_full(gateway, False), within_s=90)


async def _is_backlog_full(gateway: Gateway, is_full: bool) -> bool:
    return (await gateway.session("d1")).is_backlog_full is is_full


async def test_an_urgent_message_goes_before_what_waits_for_the_pace(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1", pace_per_minute=40)
    bulk = [a_message("d1", priority="bulk") for _ in range(44)]
    await gateway.order(*bulk)
    await until("the burst is used up", lambda: gateway.has_status(bulk[:40], "sent"))
    urgent = a_message("d1", priority="high")
    await gateway.order(urgent)
    await until("all are sent", lambda: gateway.has_status([*bulk, urgent], "sent"), within_s=20)
    sent = [e for e in await gateway.events("d1") if isinstance(e, MessageStatusChanged) and e.status == "sent"]
    assert urgent.id in [event.message_id for event in sent[40:44]]


async def test_a_deleted_device_leaves_nothing_behind(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    await until("it is connected", lambda: has_state(gateway, "d1", "connected"))
    await gateway.delete_device("d1")
    await until("its session is gone", lambda: has_state(gateway, "d1", None))
    assert (await gateway.connection_states("d1"))[-1] == "logged_out"


async def test_a_device_that_rested_is_unlinked_when_it_is_deleted(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1", wanted="disconnected")
    await until("it is known", lambda: is_known(local_shard, "d1"))
    assert not any(partition._seats for partition in local_shard.shard.partitions.values())
    await gateway.delete_device("d1")
    await until("its session is gone", lambda: has_state(gateway, "d1", None))
    assert await gateway.connection_states("d1") == ["connecting", "connected", "logged_out"]


def is_known(local_shard: LocalShard, device: str) -> bool:
    return f"{TENANT}.{device}" in local_shard.shard._devices


async def test_a_device_that_was_deleted_while_nobody_owned_it_is_forgotten(gateway: Gateway) -> None:
    await gateway.add_device("d1")
    await gateway.delete_device("d1")
    async with LocalShard(gateway.url):
        await until("its session is gone", lambda: has_state(gateway, "d1", None))


async def test_a_paced_device_sends_at_its_pace_and_holds_up_nobody(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("slow", pace_per_minute=60)
    await gateway.add_device("quick")
    slow = [a_message("slow") for _ in range(65)]
    quick = [a_message("quick") for _ in range(20)]
    await gateway.order(*slow, *quick)
    await until("the quick ones are read", lambda: gateway.has_status(quick, "read"))
    assert not await gateway.has_status(slow, "sent")
    await until("the slow ones are sent", lambda: gateway.has_status(slow, "sent"), within_s=30)
    sent = [e.at for e in await gateway.events("slow") if isinstance(e, MessageStatusChanged) and e.status == "sent"]
    assert (sent[-1] - sent[0]).total_seconds() > 4.5  # sixty at once, then five more at one a second


async def test_whoever_waits_for_the_outcome_hears_it(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    subscription = await gateway.bus.nc.subscribe("reply.here")
    await gateway.bus.nc.flush()
    await gateway.order(a_message("d1", reply_to="reply.here"))
    heard = await subscription.next_msg(timeout=10)
    fact = msgspec.json.decode(heard.data, type=MessageStatusChanged)
    assert fact.status == "sent"
    assert fact.whatsapp_id


async def test_a_command_that_comes_again_is_not_sent_again(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    message = a_message("d1")
    await gateway.order(message)
    await until("it is read", lambda: gateway.has_status([message], "read"))
    # Published under another id, so that the stream takes it as a new command.
    subject = subjects.command(partition_of("d1", subjects.COMMAND_PARTITIONS), TENANT, "d1", "send")
    await gateway.bus.publish(subject, msgspec.json.encode(message), msg_id="repeat")
    await until("the repeat is acknowledged", lambda: none_left(gateway))
    assert [f.status for f in (await gateway.statuses("d1"))[message.id]].count("sent") == 1


async def test_a_command_that_cannot_be_read_is_kept_with_its_reason(gateway: Gateway, local_shard: LocalShard) -> None:
    await gateway.add_device("d1")
    subject = subjects.command(partition_of("d1", subjects.COMMAND_PARTITIONS), TENANT, "d1", "send")
    await gateway.bus.publish(subject, b"{}")
    message = a_message("d1")
    await gateway.order(message)
    await until("the one behind it is read", lambda: gateway.has_status([message], "read"))
    assert await gateway.bus.last_by_subject("DEAD", subjects.dead("commands", TENANT, "d1")) is not None


async def test_a_command_in_the_wrong_partition_opens_no_second_session(
    gateway: Gateway, local_shard: LocalShard
) -> None:
    await gateway.add_device("d1")
    await until("it is connected", lambda: has_state(gateway, "d1", "connected"))
    wrong = (partition_of("d1", subjects.COMMAND_PARTITIONS) + 1) % subjects.COMMAND_PARTITIONS
    message = a_message("d1")
    await gateway.bus.publish(subjects.command(wrong, TENANT, "d1", "send"), msgspec.json.encode(message))
    await until("it is given up", lambda: none_left(gateway))
    assert await gateway.bus.last_by_subject("DEAD", subjects.dead("commands", TENANT, "d1")) is not None
    assert await gateway.connection_states("d1") == ["connecting", "connected"]


async def test_an_outage_of_the_bus_loses_nothing(
    gateway: Gateway, nats_server: NatsServer, local_shard: LocalShard
) -> None:
    await gateway.add_device("d1")
    messages = [a_message("d1") for _ in range(100)]
    await gateway.order(*messages)
    await until("some are sent", lambda: gateway.has_status(messages[:10], "sent"))
    await nats_server.kill()
    await asyncio.sleep(0.5)
    await nats_server.restart()
    await until("the bus is back", lambda: gateway.bus.connected)
    await until("all have an end", lambda: gateway.has_status(messages, "sent", "unknown"), within_s=30)
    said = await gateway.statuses("d1")
    assert all([f.status for f in said[message.id]].count("sent") <= 1 for message in messages)
    numbered = [(event.epoch, event.seq) for event in await gateway.events("d1")]
    assert numbered == sorted(numbered)
