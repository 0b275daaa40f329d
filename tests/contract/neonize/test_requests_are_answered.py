"""What a real session does besides sending, seen on the other side."""

import asyncio

import pytest

from kurir.contracts.content import MessageKey
from kurir.session_node.engines.requests import RequestFailed
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_picture
from tests.support.conditions import until
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_typing_and_recording_are_shown(whatsapp: EmulatorClient, ayu: Person) -> None:
    mark = await whatsapp.mark()
    await ayu.session.show_online(True)
    await whatsapp.until_journal("presence.sent", after=mark, type="available")
    await ayu.session.show_typing(VERA_JID, "typing")
    await ayu.session.show_typing(VERA_JID, "recording")
    await ayu.session.show_typing(VERA_JID, "paused")
    shown = await whatsapp.until_journal("typing.sent", after=mark, count=3)
    assert [(each["state"], each["media"]) for each in shown] == [
        ("composing", None),
        ("composing", "audio"),
        ("paused", None),
    ]
    await ayu.session.show_online(False)
    await whatsapp.until_journal("presence.sent", after=mark, type="unavailable")


async def test_a_message_that_is_typed_shows_it_before(whatsapp: EmulatorClient, ayu: Person) -> None:
    mark = await whatsapp.mark()
    sent = await ayu.send(VERA_JID, "typed", typing_ms=50)
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    entries = await whatsapp.journal("typing.sent", "message.sent", after=mark)
    assert [entry.get("state") or "sent" for entry in entries] == ["composing", "paused", "sent"]


async def test_read_marks_reach_the_phone_that_wrote(whatsapp: EmulatorClient, ayu: Person) -> None:
    ids = await whatsapp.say_many(VERA, ayu.phone, "read me {n}", count=2)
    received = [await ayu.until_message(one) for one in ids]
    mark = await whatsapp.mark()
    await ayu.session.mark_read(tuple(MessageKey(chat=r.chat.jid, whatsapp_id=r.whatsapp_id) for r in received))
    (receipt,) = await whatsapp.until_journal("receipt.sent", after=mark, type="read")
    assert sorted(receipt["ids"]) == sorted(ids)
    assert receipt["to"] == VERA


async def test_numbers_are_asked_for_once(whatsapp: EmulatorClient, ayu: Person, budi: Person) -> None:
    checks = await ayu.session.check_numbers((VERA, "628000000000", budi.phone))
    assert [check.is_on_whatsapp for check in checks] == [True, False, True]
    assert [check.phone for check in checks] == [VERA, "628000000000", budi.phone]
    assert checks[2].address is not None
    assert checks[2].address.lid == budi.lid
    await whatsapp.set_faults(iq_errors={"usync:get:usync": ["500", "asked again"]})
    assert await ayu.session.check_numbers((budi.phone, VERA)) == (checks[2], checks[0])


async def test_too_many_new_numbers_are_refused_before_whatsapp_is_asked(ayu: Person) -> None:
    with pytest.raises(RequestFailed) as failed:
        await ayu.session.check_numbers(tuple(f"62877{n:07d}" for n in range(100)))
    assert failed.value.reason == "rate_overlimit"
    assert failed.value.retry_after_s is not None


async def test_a_profile_picture_is_found_or_is_not_there(whatsapp: EmulatorClient, ayu: Person, budi: Person) -> None:
    await whatsapp.contact(VERA, picture=a_picture(width=64, height=64))
    picture = await ayu.session.profile_picture(VERA_JID)
    assert picture is not None
    assert picture.url.startswith("https://")
    assert picture.id
    assert await ayu.session.profile_picture(budi.jid) is None


async def test_who_wrote_is_a_contact(whatsapp: EmulatorClient, ayu: Person) -> None:
    await ayu.until_message(await whatsapp.say(VERA, ayu.phone, "it is me, Vera"))

    async def knows_vera() -> bool:
        known = await ayu.session.contacts()
        return any(c.push_name == "Vera" and VERA_JID in (c.address.pn, c.address.jid) for c in known)

    await until("Vera is known", knows_vera)


async def test_whom_the_phone_knows_is_known_as_soon_as_a_device_is_paired(
    whatsapp: EmulatorClient, engine: RemoteEngine
) -> None:
    """Also when it comes slowly: the phone gives the key to it once, to the process that pairs."""
    person = Person("dewi", "628111000004")
    await whatsapp.contact(person.phone, contacts={VERA: "Vera of the bakery"})
    await whatsapp.set_faults(download_delay_s=0.5)
    await person.link(engine, whatsapp)
    known = {contact.address.pn: contact.name for contact in await person.session.contacts()}
    assert known[VERA_JID] == "Vera of the bakery"
    await person.session.close()


async def test_a_phone_whose_contacts_cannot_be_had_is_paired_all_the_same(
    whatsapp: EmulatorClient, engine: RemoteEngine
) -> None:
    person = Person("eka", "628111000005")
    await whatsapp.contact(person.phone, contacts={VERA: "Vera of the bakery"})
    await whatsapp.set_faults(download_status=404)
    await person.link(engine, whatsapp)
    assert "Vera of the bakery" not in {contact.name for contact in await person.session.contacts()}
    await person.session.close()


async def test_groups_are_made_changed_and_left(whatsapp: EmulatorClient, ayu: Person, budi: Person) -> None:
    made = await ayu.session.create_group("Office", (VERA_JID, budi.jid))
    assert made.subject == "Office"
    assert {(m.address.pn, m.role) for m in made.members} == {
        (ayu.jid, "owner"),
        (budi.jid, "member"),
        (VERA_JID, "member"),
    }
    await ayu.session.set_subject(made.jid, "Office 2")
    await ayu.session.set_description(made.jid, "Where we work")
    (promoted,) = await ayu.session.change_members(made.jid, "promote", (budi.jid,))
    assert promoted.error is None
    await ayu.session.change_members(made.jid, "remove", (VERA_JID,))
    group = await budi.session.group(made.jid)
    assert (group.subject, group.description) == ("Office 2", "Where we work")
    assert {(m.address.lid, m.role) for m in group.members} == {(ayu.lid, "owner"), (budi.lid, "admin")}
    assert made.jid in [each.jid for each in await budi.session.groups()]

    link = await ayu.session.invite_link(made.jid)
    assert link.startswith("https://chat.whatsapp.com/")
    assert await ayu.session.invite_link(made.jid, renew=True) != link
    await budi.session.leave_group(made.jid)
    assert set((await whatsapp.groups())[made.jid]["members"]) == {ayu.phone}


async def test_what_a_member_may_not_do_is_refused_with_a_reason(
    whatsapp: EmulatorClient, ayu: Person, budi: Person
) -> None:
    group = await whatsapp.create_group("Vera's", VERA, [ayu.phone])
    with pytest.raises(RequestFailed):
        await ayu.session.change_members(group, "add", (budi.jid,))
    with pytest.raises(RequestFailed):
        await budi.session.group(group)
    with pytest.raises(RequestFailed) as failed:
        await ayu.session.group("nonsense")
    assert failed.value.reason == "invalid_recipient"


async def test_a_question_without_an_answer_holds_up_no_message(whatsapp: EmulatorClient, ayu: Person) -> None:
    await whatsapp.set_faults(silent_iqs=["w:g2:get:participating"])
    mark = await whatsapp.mark()
    asking = asyncio.create_task(ayu.session.groups())
    await whatsapp.until_journal("iq.left_unanswered", after=mark, iq="w:g2:get:participating")
    sent = await ayu.send(VERA_JID, "meanwhile")
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    assert not asking.done()
    asking.cancel()
