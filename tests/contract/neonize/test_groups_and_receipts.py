"""Messages in groups, and what becomes known of a message after it was sent."""

import asyncio
import hashlib

import pytest
import pytest_asyncio

from kurir.contracts.content import Audio, MessageKey, Poll, PollVote, Reaction, Revoke, Text
from kurir.session_node.engines.engine import ReceiptSeen, SendFailed
from tests.contract.engine.worlds import Kept
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_tone
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def family(whatsapp: EmulatorClient, ayu: Person, budi: Person) -> str:
    """A group of Vera's, with Ayu and Budi in it."""
    return await whatsapp.create_group("Family", VERA, [ayu.phone, budi.phone])


async def test_a_group_text_reaches_every_member_once(
    whatsapp: EmulatorClient, ayu: Person, budi: Person, family: str
) -> None:
    for words in ("to all of you", "to all of you again"):  # the first one brings the sender's key along
        sent = await ayu.send(family, words)
        assert (sent.chat.jid, sent.chat.pn) == (family, None)
        received = await budi.until_message(sent.whatsapp_id)
        assert received.content == Text(text=words)
        assert received.is_group
        assert received.chat.jid == family
        assert (received.sender.pn, received.sender.lid) == (ayu.jid, ayu.lid)
        await whatsapp.until_read(VERA, sent.whatsapp_id)
        assert len([r for r in budi.watched.received() if r.whatsapp_id == sent.whatsapp_id]) == 1


async def test_a_phones_group_text_is_received_once(whatsapp: EmulatorClient, ayu: Person, family: str) -> None:
    first = await whatsapp.say(VERA, family, "I bring cake")
    last = await whatsapp.say(VERA, family, "and coffee")
    assert (await ayu.until_message(last)).content == Text(text="and coffee")
    heard = [r.content for r in ayu.watched.received() if r.chat.jid == family]
    assert heard == [Text(text="I bring cake"), Text(text="and coffee")]
    assert (await ayu.until_message(first)).sender.pn == VERA_JID


async def test_a_vote_in_a_group_is_opened(whatsapp: EmulatorClient, ayu: Person, budi: Person, family: str) -> None:
    asked = Poll(question="Cake?", options=("yes", "no"), selectable=0)
    sent = await ayu.send(family, asked)
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    assert (await budi.until_message(sent.whatsapp_id)).content == asked
    vote = {"id": sent.whatsapp_id, "author": ayu.lid, "options": ["yes", "no"]}
    cast = await whatsapp.say(VERA, family, vote=vote)
    for person in (ayu, budi):
        voted = (await person.until_message(cast)).content
        assert isinstance(voted, PollVote), voted
        assert voted.hashes == tuple(hashlib.sha256(one).hexdigest() for one in (b"yes", b"no"))
        assert (voted.target.whatsapp_id, voted.target.from_me) == (sent.whatsapp_id, person is ayu)
    taken_back = await whatsapp.say(VERA, family, vote={**vote, "options": []})
    voted = (await ayu.until_message(taken_back)).content
    assert isinstance(voted, PollVote)
    assert voted.hashes == ()


async def test_in_a_group_a_reaction_and_a_revocation_name_the_author(ayu: Person, budi: Person, family: str) -> None:
    sent = await ayu.send(family, "a typo")
    seen = await budi.until_message(sent.whatsapp_id)
    theirs = MessageKey(chat=family, whatsapp_id=sent.whatsapp_id, participant=seen.sender.jid)
    reaction = await budi.send(family, Reaction(target=theirs, emoji="?"))
    ours = MessageKey(chat=family, whatsapp_id=sent.whatsapp_id, from_me=True, participant=ayu.lid)
    assert (await ayu.until_message(reaction.whatsapp_id)).content == Reaction(target=ours, emoji="?")
    revoke = await ayu.send(family, Revoke(target=MessageKey(chat=family, whatsapp_id=sent.whatsapp_id, from_me=True)))
    assert (await budi.until_message(revoke.whatsapp_id)).content == Revoke(
        target=MessageKey(chat=family, whatsapp_id=sent.whatsapp_id, participant=ayu.lid)
    )


async def test_receipts_of_a_group_name_each_member(ayu: Person, budi: Person, family: str) -> None:
    sent = await ayu.send(family, "who is there?")

    def delivered_to() -> set[str | None]:
        seen = (s for s in ayu.watched.seen if isinstance(s, ReceiptSeen) and sent.whatsapp_id in s.whatsapp_ids)
        return {receipt.sender.pn for receipt in seen if receipt.chat.jid == family}

    await until("receipts of both", lambda: delivered_to() == {budi.jid, VERA_JID}, seen=delivered_to)


async def test_a_group_that_was_left_refuses_messages(whatsapp: EmulatorClient, ayu: Person, family: str) -> None:
    await ayu.send(family, "still here")
    await whatsapp.change_group(family, VERA, remove=[ayu.phone])
    await asyncio.wait_for(until_removed(whatsapp, family, ayu.phone), 10)
    with pytest.raises(SendFailed) as failed:
        await ayu.send(family, "not here any more")
    assert failed.value.reason == "group_left"


async def test_an_unknown_group_refuses_messages(ayu: Person) -> None:
    with pytest.raises(SendFailed) as failed:
        await ayu.send("120363000000000001@g.us", "anybody?")
    assert failed.value.reason in ("group_left", "invalid_recipient")


async def test_a_delivery_to_a_device_that_nobody_looks_at_counts_as_delivered(
    whatsapp: EmulatorClient, ayu: Person, budi: Person
) -> None:
    await whatsapp.contact(budi.phone, delivered=False)  # only his device says that it got something
    try:
        mark = await whatsapp.mark()
        sent = await ayu.send(budi.jid, "are you there?")
        await until("delivered", lambda: "delivered" in ayu.watched.receipts(sent.whatsapp_id))
        said = [e["type"] for e in await whatsapp.journal("receipt.sent", after=mark) if sent.whatsapp_id in e["ids"]]
        assert said == ["inactive"]
    finally:
        await whatsapp.contact(budi.phone, delivered=True)


async def test_a_device_that_marks_messages_lets_their_sender_know(ayu: Person, budi: Person) -> None:
    note = Kept(a_tone(seconds=1), "audio/wav")
    sent = await ayu.send(budi.jid, Audio(media=note.media, voice=True), note)
    received = await budi.until_message(sent.whatsapp_id)
    key = MessageKey(chat=received.chat.jid, whatsapp_id=sent.whatsapp_id)
    await budi.session.mark_read((key,))
    await until("read", lambda: "read" in ayu.watched.receipts(sent.whatsapp_id))
    await budi.session.mark_read((key,), played=True)
    await until("played", lambda: "played" in ayu.watched.receipts(sent.whatsapp_id))


async def until_removed(whatsapp: EmulatorClient, group: str, phone: str) -> None:
    async def is_removed() -> bool:
        return phone not in (await whatsapp.groups())[group]["members"]

    await until(f"{phone} was removed", is_removed)
