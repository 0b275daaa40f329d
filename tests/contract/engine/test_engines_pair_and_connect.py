"""How a device comes to be connected, and how it ceases to be."""

import re
from datetime import UTC, datetime
from typing import get_args

import pytest

from kurir.contracts.content import Text
from kurir.session_node.engines.engine import Capability, Engine, NotConnected, SendOrder
from tests.contract.engine.worlds import Watched, World, a_spec
from tests.support.conditions import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_device_pairs_by_the_qr_code_that_is_shown(world: World, engine: Engine, watched: Watched) -> None:
    session = await engine.open(a_spec(), watched)
    shown = await watched.until_state("qr")
    assert shown.qr
    assert shown.qr_expires_at is not None
    assert shown.qr_expires_at.tzinfo is not None
    await world.confirm(session, watched, "628111222333")
    connected = await watched.until_state("connected")
    assert connected.jid is not None
    assert re.fullmatch(r"628111222333(:\d+)?@s\.whatsapp\.net", connected.jid)
    assert connected.phone == "628111222333"
    assert connected.lid is not None
    assert connected.lid.endswith("@lid")


async def test_a_device_pairs_by_phone_code_when_it_has_a_phone_number(
    world: World, engine: Engine, watched: Watched
) -> None:
    session = await engine.open(a_spec(pair_phone="628111222333"), watched)
    shown = await watched.until_state("pairing_code")
    assert re.fullmatch(r"[1-9A-HJ-NP-Z]{4}-[1-9A-HJ-NP-Z]{4}", shown.pairing_code or "")
    await world.confirm(session, watched, "628111222333")
    assert (await watched.until_state("connected")).phone == "628111222333"
    assert "qr" not in watched.states()


async def test_a_paired_device_logs_in_without_a_code(world: World, engine: Engine, watched: Watched) -> None:
    session, spec = await world.paired(engine, watched)
    await session.close()
    again = Watched()
    await engine.open(spec, again)
    assert (await again.until_state("connected")).jid == spec.jid
    assert again.states() == ["connecting", "connected"]


async def test_a_closed_session_reports_nothing_more_and_sends_nothing(
    world: World, engine: Engine, watched: Watched
) -> None:
    session, _ = await world.paired(engine, watched)
    friend = world.contact("friendly")
    await session.send(SendOrder(message_id="m1", to=friend, content=Text(text="hi")))
    await session.close()
    seen = len(watched.seen)
    await session.close()
    with pytest.raises(NotConnected):
        await session.send(SendOrder(message_id="m2", to=friend, content=Text(text="hi")))
    other = Watched()
    second, _ = await world.paired(engine, other, "d2")
    sent = await second.send(SendOrder(message_id="m3", to=friend, content=Text(text="hi")))
    await other.until_receipts(sent.whatsapp_id, "delivered", "read")
    assert len(watched.seen) == seen


async def test_logging_out_is_reported_and_ends_the_session(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    await session.logout()
    out = await watched.until_state("logged_out")
    assert out.reason == "requested"
    with pytest.raises(NotConnected):
        await session.logout()


async def test_a_phone_that_unlinks_the_device_logs_it_out(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    await world.befall(session, "unlinked")
    assert (await watched.until_state("logged_out")).reason == "device_logged_out"
    with pytest.raises(NotConnected):
        await session.send(SendOrder(message_id="m1", to=world.contact("friendly"), content=Text(text="hi")))


async def test_a_banned_device_says_until_when(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    await world.befall(session, "banned")
    banned = await watched.until_state("banned")
    assert banned.reason == "device_banned"
    assert banned.banned_until is not None
    assert banned.banned_until > datetime.now(UTC)


async def test_a_lost_connection_comes_back_by_itself(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    await world.befall(session, "connection_lost")
    assert (await watched.until_state("disconnected")).reason == "connection_lost"
    await watched.until_state("connected", times=2)
    sent = await session.send(SendOrder(message_id="m1", to=world.contact("friendly"), content=Text(text="hi")))
    await watched.until_receipts(sent.whatsapp_id, "delivered", "read")


async def test_the_newer_of_two_sessions_of_a_device_wins(world: World, engine: Engine, watched: Watched) -> None:
    _, spec = await world.paired(engine, watched)
    newer = Watched()
    session = await engine.open(spec, newer)
    await newer.until_state("connected")
    assert (await watched.until_state("replaced")).reason == "device_replaced"
    sent = await session.send(SendOrder(message_id="m1", to=world.contact("friendly"), content=Text(text="hi")))
    await newer.until_receipts(sent.whatsapp_id, "delivered", "read")


async def test_a_forgotten_device_can_be_forgotten_again(world: World, engine: Engine, watched: Watched) -> None:
    session, spec = await world.paired(engine, watched)
    await session.close()
    await engine.forget(spec)
    await engine.forget(spec)


async def test_capabilities_are_words_of_the_protocol(engine: Engine) -> None:
    assert engine.capabilities <= set(get_args(Capability))
    assert {"pair_qr", "send.text"} <= engine.capabilities


async def test_stopping_the_engine_closes_its_sessions(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    await engine.stop()
    with pytest.raises(NotConnected):
        await session.send(SendOrder(message_id="m1", to=world.contact("friendly"), content=Text(text="hi")))
    await until("states stay", lambda: watched.states()[-1] == "connected")
