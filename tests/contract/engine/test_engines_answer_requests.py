"""What a session does besides sending, where its engine has the capability."""

import pytest

from kurir.contracts.content import MessageKey
from kurir.session_node.engines.engine import Engine, NotConnected
from kurir.session_node.engines.requests import ChecksNumbers, MarksRead, ShowsPresence
from tests.contract.engine.worlds import Watched, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_session_shows_that_it_is_there_and_writes(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    assert "presence" in engine.capabilities
    assert isinstance(session, ShowsPresence)
    await session.show_online(True)
    await session.show_typing(world.contact("friendly"), "recording")
    await session.show_typing(world.contact("friendly"), "paused")


async def test_messages_are_marked_as_read(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    assert "mark_read" in engine.capabilities
    assert isinstance(session, MarksRead)
    await session.mark_read((MessageKey(chat=world.contact("friendly"), whatsapp_id="3A01"),), False)


async def test_numbers_are_checked_in_the_order_asked(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    assert "check_numbers" in engine.capabilities
    assert isinstance(session, ChecksNumbers)
    here, absent = (world.contact(who).partition("@")[0] for who in ("friendly", "not_on_whatsapp"))
    checks = await session.check_numbers((absent, here))
    assert [(check.phone, check.is_on_whatsapp) for check in checks] == [(absent, False), (here, True)]
    assert checks[1].address is not None
    assert checks[1].address.lid is not None
    await session.close()
    with pytest.raises(NotConnected):
        await session.mark_read((MessageKey(chat=world.contact("friendly"), whatsapp_id="3A01"),), False)  # type: ignore[attr-defined]
