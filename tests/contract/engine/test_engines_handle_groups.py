"""Groups, contacts and pictures, where an engine has the capability."""

import asyncio

import pytest
import pytest_asyncio

from kurir.session_node.engines.engine import Engine
from kurir.session_node.engines.requests import (
    Group,
    HandlesGroups,
    KnowsContacts,
    RequestFailed,
    ShowsPictures,
    ShowsPresence,
)
from tests.contract.engine.worlds import Watched, World
from tests.support.pictures import a_picture

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def session(world: World, engine: Engine, watched: Watched) -> HandlesGroups:
    session, _ = await world.paired(engine, watched)
    assert "groups" in engine.capabilities
    assert isinstance(session, HandlesGroups)
    return session


def people_of(group: Group) -> dict[str | None, str]:
    """Roles by phone number JID."""
    return {member.address.pn: member.role for member in group.members}


async def test_a_group_that_was_made_is_known_with_its_members(world: World, session: HandlesGroups) -> None:
    friend = world.contact("friendly")
    made = await session.create_group("Office", (friend,))
    assert made.jid.endswith("@g.us")
    known = await session.group(made.jid)
    assert (known.jid, known.subject) == (made.jid, "Office")
    roles = people_of(known)
    assert roles.pop(friend) == "member"
    assert list(roles.values()) == ["owner"]
    assert made.jid in [group.jid for group in await session.groups()]


async def test_members_come_and_go_and_rise(world: World, session: HandlesGroups) -> None:
    friend, other = world.contact("friendly"), world.contact("phone_off")
    group = (await session.create_group("Office", ())).jid
    (added, *_) = await session.change_members(group, "add", (friend, other))
    assert added.error is None
    await session.change_members(group, "promote", (friend,))
    assert {friend: "admin", other: "member"}.items() <= people_of(await session.group(group)).items()
    await session.change_members(group, "demote", (friend,))
    await session.change_members(group, "remove", (other,))
    roles = people_of(await session.group(group))
    assert roles[friend] == "member"
    assert other not in roles


async def test_what_a_group_is_called_and_said_to_be_can_be_changed(session: HandlesGroups) -> None:
    group = (await session.create_group("Office", ())).jid
    await session.set_subject(group, "Office 2")
    await session.set_description(group, "Where we work")
    changed = await session.group(group)
    assert (changed.subject, changed.description) == ("Office 2", "Where we work")
    await session.set_description(group, "")
    assert (await session.group(group)).description is None


async def test_what_only_admins_may_do_can_be_changed(session: HandlesGroups) -> None:
    group = (await session.create_group("Office", ())).jid
    for announce, locked in ((True, None), (None, True), (False, False)):
        before = await session.group(group)
        await session.set_group_rights(group, announce, locked)
        after = await session.group(group)
        assert after.is_announce == (before.is_announce if announce is None else announce)
        assert after.is_locked == (before.is_locked if locked is None else locked)


async def test_a_renewed_invitation_link_is_another_one(session: HandlesGroups) -> None:
    group = (await session.create_group("Office", ())).jid
    link = await session.invite_link(group, False)
    assert link.startswith("https://chat.whatsapp.com/")
    assert await session.invite_link(group, False) == link
    renewed = await session.invite_link(group, True)
    assert renewed != link
    assert await session.join_group(renewed.rpartition("/")[2]) == group


@pytest.mark.parametrize("ask", ["join_group", "invitation"])
async def test_a_link_that_leads_nowhere_is_refused(session: HandlesGroups, ask: str) -> None:
    with pytest.raises(RequestFailed) as failed:
        await getattr(session, ask)("nowhere")
    assert failed.value.reason == "invalid_recipient"


async def test_a_group_is_seen_by_its_invitation_before_it_is_joined(world: World, session: HandlesGroups) -> None:
    code = await world.invitation_of_others()
    seen = await session.invitation(code)
    assert seen.subject
    assert seen.jid not in [group.jid for group in await session.groups()]
    assert await session.join_group(code) == seen.jid


async def test_a_group_gets_a_picture(session: HandlesGroups) -> None:
    assert isinstance(session, ShowsPictures)
    group = (await session.create_group("Office", ())).jid
    await session.set_group_picture(group, a_picture("teal"))
    first = await session.profile_picture(group)
    await session.set_group_picture(group, a_picture("coral"))
    second = await session.profile_picture(group)
    assert first is not None
    assert second is not None
    assert first.id != second.id


async def test_a_group_that_was_left_is_not_known_any_more(session: HandlesGroups) -> None:
    group = (await session.create_group("Office", ())).jid
    await session.leave_group(group)
    assert group not in [each.jid for each in await session.groups()]
    with pytest.raises(RequestFailed) as failed:
        await session.group(group)
    assert failed.value.reason == "group_left"


async def test_somebodys_presence_can_be_watched(world: World, session: HandlesGroups) -> None:
    assert isinstance(session, ShowsPresence)
    await session.show_online(True)
    await session.watch_presence(world.contact("friendly"))
    with pytest.raises(RequestFailed) as failed:
        await session.watch_presence("not-a-jid")
    assert failed.value.reason == "invalid_recipient"


async def test_contacts_and_pictures_are_told(world: World, engine: Engine, session: HandlesGroups) -> None:
    assert {"contacts", "profile_picture"} <= engine.capabilities
    assert isinstance(session, KnowsContacts)
    assert isinstance(session, ShowsPictures)
    known = await session.contacts()
    assert len({contact.address.jid for contact in known}) == len(known)
    picture = await session.profile_picture(world.contact("friendly"))
    assert picture is None or picture.url.startswith("https://")


async def test_questions_at_the_same_time_are_answered_each(world: World, session: HandlesGroups) -> None:
    made = [await session.create_group(f"Group {n}", ()) for n in range(3)]
    answers = await asyncio.gather(*(session.group(group.jid) for group in made))
    assert [answer.subject for answer in answers] == ["Group 0", "Group 1", "Group 2"]
