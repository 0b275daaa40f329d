"""What people and groups do around a device is reported: presence, typing, calls, groups, pictures."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from kurir.contracts.groups import GroupMember
from kurir.session_node.engines.observations import (
    CallSeen,
    ContactChanged,
    GroupChanged,
    GroupJoined,
    MembershipChanged,
    PresenceSeen,
)
from tests.contract.neonize.people import ARRIVAL_TIMEOUT_S, VERA, VERA_JID, Person, a_picture
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIRA = "628999000002"
WIRA_JID = f"{WIRA}@s.whatsapp.net"

Seen = TypeVar("Seen")


async def until_seen(person: Person, kind: type[Seen], where: Callable[[Any], bool]) -> Seen:
    """Wait for an observation of a kind that is as wanted, also if it has come already."""
    found: list[Seen] = []

    def has_come() -> bool:
        found[:] = [seen for seen in person.watched.seen if isinstance(seen, kind) and where(seen)]
        return bool(found)

    await until(
        f"{person.name} saw {kind.__name__}",
        has_come,
        within_s=ARRIVAL_TIMEOUT_S,
        seen=lambda: [s for s in person.watched.seen if isinstance(s, kind)][-5:],
    )
    return found[-1]


@pytest_asyncio.fixture(loop_scope="session")
async def wira(whatsapp: EmulatorClient) -> str:
    """Somebody else with a phone of the emulator; the hidden id."""
    return str((await whatsapp.contact(WIRA, name="Wira"))["lid"])


# --- presence -------------------------------------------------------------------------------------------------------


async def test_somebody_who_is_watched_comes_and_goes(whatsapp: EmulatorClient, ayu: Person) -> None:
    await ayu.session.show_online(True)
    await ayu.session.watch_presence(VERA_JID)
    await whatsapp.show(VERA, is_online=True)
    came = await until_seen(ayu, PresenceSeen, lambda seen: seen.presence == "available")
    assert (came.sender.pn, came.chat, came.last_seen) == (VERA_JID, came.sender, None)
    await whatsapp.show(VERA, is_online=False, last_seen="1767312000")
    gone = await until_seen(ayu, PresenceSeen, lambda seen: seen.last_seen is not None and seen.last_seen.year == 2026)
    assert (gone.presence, gone.last_seen) == ("unavailable", datetime(2026, 1, 2, tzinfo=UTC))
    await whatsapp.show(VERA, is_online=False, last_seen="deny")
    await until_seen(ayu, PresenceSeen, lambda seen: seen.presence == "unavailable" and seen.last_seen is None)


@pytest.mark.parametrize(
    ("shown", "presence"),
    [({}, "composing"), ({"is_voice": True}, "recording"), ({"is_typing": False}, "paused")],
    ids=["composing", "recording", "paused"],
)
async def test_typing_recording_and_pausing_are_told_apart(
    whatsapp: EmulatorClient, ayu: Person, shown: dict[str, bool], presence: str
) -> None:
    await ayu.until_message(await whatsapp.say(VERA, ayu.phone, "wait"))
    await whatsapp.type(VERA, ayu.phone, **shown)
    seen = await until_seen(ayu, PresenceSeen, lambda seen: seen.presence == presence)
    assert (seen.chat.pn, seen.sender.pn) == (VERA_JID, VERA_JID)


async def test_typing_in_a_group_names_the_group_and_who_types(
    whatsapp: EmulatorClient, ayu: Person, wira: str
) -> None:
    group = await whatsapp.create_group("Typists", WIRA, [ayu.phone])
    await until_seen(ayu, GroupJoined, lambda seen: seen.chat.jid == group)
    await whatsapp.type(WIRA, group)
    seen = await until_seen(ayu, PresenceSeen, lambda seen: seen.chat.jid == group)
    assert (seen.presence, seen.sender.pn, seen.sender.lid) == ("composing", WIRA_JID, wira)


# --- calls ----------------------------------------------------------------------------------------------------------


async def test_a_call_rings_with_who_calls(whatsapp: EmulatorClient, ayu: Person) -> None:
    call = await whatsapp.call(VERA, ayu.phone, is_video=True)
    seen = await until_seen(ayu, CallSeen, lambda seen: seen.call_id == call)
    assert (seen.state, seen.sender.pn, seen.chat.pn) == ("offered", VERA_JID, VERA_JID)
    assert (seen.is_video, seen.is_group) == (True, False)
    assert abs(seen.at.timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("act", "reason", "state"),
    [
        ("terminate", None, "ended"),
        ("terminate", "timeout", "missed"),
        ("terminate", "accepted_elsewhere", "accepted"),
        ("terminate", "rejected_elsewhere", "rejected"),
        ("accept", None, "accepted"),
    ],
)
async def test_what_became_of_a_call_is_told(
    whatsapp: EmulatorClient, ayu: Person, act: str, reason: str | None, state: str
) -> None:
    call = await whatsapp.call(VERA, ayu.phone)
    await until_seen(ayu, CallSeen, lambda seen: seen.call_id == call and seen.state == "offered")
    await whatsapp.end_call(call, act=act, reason=reason)
    seen = await until_seen(ayu, CallSeen, lambda seen: seen.call_id == call and seen.state != "offered")
    assert (seen.state, seen.reason) == (state, reason)


async def test_a_call_of_a_group_names_the_group(whatsapp: EmulatorClient, ayu: Person, wira: str) -> None:
    group = await whatsapp.create_group("Callers", WIRA, [ayu.phone])
    call = await whatsapp.call(WIRA, ayu.phone, group=group)
    seen = await until_seen(ayu, CallSeen, lambda seen: seen.call_id == call)
    assert (seen.chat.jid, seen.sender.pn, seen.is_group, seen.is_video) == (group, WIRA_JID, True, False)


# --- groups ---------------------------------------------------------------------------------------------------------


async def test_a_group_that_we_are_put_into_is_told_with_its_members(
    whatsapp: EmulatorClient, ayu: Person, wira: str
) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    joined = await until_seen(ayu, GroupJoined, lambda seen: seen.chat.jid == group)
    assert joined.subject == "Choir"
    assert joined.author is not None
    assert joined.author.pn == WIRA_JID
    assert joined.owner is not None
    assert (joined.owner.pn, joined.owner.lid) == (WIRA_JID, wira)
    assert {(member.address.pn, member.role) for member in joined.members} == {(WIRA_JID, "owner"), (ayu.jid, "member")}
    assert all(isinstance(member, GroupMember) for member in joined.members)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"subject": "Big choir"}, {"subject": "Big choir"}),
        ({"description": "Mondays"}, {"description": "Mondays"}),
        ({"description": ""}, {"description": ""}),
        ({"switch": "announcement"}, {"is_announce": True}),
        ({"switch": "not_announcement"}, {"is_announce": False}),
        ({"switch": "locked"}, {"is_locked": True}),
        ({"switch": "unlocked"}, {"is_locked": False}),
        ({"ephemeral_s": 86400}, {"ephemeral_s": 86400}),
        ({"ephemeral_s": 0}, {"ephemeral_s": 0}),
        ({"delete": True}, {"is_deleted": True}),
    ],
    ids=lambda given: "-".join(f"{k}={v}" for k, v in given.items()),
)
async def test_a_change_of_a_group_is_told_with_its_author(
    whatsapp: EmulatorClient, ayu: Person, wira: str, change: dict[str, Any], told: dict[str, Any]
) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    await whatsapp.change_group(group, WIRA, **change)
    seen = await until_seen(ayu, GroupChanged, lambda seen: seen.chat.jid == group)
    assert seen.author is not None
    assert (seen.author.pn, seen.author.lid) == (WIRA_JID, wira)
    fields = ("subject", "description", "is_announce", "is_locked", "ephemeral_s", "invite_link", "is_deleted")
    assert {name: getattr(seen, name) for name in fields if getattr(seen, name) is not None} == told


@pytest.mark.parametrize("seconds", [86_400, 7_776_000, 0])
async def test_after_what_time_messages_disappear_reaches_the_others(ayu: Person, budi: Person, seconds: int) -> None:
    group = (await ayu.session.create_group("Choir", (budi.jid,))).jid
    await ayu.session.set_disappearing(group, seconds)
    seen = await until_seen(budi, GroupChanged, lambda seen: seen.chat.jid == group)
    assert seen.ephemeral_s == seconds


async def test_a_new_invitation_link_is_told(whatsapp: EmulatorClient, ayu: Person, wira: str) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    changed = await whatsapp.change_group(group, WIRA, renew_link=True)
    seen = await until_seen(ayu, GroupChanged, lambda seen: seen.chat.jid == group)
    assert seen.invite_link == f"https://chat.whatsapp.com/{changed['invite_code']}"


@pytest.mark.parametrize("action", ["add", "remove", "promote", "demote"])
async def test_what_becomes_of_a_member_is_told_with_who_did_it(
    whatsapp: EmulatorClient, ayu: Person, wira: str, action: str
) -> None:
    members = [ayu.phone] if action == "add" else [ayu.phone, VERA]
    group = await whatsapp.create_group("Choir", WIRA, members)
    await whatsapp.change_group(group, WIRA, **{action: [VERA]})
    seen = await until_seen(ayu, MembershipChanged, lambda seen: seen.chat.jid == group)
    assert (seen.action, seen.includes_me) == (action, False)
    assert [who.pn for who in seen.participants] == [VERA_JID]
    assert seen.author is not None
    assert seen.author.pn == WIRA_JID


async def test_coming_by_a_link_and_leaving_are_told_apart_from_being_added_and_removed(
    whatsapp: EmulatorClient, ayu: Person, wira: str
) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    await whatsapp.change_group(group, WIRA, subject="Open choir")
    await whatsapp.contact(VERA)
    with pytest.raises(Exception, match="403"):
        await whatsapp.change_group(group, VERA, subject="Mine")
    await whatsapp.change_group(group, VERA, join=True)
    joined = await until_seen(ayu, MembershipChanged, lambda seen: seen.chat.jid == group and seen.action == "join")
    assert ([who.pn for who in joined.participants], joined.reason) == ([VERA_JID], "invite")
    await whatsapp.change_group(group, VERA, leave=True)
    left = await until_seen(ayu, MembershipChanged, lambda seen: seen.chat.jid == group and seen.action == "leave")
    assert [who.pn for who in left.participants] == [VERA_JID]


async def test_being_removed_oneself_is_told(whatsapp: EmulatorClient, ayu: Person, wira: str) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    await whatsapp.change_group(group, WIRA, promote=[ayu.phone])
    await until_seen(ayu, MembershipChanged, lambda seen: seen.chat.jid == group and seen.includes_me)
    await whatsapp.change_group(group, WIRA, remove=[ayu.phone])
    out = await until_seen(ayu, MembershipChanged, lambda seen: seen.chat.jid == group and seen.action == "remove")
    assert out.includes_me
    assert [(who.pn, who.lid) for who in out.participants] == [(ayu.jid, ayu.lid)]


async def test_what_happened_in_a_group_while_we_were_away_is_told_in_order(
    whatsapp: EmulatorClient, ayu: Person, wira: str
) -> None:
    group = await whatsapp.create_group("Choir", WIRA, [ayu.phone])
    await until_seen(ayu, GroupJoined, lambda seen: seen.chat.jid == group)
    await whatsapp.set_faults(login_failure={ayu.phone: {"reason": "503"}})
    await whatsapp.drop(ayu.device)
    await whatsapp.until_offline(ayu.device)
    for number in range(5):
        await whatsapp.change_group(group, WIRA, subject=f"Choir {number}")
    last = await whatsapp.say(WIRA, group, "what shall we call it?")
    await whatsapp.reset_faults()
    await ayu.until_message(last)
    of_group = [s for s in ayu.watched.seen if isinstance(s, GroupChanged) and s.chat.jid == group]
    assert [seen.subject for seen in of_group] == [f"Choir {number}" for number in range(5)]


# --- people ---------------------------------------------------------------------------------------------------------


async def test_a_picture_that_is_changed_or_removed_is_told(whatsapp: EmulatorClient, ayu: Person, wira: str) -> None:
    await ayu.until_message(await whatsapp.say(WIRA, ayu.phone, "look at me"))
    await whatsapp.contact(WIRA, picture=a_picture())
    changed = await until_seen(ayu, ContactChanged, lambda seen: seen.contact.lid == wira)
    assert (changed.picture, changed.contact.pn) == ("changed", WIRA_JID)
    await whatsapp.contact(WIRA, picture=b"")
    await until_seen(ayu, ContactChanged, lambda seen: seen.contact.lid == wira and seen.picture == "removed")
