"""Questions to the owner of a device: answered, refused with a reason, and never in each other's way."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, TypeVar

import msgspec
import pytest
from PIL import Image as Picture

from kurir.contracts import queries, subjects
from kurir.contracts.content import Media
from kurir.contracts.groups import Group
from kurir.contracts.people import Privacy
from kurir.contracts.queries import Question, Refused
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.runtime.broker import Bus
from kurir.runtime.objects import ObjectStore
from kurir.runtime.partitions import partition_of
from kurir.session_node import rpc
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import FRIEND, TENANT, Gateway, LocalShard

SLOW = "628125550103@s.whatsapp.net"
NEVER = "628125550104@s.whatsapp.net"
TOO_FAST = "628125550113@s.whatsapp.net"
LONG_S = 60.0  # longer than any test waits

A = TypeVar("A")


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def shard(gateway: Gateway) -> AsyncIterator[LocalShard]:
    async with LocalShard(gateway.url) as shard:
        shard.engine.pace = msgspec.structs.replace(shard.engine.pace, slow_s=LONG_S, timeout_s=LONG_S)
        await until("it owns every partition", lambda: len(shard.shard.owned) == subjects.COMMAND_PARTITIONS)
        yield shard


async def connect(gateway: Gateway, device: str) -> None:
    await gateway.add_device(device)

    async def is_connected() -> bool:
        return await gateway.state(device) == "connected"

    await until(f"{device} is connected", is_connected)


async def ask(gateway: Gateway, question: Question[A], within_s: float = 10.0) -> A | Refused:
    subject = subject_of(question)
    return queries.decode_reply(question, await gateway.bus.request(subject, msgspec.json.encode(question), within_s))


def subject_of(question: Question[Any]) -> str:
    return subjects.rpc(partition_of(question.device, subjects.COMMAND_PARTITIONS), queries.method_of(question).name)


def picture_of(jid: str, device: str = "d1") -> queries.ShowPicture:
    return queries.ShowPicture(tenant=TENANT, device=device, jid=jid)


def neighbours() -> tuple[str, str]:
    """Two devices of one partition."""
    first = partition_of("d1", subjects.COMMAND_PARTITIONS)
    others = (f"d{n}" for n in itertools.count(2))
    return "d1", next(one for one in others if partition_of(one, subjects.COMMAND_PARTITIONS) == first)


async def test_questions_of_every_kind_are_answered(gateway: Gateway, shard: LocalShard) -> None:
    await connect(gateway, "d1")
    facts: dict[str, Any] = {"tenant": TENANT, "device": "d1"}
    group = await ask(gateway, queries.CreateGroup(**facts, id="g1", subject="Office", members=(FRIEND,)))
    assert isinstance(group, Group)
    picture = await a_picture(gateway)
    asked: tuple[Question[Any], ...] = (
        queries.ListGroups(**facts),
        queries.ShowGroup(**facts, group=group.jid),
        queries.ChangeMembers(**facts, group=group.jid, change="promote", members=(FRIEND,)),
        queries.ShowInviteLink(**facts, group=group.jid),
        queries.RenewInviteLink(**facts, group=group.jid),
        queries.SetSubject(**facts, group=group.jid, subject="Office 2"),
        queries.SetDescription(**facts, group=group.jid, description="Us"),
        queries.SetGroupRights(**facts, group=group.jid, is_announce=True),
        queries.SetDisappearing(**facts, group=group.jid, seconds=86_400),
        queries.SetGroupPicture(**facts, group=group.jid, picture=picture),
        queries.ShowInvitation(**facts, code="AbCdEfGhIj"),
        queries.JoinGroup(**facts, code="AbCdEfGhIj"),
        queries.ListContacts(**facts),
        queries.CheckNumbers(**facts, phones=("6281234567",)),
        queries.ShowPicture(**facts, jid=FRIEND),
        queries.ShowAbout(**facts, jid=FRIEND),
        queries.SetName(**facts, name="Office"),
        queries.SetAbout(**facts, about="At work"),
        queries.SetPicture(**facts, picture=picture),
        queries.RemovePicture(**facts),
        queries.ShowPrivacy(**facts),
        queries.SetPrivacy(**facts, privacy=Privacy(last_seen="contacts")),
        queries.SetBlocked(**facts, jid=FRIEND, blocked=True),
        queries.ListBlocked(**facts),
        queries.ShowPresence(**facts, online=True),
        queries.ShowTyping(**facts, chat=FRIEND, state="typing"),
        queries.WatchPresence(**facts, jid=FRIEND),
        queries.MarkRead(**facts, keys=()),
        queries.ArchiveChat(**facts, chat=FRIEND, archived=True),
        queries.MarkUnread(**facts, chat=FRIEND),
        queries.ListLabels(**facts),
        queries.LabelChat(**facts, chat=FRIEND, label="1", labeled=True),
        queries.LeaveGroup(**facts, group=group.jid),
    )
    for question in asked:
        assert isinstance(await ask(gateway, question), queries.method_of(question).answer)
    assert {queries.method_of(one).name for one in asked} | {"groups.create", "sandbox.scan"} == set(queries.METHODS)


async def a_picture(gateway: Gateway) -> Media:
    file = BytesIO()
    Picture.new("RGB", (8, 8), "teal").save(file, "PNG")

    async def whole() -> AsyncIterator[bytes]:
        yield file.getvalue()

    info = await ObjectStore(gateway.bus, MEDIA_BUCKET).put_stream(f"{TENANT}/m1", whole(), max_bytes=10_000)
    return Media(object=info.name, mimetype="image/png", size=info.size, sha256=info.sha256)


async def test_a_device_that_answers_slowly_holds_up_no_other(gateway: Gateway, shard: LocalShard) -> None:
    slow, quick = neighbours()
    await connect(gateway, slow)
    await connect(gateway, quick)
    waiting = [asyncio.create_task(ask(gateway, picture_of(SLOW, slow), LONG_S)) for _ in range(rpc.AT_ONCE * 3)]
    assert isinstance(await ask(gateway, picture_of(FRIEND, quick)), queries.PictureShown)
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


async def test_a_device_that_is_asked_too_much_is_refused_and_answers_again(
    gateway: Gateway, shard: LocalShard
) -> None:
    await connect(gateway, "d1")
    shard.engine.pace = msgspec.structs.replace(shard.engine.pace, slow_s=1.0)
    replies = await asyncio.gather(*(ask(gateway, picture_of(SLOW), LONG_S) for _ in range(rpc.MOST_OF_DEVICE + 8)))
    refused = [reply for reply in replies if isinstance(reply, Refused)]
    assert len(refused) == 8
    assert all(reply.code == "TOO_MANY_REQUESTS" and reply.retry_after_s for reply in refused)
    assert isinstance(await ask(gateway, picture_of(FRIEND)), queries.PictureShown)


async def test_what_the_engine_cannot_do_is_refused_by_name(gateway: Gateway, shard: LocalShard) -> None:
    shard.engine.capabilities -= {"groups"}
    await connect(gateway, "d1")
    reply = await ask(gateway, queries.ListGroups(tenant=TENANT, device="d1"))
    assert reply == Refused(code="NOT_SUPPORTED", capability="groups")
    assert isinstance(await ask(gateway, picture_of(FRIEND)), queries.PictureShown)


async def test_a_device_that_is_not_connected_says_so(gateway: Gateway, shard: LocalShard) -> None:
    await gateway.add_device("d1", wanted="disconnected")

    async def is_known() -> bool:
        return await ask(gateway, picture_of(FRIEND)) == Refused(code="DEVICE_NOT_CONNECTED")

    await until("its owner knows of it", is_known)
    assert await ask(gateway, picture_of(FRIEND, "d0")) == Refused(code="DEVICE_NOT_FOUND")


async def test_a_refusal_of_whatsapp_has_its_reason_and_when_to_ask_again(gateway: Gateway, shard: LocalShard) -> None:
    await connect(gateway, "d1")
    reply = await ask(gateway, picture_of(TOO_FAST))
    assert isinstance(reply, Refused)
    assert (reply.code, reply.reason, reply.retry_after_s) == ("TOO_MANY_REQUESTS", "rate_overlimit", 1.0)
    missing = await ask(gateway, queries.ShowGroup(tenant=TENANT, device="d1", group="120363000000000000@g.us"))
    assert isinstance(missing, Refused)
    assert (missing.code, missing.reason) == ("GROUP_NOT_FOUND", "group_left")


async def test_no_answer_in_time_is_unknown_for_changes_alone(
    gateway: Gateway, shard: LocalShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "ANSWER_WITHIN_S", 0.2)
    await connect(gateway, "d1")
    read = await ask(gateway, picture_of(NEVER))
    changed = await ask(
        gateway, queries.CreateGroup(tenant=TENANT, device="d1", id="g1", subject="Office", members=(NEVER,))
    )
    assert isinstance(read, Refused)
    assert isinstance(changed, Refused)
    assert (read.code, changed.code) == ("NO_ANSWER", "OUTCOME_UNKNOWN")


async def test_who_asks_an_owner_that_leaves_is_told_at_once(gateway: Gateway, shard: LocalShard) -> None:
    await connect(gateway, "d1")
    read = asyncio.create_task(ask(gateway, picture_of(SLOW)))
    create = queries.CreateGroup(tenant=TENANT, device="d1", id="g1", subject="Office", members=(SLOW,))
    change = asyncio.create_task(ask(gateway, create))
    assert isinstance(await ask(gateway, picture_of(FRIEND)), queries.PictureShown)  # those before it have begun
    await shard.stop()
    replies = [await read, await change]
    assert [reply.code for reply in replies if isinstance(reply, Refused)] == ["SESSION_UNOWNED", "OUTCOME_UNKNOWN"]


async def test_what_is_no_question_is_refused(gateway: Gateway, shard: LocalShard) -> None:
    async def refusal(method: str, body: bytes) -> str:
        reply = await gateway.bus.request(subjects.rpc(3, method), body, 10.0)
        return msgspec.json.decode(reply, type=Refused).code

    assert await refusal("groups.list", b"{}") == "VALIDATION_ERROR"
    assert await refusal("groups.list", b"nonsense") == "VALIDATION_ERROR"
    assert await refusal("groups.burn", b"{}") == "NOT_SUPPORTED"


async def test_a_repeat_of_a_creation_makes_no_second_group(gateway: Gateway, shard: LocalShard) -> None:
    await connect(gateway, "d1")
    create = queries.CreateGroup(tenant=TENANT, device="d1", id="g1", subject="Office")
    repeat = msgspec.structs.replace(create, is_repeat=True)
    first, again = await ask(gateway, create), await ask(gateway, repeat)
    assert isinstance(first, Group)
    assert again == first
    unknown = await ask(gateway, msgspec.structs.replace(repeat, id="g2"))
    assert isinstance(unknown, Refused)
    assert unknown.code == "OUTCOME_UNKNOWN"
    listed = await ask(gateway, queries.ListGroups(tenant=TENANT, device="d1"))
    assert isinstance(listed, queries.GroupPage)
    assert len(listed.groups) == 1
