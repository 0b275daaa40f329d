"""What an account shows of itself, to whom, and whom it blocks, where an engine has the capability."""

from typing import Any

import pytest
import pytest_asyncio

from kurir.session_node.engines.engine import Engine
from kurir.session_node.engines.requests import (
    ArrangesChats,
    BlocksPeople,
    HasProfile,
    KeepsPrivacy,
    LabelsChats,
    Privacy,
    RemovesPictures,
    RequestFailed,
)
from tests.contract.engine.worlds import Watched, World
from tests.support.pictures import a_picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def session(world: World, engine: Engine, watched: Watched) -> Any:
    session, _ = await world.paired(engine, watched)
    assert {"profile", "privacy", "blocking"} <= engine.capabilities
    assert isinstance(session, HasProfile)
    assert isinstance(session, KeepsPrivacy)
    assert isinstance(session, BlocksPeople)
    return session


async def test_an_account_has_the_name_that_it_was_given_with_the_next_connection(
    world: World, engine: Engine, watched: Watched
) -> None:
    session, spec = await world.paired(engine, watched)
    assert isinstance(session, HasProfile)
    for name in ("Toko Ayu", "Toko Ayu & Co."):
        await session.set_name(name)
    await session.close()
    again = Watched()
    await engine.open(spec, again)
    assert (await again.until_state("connected")).push_name == "Toko Ayu & Co."


async def test_the_about_text_is_written_and_read(world: World, session: Any, watched: Watched) -> None:
    await session.set_about("Open from nine")
    me = f"{watched.last('connected').phone}@s.whatsapp.net"
    assert await session.about(me) == "Open from nine"
    await session.set_about("")
    assert await session.about(me) is None


async def test_the_account_gets_a_picture(session: Any, watched: Watched) -> None:
    me = f"{watched.last('connected').phone}@s.whatsapp.net"
    seen = set()
    for colour in ("teal", "coral"):
        await session.set_picture(a_picture(colour))
        picture = await session.profile_picture(me)
        assert picture is not None
        seen.add(picture.id)
    assert len(seen) == 2


async def test_what_is_not_given_of_the_privacy_stays(session: Any) -> None:
    before = await session.privacy()
    wanted = Privacy(last_seen="contacts_except", online="match_last_seen", groups="contacts", read_receipts="none")
    changed = await session.set_privacy(wanted)
    assert changed == await session.privacy()
    assert (changed.last_seen, changed.online, changed.groups) == ("contacts_except", "match_last_seen", "contacts")
    assert (changed.about, changed.profile_picture, changed.calls) == (before.about, before.profile_picture, "all")
    await session.set_privacy(before)


async def test_a_session_has_the_calls_of_what_its_engine_says_that_it_can(
    world: World, engine: Engine, watched: Watched
) -> None:
    session, _ = await world.paired(engine, watched)
    calls = {"archive": ArrangesChats, "labels": LabelsChats, "profile.remove_picture": RemovesPictures}
    assert {name for name, call in calls.items() if isinstance(session, call)} == calls.keys() & engine.capabilities
    friend = world.contact("friendly")
    if isinstance(session, ArrangesChats):
        for archived in (True, False):
            await session.archive_chat(friend, archived)
        await session.mark_unread(friend)
    if isinstance(session, LabelsChats):
        first = (await session.labels())[0].id
        await session.label_chat(friend, first, True)
        assert (await session.labels())[0].chats == (friend,)
        with pytest.raises(RequestFailed) as failed:
            await session.label_chat(friend, "nothing", True)
        assert failed.value.reason == "not_allowed"


async def test_people_are_blocked_and_let_in_again(world: World, session: Any) -> None:
    friend = world.contact("friendly")
    await session.set_blocked(friend, True)
    assert [one.pn for one in await session.blocked()] == [friend]
    await session.set_blocked(friend, False)
    assert await session.blocked() == ()
    with pytest.raises(RequestFailed) as failed:
        await session.set_blocked("not-a-jid", True)
    assert failed.value.reason == "invalid_recipient"
