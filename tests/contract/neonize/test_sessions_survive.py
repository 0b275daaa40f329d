"""What ends a process elsewhere, or stalls it, does not here; and what a killed process held comes back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio

from kurir.contracts.content import MessageKey, Text
from kurir.session_node.engines.engine import NotConnected, SendOrder
from tests.contract.engine.worlds import Watched, a_spec
from tests.contract.neonize.people import VERA, VERA_JID, Person
from tests.support.conditions import until
from tests.support.remote_engine.engine import RemoteEngine, RemoteError
from tests.support.tunnel import Tunnel
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD = 8
CYCLES = 20
BURST = 5000
KEPT_IN_ORDER = 2048  # so many wait in whatsmeow's handler queue; what finds it full loses its order (client.go)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shard(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RemoteEngine]:
    """A process of its own: these tests end processes."""
    started = RemoteEngine(emulator, tmp_path_factory.mktemp("shard"))
    await started.start()
    try:
        yield started
    finally:
        await started.end()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def linked_crowd(shard: RemoteEngine, emulator: EmulatorProcess) -> list[Person]:
    people = [Person(f"crowd{n}", f"62833300000{n}") for n in range(CROWD)]
    await asyncio.gather(*(person.link(shard, emulator.client) for person in people))
    return people


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(linked_crowd: list[Person], shard: RemoteEngine, whatsapp: EmulatorClient) -> list[Person]:
    """People whose sessions are all open."""
    if not shard.is_running:
        await shard.start()
        await asyncio.gather(*(person.open(shard) for person in linked_crowd))
    return linked_crowd


async def test_sessions_that_come_and_go_while_others_send_end_no_process(
    shard: RemoteEngine, crowd: list[Person]
) -> None:
    goers, senders = crowd[: CROWD // 2], crowd[CROWD // 2 :]
    is_over = asyncio.Event()

    async def come_and_go(person: Person) -> None:
        for _ in range(CYCLES):
            await person.session.close()
            await person.open(shard)

    async def send(person: Person) -> int:
        count = 0
        while not is_over.is_set():
            await person.send(VERA_JID, f"text {count}")
            await person.session.contacts()
            count += 1
        return count

    sending = [asyncio.create_task(send(person)) for person in senders]
    await asyncio.gather(*map(come_and_go, goers))
    is_over.set()
    assert all(count > 0 for count in await asyncio.gather(*sending))
    assert shard.is_running


async def test_a_killed_shards_sessions_open_again_from_their_stores(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient, record_property: Callable[[str, object], None]
) -> None:
    async def send_until_killed(person: Person) -> None:
        with contextlib.suppress(RemoteError):
            while True:
                await person.send(VERA_JID, "amid the load")

    load = [asyncio.create_task(send_until_killed(person)) for person in crowd]
    mark = await whatsapp.mark()
    await whatsapp.until_journal("message.read", after=mark, count=5 * CROWD, within_s=30)
    await shard.kill()
    killed_at = time.monotonic()
    await asyncio.gather(*load)
    for person in crowd:
        await whatsapp.until_offline(person.device)
        await whatsapp.say(VERA, person.phone, "while you were away")
    await shard.start()
    await asyncio.gather(*(person.open(shard) for person in crowd))
    record_property("open_again_s", round(time.monotonic() - killed_at, 2))
    for person in crowd:
        assert person.watched.last("connected").phone == person.phone
        await person.until_text("while you were away")
        sent = await person.send(VERA_JID, "back again")
        await whatsapp.until_read(VERA, sent.whatsapp_id)


async def test_a_device_whose_file_is_not_here_waits_for_it_and_its_process_lives(
    shard: RemoteEngine, crowd: list[Person]
) -> None:
    watched = Watched()
    session = await shard.open(a_spec("stranger", jid="628333999999:1@s.whatsapp.net"), watched)
    said = await watched.until_state("disconnected", times=2)
    assert said.reason == "device_store_unavailable"
    assert "is not on this node" in (said.detail or "")
    assert await crowd[0].send(VERA_JID, "still here")
    await session.close()


async def test_two_devices_of_one_number_in_one_process_speak_and_end_each_for_itself(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient
) -> None:
    first, second = Person("twin-1", "628333000097"), Person("twin-2", "628333000097")
    await first.link(shard, whatsapp)
    await second.link(shard, whatsapp)

    async def speak(person: Person) -> None:
        mark = await whatsapp.mark()
        sent = await person.send(VERA_JID, f"from {person.name}")
        (entry,) = await whatsapp.until_journal("message.sent", after=mark, id=sent.whatsapp_id)
        assert entry["device"] == person.device

    for person in (first, second, first):
        await speak(person)
    await second.session.close()
    await whatsapp.until_offline(second.device)
    await speak(first)
    await second.open(shard)
    await speak(second)
    await speak(first)


async def test_whatever_is_asked_of_a_session_that_is_not_connected_ends_no_process(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient
) -> None:
    closed, watched = Person("closed", "628333000096"), Watched()
    await closed.link(shard, whatsapp)
    await closed.session.close()
    pairing = await shard.open(a_spec("still-pairing"), watched)
    await watched.until_state("qr")
    group, key = "120363000000000001@g.us", MessageKey(chat=VERA_JID, whatsapp_id="3EB0")
    for session in (closed.session, pairing):
        for asking in (
            session.send(SendOrder(message_id="m", to=VERA_JID, content=Text(text="hello?"))),
            session.show_online(True),
            session.show_typing(VERA_JID, "typing"),
            session.mark_read((key,)),
            session.check_numbers((VERA,)),
            session.profile_picture(VERA_JID),
            session.contacts(),
            session.groups(),
            session.group(group),
            session.create_group("Office", (VERA_JID,)),
            session.change_members(group, "add", (VERA_JID,)),
            session.invite_link(group),
            session.set_subject(group, "Office"),
            session.set_description(group, "Office"),
            session.leave_group(group),
            session.logout(),
        ):
            with pytest.raises(NotConnected):
                await asking
    await pairing.close()
    assert await crowd[0].send(VERA_JID, "still here")


async def test_a_device_that_was_unlinked_asks_for_no_new_pairing(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient
) -> None:
    person = Person("unlinked", "628333000099")
    await person.link(shard, whatsapp)
    await whatsapp.remove(person.device)
    await person.watched.until_state("logged_out")
    mark, watched = await whatsapp.mark(), Watched()
    await shard.open(person.spec, watched)
    await watched.until_state("logged_out")
    assert watched.states() == ["connecting", "logged_out"]
    assert not await whatsapp.journal("connection.pairing", after=mark)
    assert await crowd[0].send(VERA_JID, "still here")


@pytest.mark.parametrize("by_code", [False, True], ids=["by-qr", "by-phone-code"])
async def test_the_phone_shows_each_device_under_its_own_name(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient, by_code: bool
) -> None:
    mark = await whatsapp.mark()
    for number, name in enumerate(("Counter 1", "Kasir 2 · Jalan Sudirman")):
        phone, watched = f"62833300007{number}", Watched()
        spec = msgspec.structs.replace(a_spec(f"named-{number}", pair_phone=phone if by_code else None), name=name)
        session = await shard.open(spec, watched)
        if by_code:
            await whatsapp.contact(phone)
            await whatsapp.enter_code(phone, (await watched.until_state("pairing_code")).pairing_code or "")
        else:
            await whatsapp.scan((await watched.until_state("qr")).qr or "", phone)
        await watched.until_state("connected")
        await session.close()
    paired = await whatsapp.journal("device.paired", after=mark)
    assert [entry["shown_as"] for entry in paired] == ["Counter 1", "Kasir 2 · Jalan Sudirman"]


async def test_a_pairing_that_is_given_up_leaves_no_process(shard: RemoteEngine, crowd: list[Person]) -> None:
    async def children() -> int:
        listing = await asyncio.create_subprocess_exec(
            "pgrep", "-P", str(shard.pid), "-f", "pairing_process", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await listing.communicate()
        return len(out.split())

    watched = Watched()
    session = await shard.open(a_spec("given-up"), watched)
    await watched.until_state("qr")
    assert await children() == 1
    await session.close()

    async def is_gone() -> bool:
        return await children() == 0

    await until("the pairing process is gone", is_gone)


async def test_a_code_that_nobody_scans_runs_out_and_the_next_one_can_be_scanned(
    shard: RemoteEngine, crowd: list[Person], whatsapp: EmulatorClient
) -> None:
    await whatsapp.set_faults(qr_refs=1)
    person = Person("slow", "628333000098")
    await shard.open(person.spec, person.watched)
    await person.watched.until_state("qr")
    ended = await person.watched.until_state("disconnected", within_s=60)
    assert ended.reason == "qr_timeout"
    await whatsapp.reset_faults()
    person.watched = Watched()
    await person.link(shard, whatsapp)
    assert await person.send(VERA_JID, "at last")


async def test_a_burst_of_thousands_is_received_whole_in_order_while_the_library_keeps_it_and_holds_up_nobody(
    whatsapp: EmulatorClient, crowd: list[Person]
) -> None:
    busy, other = crowd[0], crowd[1]
    busy.watched.seen.clear()
    bursting = asyncio.create_task(whatsapp.say_many(VERA, busy.phone, "burst {n}", count=BURST))
    await busy.until_text("burst 0")
    await other.send(VERA_JID, "echo anybody there?")
    await other.until_text("anybody there?")
    arrived = len(busy.watched.received())
    ids = await bursting
    await until("all have come", lambda: len(busy.watched.received()) >= BURST, within_s=90)
    arrived_ids = [r.whatsapp_id for r in busy.watched.received()]
    assert sorted(arrived_ids) == sorted(ids)
    assert arrived_ids[:KEPT_IN_ORDER] == ids[:KEPT_IN_ORDER]
    last = next(r for r in busy.watched.received() if r.whatsapp_id == ids[-1])
    assert last.content == Text(text=f"burst {BURST - 1}")
    assert arrived < BURST, "the other session had to wait for the burst's end"


async def test_a_dial_that_hangs_holds_up_neither_others_nor_its_own_end(
    emulator: EmulatorProcess, whatsapp: EmulatorClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tunnel = Tunnel(int(emulator.address.proxy.rpartition(":")[2]))
    port = await tunnel.start()
    await whatsapp.open_door(port)
    shard = RemoteEngine(emulator, tmp_path_factory.mktemp("hung"), proxy=f"http://127.0.0.1:{port}")
    await shard.start()
    try:
        lucky, unlucky = Person("lucky", "628333000090"), Person("unlucky", "628333000091")
        await asyncio.gather(lucky.link(shard, whatsapp), unlucky.link(shard, whatsapp))
        await unlucky.session.close()
        tunnel.hang(only_new=True)
        unlucky.watched = Watched()
        session = await shard.open(unlucky.spec, unlucky.watched)
        await until("the dial hangs", lambda: bool(tunnel.hanging))
        assert await lucky.send(VERA_JID, "meanwhile")
        with pytest.raises(NotConnected):
            await unlucky.send(VERA_JID, "not yet")
        await asyncio.wait_for(session.close(), 40)
        assert await lucky.send(VERA_JID, "and after")
        tunnel.let_go()
        await unlucky.open(shard)
        assert await unlucky.send(VERA_JID, "at last")
    finally:
        await shard.end()
        tunnel.stop()
