"""One device at one owner, with an engine that does what a test says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.contracts.content import Address, Text
from kurir.contracts.events import ConnectionUpdate, MessageStatusChanged, MessageUpserted
from kurir.contracts.records import Device, SealedProxy, Session
from kurir.runtime.broker import Bus
from kurir.runtime.lease import Lease
from kurir.runtime.metrics import Metrics
from kurir.runtime.objects import ObjectStore
from kurir.runtime.proxies import seal_context
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey, new_master_key
from kurir.session_node import session as session_module
from kurir.session_node.admission import Admission
from kurir.session_node.engine_room import EngineRoom
from kurir.session_node.engines.engine import (
    Capability,
    NotConnected,
    Observation,
    ReceiptSeen,
    Received,
    Report,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.requests import RequestFailed
from kurir.session_node.link_preview import LinkPreviews
from kurir.session_node.meters import Meters
from kurir.session_node.session import DeviceSession
from kurir.session_node.shared import Shared
from kurir.session_node.web_pages import WebPages
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import FRIEND, TENANT, Gateway

CHAT = Address(jid=FRIEND)


class PuppetSession:
    def __init__(self, spec: SessionSpec, report: Report) -> None:
        self.spec = spec
        self.report = report
        self.is_closed = False

    async def send(self, order: SendOrder) -> Sent:
        raise NotConnected

    async def logout(self) -> None:
        raise NotConnected

    async def close(self) -> None:
        self.is_closed = True


class Puppet:
    """Connects at once, and reports what it is told to."""

    name = "sandbox"
    capabilities: frozenset[Capability] = frozenset({"send.text"})

    def __init__(self) -> None:
        self.opened: list[PuppetSession] = []
        self.forgotten: list[str] = []
        self.failures_at_start: list[Exception] = []

    async def start(self) -> None:
        if self.failures_at_start:
            raise self.failures_at_start.pop()

    async def open(self, spec: SessionSpec, report: Report) -> PuppetSession:
        session = PuppetSession(spec, report)
        self.opened.append(session)
        report(StateChanged(state="connected", jid="628@s.whatsapp.net", phone="628"))
        return session

    async def forget(self, spec: SessionSpec) -> None:
        self.forgotten.append(spec.device)

    async def stop(self) -> None: ...

    def report(self, observation: Observation) -> None:
        self.opened[-1].report(observation)


class Stage:
    """A session with what it needs."""

    def __init__(self, bus: Bus, gateway: Gateway) -> None:
        self.bus = bus
        self.gateway = gateway
        self.puppet: Puppet = Puppet()
        self.sessions = Registry(bus, "sessions", Session)
        self.meters = Meters(Metrics())
        self.master_key: MasterKey | None = MasterKey.parse(new_master_key())
        self.session: DeviceSession | None = None
        self.silent_after_s = 60.0

    async def play(self, device: Device, holder: str = "h") -> DeviceSession:
        lease = Lease(self.bus, "leases", "p00", holder=holder, node="n", ttl_s=60)
        assert await lease.claim()
        shared = Shared(
            bus=self.bus,
            media=ObjectStore(self.bus, "media"),
            sessions=self.sessions,
            engines=EngineRoom({"sandbox": lambda: self.puppet}),
            admission=Admission({}),
            meters=self.meters,
            previews=LinkPreviews(WebPages),
            node="n",
            shard="n-0",
            inbound_media_max_bytes=1000,
            master_key=self.master_key,
            silent_after_s=self.silent_after_s,
        )
        self.session = DeviceSession(TENANT, device.id, device, shared, lease, on_change=lambda: None)
        self.session.start()
        await until("the session is connected", lambda: self.session is not None and self.session.is_connected)
        return self.session


@pytest.fixture
async def stage(bus: Bus, nats_server: NatsServer) -> AsyncIterator[Stage]:
    stage = Stage(bus, await Gateway.open(bus, nats_server.url))
    await stage.sessions.start()
    yield stage
    if stage.session is not None:
        async with asyncio.timeout(20):
            await stage.session.stop(is_lost=False)
    await stage.sessions.stop()


def a_text(whatsapp_id: str, **known: Any) -> Received:
    return Received(
        whatsapp_id=whatsapp_id,
        chat=CHAT,
        sender=CHAT,
        content=Text(text=whatsapp_id),
        sent_at=datetime.now(UTC),
        **known,
    )


def a_receipt(whatsapp_id: str) -> ReceiptSeen:
    return ReceiptSeen(whatsapp_ids=(whatsapp_id,), status="read", chat=CHAT, sender=CHAT, at=datetime.now(UTC))


async def received(gateway: Gateway) -> list[str]:
    return [event.whatsapp_id for event in await gateway.events("d1") if isinstance(event, MessageUpserted)]


async def test_what_is_received_is_told_in_its_order_and_once(stage: Stage) -> None:
    await stage.play(await stage.gateway.add_device("d1"))
    names = [f"w{n}" for n in range(600)]
    for name in names:
        stage.puppet.report(a_text(name))
        stage.puppet.report(a_text(name))

    async def all_told() -> bool:
        return await received(stage.gateway) == names

    await until("all are told", all_told)


async def test_a_device_whose_events_cannot_be_stored_stops_listening_until_they_are(
    stage: Stage, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "WAITING_LIMIT", 50)
    session = await stage.play(await stage.gateway.add_device("d1"))
    await nats_server.kill()
    names = [f"w{n}" for n in range(400)]
    for name in names:
        stage.puppet.report(a_text(name))
    first = stage.puppet.opened[0]
    await until("the connection is closed", lambda: first.is_closed)
    await nats_server.restart()
    await until("it is opened again", lambda: len(stage.puppet.opened) == 2, within_s=30)
    await until("it is connected again", lambda: session.is_connected)

    async def all_told() -> bool:
        return await received(stage.gateway) == names

    await until("nothing was lost", all_told, within_s=30)


async def test_a_device_whose_engine_cannot_be_started_says_so_and_is_tried_again(stage: Stage) -> None:
    stage.puppet.failures_at_start = [RuntimeError("is libmagic installed?")]
    await stage.play(await stage.gateway.add_device("d1"))

    async def said() -> list[tuple[str, str | None]]:
        events = await stage.gateway.events("d1")
        return [(event.state, event.reason) for event in events if isinstance(event, ConnectionUpdate)]

    async def is_told() -> bool:
        return await said() == [("disconnected", "engine_unavailable"), ("connected", None)]

    await until("both are told", is_told)


async def test_a_receipt_of_a_message_that_a_former_owner_sent_finds_it(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1")
    former = await stage.play(device)
    at = datetime.now(UTC)
    await former.log.append(
        MessageStatusChanged(
            id="m1-sent", tenant=TENANT, device="d1", at=at, message_id="m1", status="sent", to=FRIEND, whatsapp_id="w1"
        )
    )
    await former.stop(is_lost=False)
    await former.lease.release()
    await stage.play(device, holder="next")
    stage.puppet.report(a_receipt("w1"))
    stage.puppet.report(a_receipt("somebody elses"))

    async def is_read() -> bool:
        facts = [event for event in await stage.gateway.events("d1") if isinstance(event, MessageStatusChanged)]
        return [(fact.message_id, fact.status) for fact in facts] == [("m1", "sent"), ("m1", "read")]

    await until("it is read", is_read)


async def test_a_message_that_its_receiver_cannot_read_is_undelivered_unless_another_device_has_it(
    stage: Stage,
) -> None:
    session = await stage.play(await stage.gateway.add_device("d1"))
    group = "120363041@g.us"
    for number, to in enumerate((FRIEND, FRIEND, group)):
        session.was_sent(f"w{number}", f"m{number}", to)
    unreadable = msgspec.structs.replace(a_receipt("w0"), status="unreadable")
    stage.puppet.report(unreadable)
    stage.puppet.report(unreadable)
    stage.puppet.report(a_receipt("w1"))
    stage.puppet.report(msgspec.structs.replace(unreadable, whatsapp_ids=("w1",)))
    stage.puppet.report(msgspec.structs.replace(unreadable, whatsapp_ids=("w2",)))
    stage.puppet.report(a_receipt("w2"))

    async def last_was_told() -> bool:
        return any(getattr(event, "message_id", "") == "m2" for event in await stage.gateway.events("d1"))

    await until("the last receipt was told", last_was_told)
    facts = [event for event in await stage.gateway.events("d1") if isinstance(event, MessageStatusChanged)]
    assert [(fact.message_id, fact.status, fact.reason) for fact in facts] == [
        ("m0", "undelivered", "unreadable"),
        ("m1", "read", None),
        ("m2", "read", None),
    ]
    assert facts[0].recipient == CHAT


async def test_a_pairing_whose_record_was_lost_is_taken_from_its_event(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1", jid=None)
    former = await stage.play(device)
    await former.stop(is_lost=False)
    await former.lease.release()
    await stage.sessions.delete(f"{TENANT}.d1")
    await stage.play(device, holder="next")
    assert stage.puppet.opened[-1].spec.jid == "628@s.whatsapp.net"


async def test_a_pairing_that_memory_has_not_heard_of_yet_is_read_before_the_device_is_connected(stage: Stage) -> None:
    await stage.sessions.stop()  # what the former owner wrote last is on its way to us, for as long as it takes
    await stage.play(await stage.gateway.add_device("d1", jid="628999@s.whatsapp.net"))
    assert stage.puppet.opened[-1].spec.jid == "628999@s.whatsapp.net"


async def test_a_lost_lease_closes_the_session_and_says_nothing_about_it(stage: Stage) -> None:
    session = await stage.play(await stage.gateway.add_device("d1"))
    stage.puppet.report(a_text("w1"))
    session.lease.abandon()
    await session.stop(is_lost=True)
    assert stage.puppet.opened[0].is_closed
    assert await received(stage.gateway) == ["w1"]
    states = [event.state for event in await stage.gateway.events("d1") if isinstance(event, ConnectionUpdate)]
    assert states == ["connected"]


async def test_a_former_owner_tells_what_it_received_and_nothing_of_the_connection(stage: Stage) -> None:
    session = await stage.play(await stage.gateway.add_device("d1"))
    session.lease.abandon()
    stage.puppet.report(StateChanged(state="replaced"))
    stage.puppet.report(a_text("w1"))
    await session.stop(is_lost=True)
    assert await received(stage.gateway) == ["w1"]
    assert await stage.gateway.connection_states("d1") == ["connected"]
    assert await stage.gateway.state("d1") == "connected"


async def test_a_late_word_of_a_former_owner_does_not_change_what_the_next_one_knows(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1")
    former = await stage.play(device)
    await former.lease.release()
    await former.stop(is_lost=True)
    second = await stage.play(device, holder="second")
    await second.stop(is_lost=False)
    await second.lease.release()
    at = datetime.now(UTC) + timedelta(seconds=5)
    await former.log.append(ConnectionUpdate(id="late", tenant=TENANT, device="d1", at=at, state="replaced"))
    assert (await stage.gateway.events("d1"))[-1].epoch < (await stage.gateway.session("d1")).epoch
    third = await stage.play(device, holder="third")
    assert third.is_connected


async def test_a_former_owner_does_not_overwrite_the_record_of_the_next(stage: Stage) -> None:
    """Its lease is over the moment before it writes: the record's epoch is what it is measured by."""
    device = await stage.gateway.add_device("d1")
    session = await stage.play(device)
    await session.stop(is_lost=False)
    theirs = msgspec.structs.replace(
        await stage.gateway.session("d1"), epoch=session.lease.token + 1, state="connected"
    )
    await stage.gateway.bus.js.publish(f"$KV.sessions.{TENANT}.d1", msgspec.json.encode(theirs))
    await until("it is seen", lambda: stage.sessions.get(f"{TENANT}.d1") == theirs)
    session.backlog_changed(is_full=True)
    await session.stop(is_lost=False)
    assert await stage.gateway.session("d1") == theirs


async def test_what_an_engine_says_after_its_session_was_replaced_is_not_heard(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1")
    session = await stage.play(device)
    stage.puppet.report(StateChanged(state="disconnected", reason="qr_timeout"))
    await until("the session is put away", lambda: not session.is_open)
    session.device_changed(
        Device(**{name: getattr(device, name) for name in device.__struct_fields__} | {"connect_generation": 2})
    )
    await until("another is open", lambda: len(stage.puppet.opened) == 2 and session.is_connected)
    stage.puppet.opened[0].report(StateChanged(state="banned"))
    assert session.is_connected


def with_proxy(stage: Stage, device: Device, url: str) -> Device:
    assert stage.master_key is not None
    sealed = stage.master_key.seal(url, seal_context(device.tenant, device.id))
    return msgspec.structs.replace(device, proxy=SealedProxy(sealed=sealed, shown="http://***"))


async def test_a_devices_proxy_is_opened_for_the_engine_and_another_one_connects_anew(stage: Stage) -> None:
    device = with_proxy(stage, await stage.gateway.add_device("d1"), "http://u:one@proxy:80")
    session = await stage.play(device)
    opened = stage.puppet.opened
    assert [one.spec.proxy for one in opened] == ["http://u:one@proxy:80"]
    session.device_changed(msgspec.structs.replace(device, name="another name"))
    session.device_changed(with_proxy(stage, device, "http://u:two@proxy:80"))
    await until("it is opened anew", lambda: len(opened) == 2)
    assert opened[0].is_closed
    assert opened[1].spec.proxy == "http://u:two@proxy:80"
    session.device_changed(msgspec.structs.replace(device, proxy=None))
    await until("it is opened anew", lambda: len(opened) == 3)
    assert opened[2].spec.proxy is None
    await until("it is connected", lambda: session.is_connected)


async def test_a_device_whose_proxy_cannot_be_opened_is_left_alone_and_says_so(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1")
    session = await stage.play(device)
    strange = MasterKey.parse(new_master_key()).seal("http://proxy:80", seal_context(device.tenant, device.id))
    session.device_changed(msgspec.structs.replace(device, proxy=SealedProxy(sealed=strange, shown="http://proxy:80")))

    async def says_so() -> bool:
        last = [event for event in await stage.gateway.events("d1") if isinstance(event, ConnectionUpdate)][-1]
        return last.state == "disconnected" and last.reason == "proxy_refused"

    await until("it says so", says_so)
    assert len(stage.puppet.opened) == 1
    assert stage.puppet.opened[0].is_closed


async def test_keys_that_cannot_be_removed_now_are_removed_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "retry_pause_s", lambda failures: 0.01)
    session = await stage.play(await stage.gateway.add_device("d1"))
    troubles = [OSError("the store is away"), OSError("still away")]

    async def forget(spec: SessionSpec) -> None:
        if troubles:
            raise troubles.pop()
        stage.puppet.forgotten.append(spec.device)

    monkeypatch.setattr(stage.puppet, "forget", forget)
    session.device_changed(None)
    await until("the keys are removed", lambda: stage.puppet.forgotten == ["d1"])
    assert not troubles


class Silent(PuppetSession):
    """Says connected, and answers pings only while it is told to."""

    def __init__(self, spec: SessionSpec, report: Report, answers: bool) -> None:
        super().__init__(spec, report)
        self.answers = answers
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        if not self.answers:
            raise RequestFailed("server_unavailable", "no answer within 30 s")


class SilentPuppet(Puppet):
    """Its first session does not answer, all others do."""

    async def open(self, spec: SessionSpec, report: Report) -> PuppetSession:
        session = Silent(spec, report, answers=bool(self.opened))
        self.opened.append(session)
        report(StateChanged(state="connected", jid="628@s.whatsapp.net", phone="628"))
        return session


async def test_a_session_that_says_connected_and_answers_nothing_is_opened_again_and_the_reason_is_told(
    stage: Stage,
) -> None:
    stage.puppet, stage.silent_after_s = SilentPuppet(), 0.05
    gateway = stage.gateway
    await stage.play(await gateway.add_device("d1"))
    await until("it is opened again", lambda: len(stage.puppet.opened) == 2)
    first, second = stage.puppet.opened
    assert isinstance(first, Silent)
    assert isinstance(second, Silent)
    assert (first.is_closed, first.pings) == (True, 2)
    await until("the second one was asked several times", lambda: second.pings >= 3)

    async def is_told() -> bool:
        told = [event for event in await gateway.events("d1") if isinstance(event, ConnectionUpdate)]
        return [(event.state, event.reason, event.detail) for event in told] == [
            ("connected", None, None),
            ("disconnected", "connection_lost", "silent: server_unavailable: no answer within 30 s"),
            ("connected", None, None),
        ]

    await until("all of it is told", is_told)
    assert len(stage.puppet.opened) == 2, "one that answers is left alone"
