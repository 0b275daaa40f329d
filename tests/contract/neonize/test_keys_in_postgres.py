"""Keys in PostgreSQL: real devices log in from it wherever they are, own what they paired, and outlive its absence."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from kurir.contracts.states import Reason
from kurir.session_node.engines.engine import NotConnected, SendFailed, SessionSpec
from tests.contract.engine.worlds import Watched
from tests.contract.neonize.people import VERA, VERA_JID, Person
from tests.support.conditions import until
from tests.support.postgres_server import PASSWORD, QUOTED_PASSWORD, PostgresServer
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.tunnel import Tunnel
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTICED_WITHIN_S = 20.0  # 2 s until it is asked and 3 s for its answer, on a busy machine
NOBODY_JID = "628444000999:1@s.whatsapp.net"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.stop())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def way(postgres: PostgresServer, emulator: EmulatorProcess) -> AsyncIterator[Tunnel]:
    """How the engines reach PostgreSQL from where only loopback exists."""
    tunnel = Tunnel(postgres.port)
    await emulator.client.open_door(await tunnel.start())
    yield tunnel
    tunnel.stop()


@pytest.fixture(scope="module")
def store_url(postgres: PostgresServer, way: Tunnel) -> str:
    return postgres.url_at(way.port)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(
    emulator: EmulatorProcess, store_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RemoteEngine]:
    started = RemoteEngine(emulator, tmp_path_factory.mktemp("node"), store_url=store_url)
    await started.start()
    try:
        yield started
    finally:
        await started.end()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other_node(
    emulator: EmulatorProcess, store_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RemoteEngine]:
    """Another process, which shares no folder with the first one."""
    started = RemoteEngine(emulator, tmp_path_factory.mktemp("other-node"), store_url=store_url)
    await started.start()
    try:
        yield started
    finally:
        await started.end()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def citra(node: RemoteEngine, emulator: EmulatorProcess) -> Person:
    person = Person("citra", "628444000001")
    await person.link(node, emulator.client)
    return person


@pytest_asyncio.fixture(loop_scope="session")
async def asked(postgres: PostgresServer) -> AsyncIterator[Any]:
    """A connection of the test to the database."""
    connection = await postgres.connect()
    yield connection
    await connection.close()


async def jids_in(asked: Any, table: str, column: str = "our_jid") -> set[str]:
    return {row[0] for row in await asked.fetch(f"SELECT DISTINCT {column} FROM {table}")}


async def test_a_device_moves_to_another_node_without_a_shared_volume(
    node: RemoteEngine, other_node: RemoteEngine, citra: Person, whatsapp: EmulatorClient
) -> None:
    first = await citra.send(VERA_JID, "from the first node")
    await whatsapp.until_read(VERA, first.whatsapp_id)
    await citra.session.close()
    await whatsapp.say(VERA, citra.phone, "while you moved")
    await citra.open(other_node)
    await citra.until_text("while you moved")
    second = await citra.send(VERA_JID, "echo from the other node")
    await whatsapp.until_read(VERA, second.whatsapp_id)
    await citra.until_text("from the other node")
    await citra.session.close()
    await citra.open(node)
    assert not list(node.folder.rglob("*.db"))


async def test_a_killed_processs_device_logs_in_at_another_node(
    emulator: EmulatorProcess,
    whatsapp: EmulatorClient,
    other_node: RemoteEngine,
    store_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    doomed = RemoteEngine(emulator, tmp_path_factory.mktemp("doomed"), store_url=store_url)
    await doomed.start()
    person = Person("doomed", "628444000002")
    await person.link(doomed, whatsapp)
    await person.send(VERA_JID, "a moment before")
    await doomed.kill()
    await whatsapp.until_offline(person.device)
    await whatsapp.say(VERA, person.phone, "are you there?")
    await person.open(other_node)
    await person.until_text("are you there?")
    sent = await person.send(VERA_JID, "yes")
    await whatsapp.until_read(VERA, sent.whatsapp_id)


async def test_keys_of_another_tenants_device_are_not_found(node: RemoteEngine, citra: Person) -> None:
    for spec in (
        SessionSpec(tenant="t2", device=citra.spec.device, name="Thief", jid=citra.spec.jid),
        SessionSpec(tenant=citra.spec.tenant, device="another", name="Thief", jid=citra.spec.jid),
    ):
        watched = Watched()
        await node.open(spec, watched)
        out = await watched.until_state("logged_out")
        assert out.detail is not None
        assert "not in the store" in out.detail
    assert await citra.send(VERA_JID, "nobody took it")


async def test_keys_that_the_database_never_had_may_be_in_another_and_are_waited_for(node: RemoteEngine) -> None:
    watched = Watched()
    session = await node.open(SessionSpec(tenant="t1", device="unknown", name="Unknown", jid=NOBODY_JID), watched)
    said = await watched.until_state("disconnected", times=2)
    assert said.reason == "device_store_unavailable"
    assert "kurir devices migrate" in (said.detail or "")
    await session.close()
    assert not {"logged_out", "qr"} & set(watched.states())


async def test_two_tenants_link_one_number_and_forgetting_one_leaves_the_other(
    node: RemoteEngine, whatsapp: EmulatorClient, asked: Any
) -> None:
    ours, theirs = Person("ours", "628444000003"), Person("theirs", "628444000003")
    theirs.spec = SessionSpec(tenant="t2", device="theirs", name="Test")
    await ours.link(node, whatsapp)
    await theirs.link(node, whatsapp)
    assert ours.spec.jid != theirs.spec.jid
    await theirs.session.close()
    await node.forget(SessionSpec(tenant="t2", device="theirs", name="", jid=theirs.spec.jid))
    for table, column in (("kurir_device_keys", "jid"), ("whatsmeow_device", "jid"), ("whatsmeow_pre_keys", "jid")):
        assert ours.spec.jid in await jids_in(asked, table, column)
        assert theirs.spec.jid not in await jids_in(asked, table, column)
    sent = await ours.send(VERA_JID, "still ours")
    await whatsapp.until_read(VERA, sent.whatsapp_id)


async def test_a_jid_that_whatsapp_gives_again_belongs_to_whom_it_was_given_last(
    node: RemoteEngine, whatsapp: EmulatorClient, asked: Any
) -> None:
    person = Person("former", "628444000004")
    await person.link(node, whatsapp)
    await person.session.close()
    await asked.execute("UPDATE kurir_device_keys SET tenant = 't2', device = 'latter' WHERE jid = $1", person.spec.jid)
    watched = Watched()
    await node.open(person.spec, watched)
    assert (await watched.until_state("logged_out")).reason == "device_logged_out"
    latter = Watched()
    await node.open(SessionSpec(tenant="t2", device="latter", name="Test", jid=person.spec.jid), latter)
    await latter.until_state("connected")


async def test_pairing_again_leaves_nothing_of_the_former_pairing(
    node: RemoteEngine, whatsapp: EmulatorClient, asked: Any
) -> None:
    person = Person("again", "628444000005")
    await person.link(node, whatsapp)
    await person.send(VERA_JID, "once")
    former = person.spec.jid
    await person.session.close()
    person.spec = SessionSpec(tenant=person.spec.tenant, device=person.spec.device, name="Test")
    person.watched = Watched()
    await person.link(node, whatsapp)
    assert person.spec.jid != former
    columns = await asked.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name IN ('jid', 'our_jid') AND table_name LIKE 'whatsmeow%'"
    )
    assert len(columns) >= 12
    for table, column in columns:
        assert former not in await jids_in(asked, table, column), table
    assert await person.send(VERA_JID, "twice")


async def test_a_device_in_use_holds_two_connections_and_an_idle_or_stopped_one_none(
    emulator: EmulatorProcess,
    whatsapp: EmulatorClient,
    store_url: str,
    asked: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def held() -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kurir thrifty'"
        return int(await asked.fetchval(sql))

    async def none_is_held() -> bool:
        return await held() == 0

    shard = RemoteEngine(emulator, tmp_path_factory.mktemp("thrifty"), store_url=f"{store_url}&idle_session_timeout=1s")
    await shard.start()
    try:
        person = Person("thrifty", "628444000006")
        await person.link(shard, whatsapp)
        await person.send(VERA_JID, "busy")
        assert 1 <= await held() <= 4
        for turn in range(3):
            await until("its connections ended", none_is_held)
            sent = await person.send(VERA_JID, f"echo turn {turn}")
            await whatsapp.until_read(VERA, sent.whatsapp_id)
            await person.until_text(f"turn {turn}")
        await until("its connections ended", none_is_held)
        await whatsapp.say(VERA, person.phone, "out of the blue")
        await person.until_text("out of the blue")
        await person.session.close()
        await until("those of the stopped client ended", none_is_held)
    finally:
        await shard.end()


async def test_what_comes_while_postgres_is_away_waits_at_whatsapp_and_arrives_whole(
    node: RemoteEngine, citra: Person, postgres: PostgresServer, whatsapp: EmulatorClient
) -> None:
    connections, losses = (citra.watched.states().count(state) for state in ("connected", "disconnected"))
    await postgres.kill()
    lost = await citra.watched.until_state("disconnected", times=losses + 1)
    assert lost.reason == "device_store_unavailable"
    assert PASSWORD not in (lost.detail or "")
    assert QUOTED_PASSWORD not in (lost.detail or "")
    with pytest.raises(NotConnected):
        await citra.send(VERA_JID, "not now")
    for n in range(5):
        await whatsapp.say(VERA, citra.phone, f"meanwhile {n}")
    assert node.is_running
    await postgres.start()
    await citra.watched.until_state("connected", times=connections + 1, within_s=60)
    for n in range(5):
        await citra.until_text(f"meanwhile {n}")
    sent = await citra.send(VERA_JID, "and now")
    await whatsapp.until_read(VERA, sent.whatsapp_id)


async def test_a_send_that_meets_postgres_going_away_was_not_sent_and_may_be_tried_again(
    citra: Person, postgres: PostgresServer, whatsapp: EmulatorClient
) -> None:
    connections = citra.watched.states().count("connected")
    ended = asyncio.create_task(postgres.restart())
    mark, refusals = await whatsapp.mark(), list[tuple[Reason, float | None]]()
    sent = 0
    while not ended.done():
        try:
            await citra.send(VERA_JID, f"amid {sent}")
            sent += 1
        except NotConnected:
            await asyncio.sleep(0.01)
        except SendFailed as failed:
            refusals.append((failed.reason, failed.retry_after_s))
    assert set(refusals) <= {("device_store_unavailable", 5.0)}
    if "disconnected" in citra.watched.states()[-2:]:
        await citra.watched.until_state("connected", times=connections + 1, within_s=60)
    assert len(await whatsapp.journal("message.sent", after=mark)) == sent


async def test_a_login_and_a_pairing_while_postgres_is_away_say_so(
    emulator: EmulatorProcess, store_url: str, way: Tunnel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shard = RemoteEngine(emulator, tmp_path_factory.mktemp("early"), store_url=store_url)
    way.stop()
    try:
        await shard.start()
        for spec in (
            SessionSpec(tenant="t1", device="new", name="Test"),
            SessionSpec(tenant="t1", device="old", name="Test", jid=NOBODY_JID),
        ):
            watched = Watched()
            await shard.open(spec, watched)
            said = await watched.until_state("disconnected")
            assert said.reason == "device_store_unavailable"
            assert not re.search(f"{re.escape(PASSWORD)}|{re.escape(QUOTED_PASSWORD)}", said.detail or "")
        assert shard.is_running
    finally:
        await way.start()
        await shard.end()


async def test_a_postgres_that_says_nothing_is_left_within_seconds(
    citra: Person, way: Tunnel, whatsapp: EmulatorClient
) -> None:
    connections = citra.watched.states().count("connected")
    times = citra.watched.states().count("disconnected")
    await citra.watched.until_state("connected", times=connections)
    way.hang()
    try:
        said = await citra.watched.until_state("disconnected", times=times + 1, within_s=NOTICED_WITHIN_S)
        assert said.reason == "device_store_unavailable"
        await whatsapp.say(VERA, citra.phone, "amid the silence")
    finally:
        way.let_go()
    await citra.watched.until_state("connected", times=connections + 1, within_s=90)
    await citra.until_text("amid the silence")
