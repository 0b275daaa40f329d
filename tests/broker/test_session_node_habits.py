"""What a device does by itself, as its tenant chose: messages are read when they are stored, and it appears online."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kurir.contracts.content import STATUS, Address, MessageKey, Text
from kurir.contracts.events import MessageQueued
from kurir.contracts.people import TypingState
from kurir.contracts.records import DeviceSettings
from kurir.runtime.broker import Bus
from kurir.session_node.engines.engine import Report, SessionSpec, StateChanged
from kurir.session_node.engines.observations import CallSeen, StatusPosted
from kurir.session_node.engines.requests import RequestFailed
from tests.broker.test_session_node_session import CHAT, Puppet, PuppetSession, Stage, a_text, received
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway

GROUP = Address(jid="120363@g.us")


class Reader(PuppetSession):
    """Notes what it is asked to show and to mark."""

    def __init__(self, spec: SessionSpec, report: Report) -> None:
        super().__init__(spec, report)
        self.shown: list[bool] = []
        self.read: list[MessageKey] = []
        self.rejected: list[tuple[str, str]] = []
        self.refuses = False

    async def show_online(self, online: bool) -> None:
        self.shown.append(online)

    async def show_typing(self, chat: str, state: TypingState) -> None: ...

    async def watch_presence(self, jid: str) -> None: ...

    async def mark_read(self, keys: tuple[MessageKey, ...], played: bool) -> None:
        if self.refuses:
            raise RequestFailed("server_unavailable", "no answer within 30 s")
        self.read += keys

    async def reject_call(self, caller: str, call_id: str) -> None:
        if self.refuses:
            raise RequestFailed("server_unavailable", "no answer within 30 s")
        self.rejected.append((caller, call_id))


def a_call(call_id: str, *, age_s: float = 0.0) -> CallSeen:
    caller = Address(jid="100628@lid", pn=CHAT.jid, lid="100628@lid")
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return CallSeen(call_id=call_id, chat=caller, sender=caller, state="offered", at=at)


async def ordered(stage: Stage) -> list[MessageQueued]:
    """What the device has ordered of itself."""
    return [event for event in await stage.gateway.events() if isinstance(event, MessageQueued)]


class Readers(Puppet):
    async def open(self, spec: SessionSpec, report: Report) -> PuppetSession:
        session = Reader(spec, report)
        self.opened.append(session)
        report(StateChanged(state="connected", jid="628@s.whatsapp.net", phone="628"))
        return session

    @property
    def reader(self) -> Reader:
        session = self.opened[-1]
        assert isinstance(session, Reader)
        return session


@pytest.fixture
async def stage(bus: Bus, nats_server: NatsServer) -> AsyncIterator[Stage]:
    stage = Stage(bus, await Gateway.open(bus, nats_server.url))
    stage.puppet = Readers()
    await stage.sessions.start()
    yield stage
    if stage.session is not None:
        async with asyncio.timeout(20):
            await stage.session.stop(is_lost=False)
    await stage.sessions.stop()


async def played(stage: Stage, settings: DeviceSettings) -> Reader:
    device = msgspec.structs.replace(await stage.gateway.add_device("d1"), settings=settings)
    await stage.play(device)
    assert isinstance(stage.puppet, Readers)
    return stage.puppet.reader


async def test_messages_are_read_when_they_are_stored_and_ones_own_are_not(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(read_messages=True))
    stage.puppet.report(a_text("w1"))
    stage.puppet.report(a_text("w2", from_me=True))
    stage.puppet.report(msgspec.structs.replace(a_text("w3"), chat=GROUP, is_group=True))
    await until("two are read", lambda: len(reader.read) == 2)
    assert reader.read == [
        MessageKey(chat=CHAT.jid, whatsapp_id="w1"),
        MessageKey(chat=GROUP.jid, whatsapp_id="w3", participant=CHAT.jid),
    ]
    assert await received(stage.gateway) == ["w1", "w2", "w3"]


async def test_status_updates_are_seen_where_that_is_chosen(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(read_status=True))
    stage.puppet.report(a_text("w1"))
    stage.puppet.report(StatusPosted(whatsapp_id="s1", sender=CHAT))
    await until("it is seen", lambda: bool(reader.read))
    assert reader.read == [MessageKey(chat=STATUS, whatsapp_id="s1", participant=CHAT.jid)]

    async def is_told() -> bool:
        return await received(stage.gateway) == ["w1"]

    await until("the message alone is told", is_told)


async def test_nothing_is_read_for_who_has_not_chosen_it(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings())
    stage.puppet.report(StatusPosted(whatsapp_id="s1", sender=CHAT))
    stage.puppet.report(a_text("w1"))

    async def is_told() -> bool:
        return await received(stage.gateway) == ["w1"]

    await until("it is told", is_told)
    assert (reader.read, reader.shown) == ([], [])


async def test_a_mark_that_is_not_taken_is_let_go_and_the_next_one_made(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(read_messages=True))
    reader.refuses = True
    stage.puppet.report(a_text("w1"))

    async def is_told() -> bool:
        return await received(stage.gateway) == ["w1"]

    await until("it is told", is_told)
    reader.refuses = False
    stage.puppet.report(a_text("w2"))
    await until("the next one is read", lambda: [key.whatsapp_id for key in reader.read][-1:] == ["w2"])


async def test_a_device_appears_online_with_each_connection(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(always_online=True))
    await until("it appears online", lambda: reader.shown == [True])
    stage.puppet.report(StateChanged(state="connected", jid="628@s.whatsapp.net", phone="628"))
    await until("it appears online again", lambda: reader.shown == [True, True])


async def test_a_call_is_rejected_and_its_caller_written_to_once(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(reject_call=True, msg_call=" Please write. "))
    stage.puppet.report(a_call("c0", age_s=120))  # rang while the device was away
    for _ in range(2):
        stage.puppet.report(a_call("c1"))
    stage.puppet.report(msgspec.structs.replace(a_call("c1"), state="ended"))
    await until("it is rejected", lambda: bool(reader.rejected))

    async def is_written() -> bool:
        return bool(await ordered(stage))

    await until("the caller is written to", is_written)
    (message,) = await ordered(stage)
    assert (message.to, message.content) == (CHAT.jid, Text(text="Please write."))
    assert message.expires_at is not None
    assert await stage.gateway.commands_left() == 1
    assert reader.rejected == [("100628@lid", "c1")]


async def test_who_only_writes_to_callers_lets_them_ring(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(msg_call="Please write."))
    stage.puppet.report(a_call("c1"))

    async def is_written() -> bool:
        return bool(await ordered(stage))

    await until("the caller is written to", is_written)
    assert reader.rejected == []


async def test_a_caller_who_could_not_be_rejected_is_written_to_all_the_same(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings(reject_call=True, msg_call="Please write."))
    reader.refuses = True
    stage.puppet.report(a_call("c1"))

    async def is_written() -> bool:
        return bool(await ordered(stage))

    await until("the caller is written to", is_written)


async def test_calls_of_who_has_chosen_nothing_ring(stage: Stage) -> None:
    reader = await played(stage, DeviceSettings())
    stage.puppet.report(a_call("c1"))
    stage.puppet.report(a_text("w1"))

    async def is_told() -> bool:
        return await received(stage.gateway) == ["w1"]

    await until("what came after it is told", is_told)
    assert (reader.rejected, await ordered(stage)) == ([], [])
