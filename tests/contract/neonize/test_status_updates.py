"""Status updates: who sees them, and what becomes known of that."""

import pytest
import pytest_asyncio

from kurir.contracts.content import STATUS, Image, MessageKey, Revoke, Style, Text
from kurir.session_node.engines.engine import ReceiptSeen, SendFailed
from kurir.session_node.engines.observations import StatusPosted
from tests.contract.engine.worlds import Kept
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_picture
from tests.support.conditions import until
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

STRANGER, FRIEND = "628999000077", "628999000078"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def citra(engine: RemoteEngine, emulator: EmulatorProcess, linked: dict[str, Person]) -> Person:
    """Her phone knows Vera, Budi and a friend by name, and nobody else."""
    whatsapp, person = emulator.client, Person("citra", "628111000003")
    for phone in (FRIEND, STRANGER):
        await whatsapp.contact(phone)
    known = {VERA: "Vera", FRIEND: "Friend", linked["budi"].phone: "Budi"}
    await whatsapp.contact(person.phone, contacts=known)
    await person.link(engine, whatsapp)

    async def knows_them() -> bool:
        return {contact.name for contact in await person.session.contacts()} >= {*known.values()}

    await until("the contacts by name", knows_them)
    return person


async def seen_by(whatsapp: EmulatorClient, whatsapp_id: str) -> set[str]:
    """Whose phones have read it, the sender's own apart."""
    read = await whatsapp.journal("message.read")
    return {entry["phone"] for entry in read if entry["id"] == whatsapp_id and not entry["is_copy"]}


async def test_a_text_is_shown_on_its_card_to_the_contacts_with_a_name(
    whatsapp: EmulatorClient, citra: Person, budi: Person
) -> None:
    sent = await citra.send(STATUS, Text(text="Open today", style=Style(background="#008069", font=2)))
    assert (sent.chat.jid, sent.chat.pn) == (STATUS, None)
    shown = (await whatsapp.until_read(VERA, sent.whatsapp_id))["extendedTextMessage"]
    assert (shown["text"], shown["backgroundArgb"], shown["font"]) == ("Open today", 0xFF008069, "FB_SCRIPT")
    await whatsapp.until_read(FRIEND, sent.whatsapp_id)
    asked = await citra.send(VERA_JID, "did you all see it?")
    await whatsapp.until_read(VERA, asked.whatsapp_id)
    await whatsapp.until_read(budi.phone, sent.whatsapp_id)
    assert await seen_by(whatsapp, sent.whatsapp_id) == {VERA, FRIEND, budi.phone}


async def test_who_has_seen_it_is_told_by_receipts(whatsapp: EmulatorClient, citra: Person, budi: Person) -> None:
    picture = Kept(a_picture(), "image/png")
    sent = await citra.send(STATUS, Image(media=picture.media, caption="New"), picture)
    assert (await whatsapp.until_read(VERA, sent.whatsapp_id))["imageMessage"]["caption"] == "New"

    def receipts() -> set[tuple[str | None, str]]:
        heard = (seen for seen in citra.watched.seen if isinstance(seen, ReceiptSeen))
        return {(s.sender.lid, s.status) for s in heard if sent.whatsapp_id in s.whatsapp_ids and s.chat.jid == STATUS}

    vera = str((await whatsapp.contact(VERA))["lid"])
    wanted = {(vera, "delivered"), (vera, "read"), (budi.lid, "delivered")}
    await until("receipts of those who saw it", lambda: receipts() >= wanted, seen=receipts)
    after = await citra.send(budi.jid, "did you see it?")
    await budi.until_message(after.whatsapp_id)
    assert [received for received in budi.watched.received() if received.chat.jid == STATUS] == []


async def test_the_accounts_own_list_goes_before_its_contacts(whatsapp: EmulatorClient, citra: Person) -> None:
    await whatsapp.contact(citra.phone, status_list=[STRANGER])
    try:
        sent = await citra.send(STATUS, "for few")
        await whatsapp.until_read(STRANGER, sent.whatsapp_id)
        assert await seen_by(whatsapp, sent.whatsapp_id) == {STRANGER}
        await citra.send(STATUS, "for the same", audience=(f"{STRANGER}@s.whatsapp.net", VERA_JID))
        with pytest.raises(SendFailed) as failed:
            await citra.send(STATUS, "for others", audience=(VERA_JID,))
        assert failed.value.reason == "kind_not_supported"
    finally:
        await whatsapp.contact(citra.phone, status_list=[])


async def test_an_audience_that_would_be_exceeded_is_refused_and_nothing_is_shown(
    whatsapp: EmulatorClient, citra: Person, budi: Person
) -> None:
    mark = await whatsapp.mark()
    with pytest.raises(SendFailed) as failed:
        await citra.send(STATUS, "for Vera alone", audience=(VERA_JID,))
    assert failed.value.reason == "kind_not_supported"
    assert "chosen people: 2 more" in failed.value.detail
    assert await whatsapp.journal("message.sent", after=mark) == []
    everybody = (VERA_JID, f"{FRIEND}@s.whatsapp.net", budi.jid, f"{STRANGER}@s.whatsapp.net")
    sent = await citra.send(STATUS, "for all I know", audience=everybody)
    await whatsapp.until_read(FRIEND, sent.whatsapp_id)


async def test_a_status_is_taken_back(whatsapp: EmulatorClient, citra: Person) -> None:
    sent = await citra.send(STATUS, "a mistake")
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    key = MessageKey(chat=STATUS, whatsapp_id=sent.whatsapp_id, from_me=True)
    taken = await citra.send(STATUS, Revoke(target=key))
    protocol = (await whatsapp.until_read(VERA, taken.whatsapp_id))["protocolMessage"]
    assert (protocol["key"]["ID"], protocol["key"]["remoteJID"]) == (sent.whatsapp_id, STATUS)


async def test_somebodys_update_is_reported_and_said_to_be_seen(whatsapp: EmulatorClient, citra: Person) -> None:
    shown = await whatsapp.say(VERA, STATUS, "New goods")

    def reported() -> list[StatusPosted]:
        seen = [each for each in citra.watched.seen if isinstance(each, StatusPosted)]
        return [posted for posted in seen if posted.whatsapp_id == shown]

    await until("it is reported", lambda: bool(reported()), seen=lambda: citra.watched.seen[-5:])
    (posted,) = reported()
    assert shown not in [message.whatsapp_id for message in citra.watched.received()]
    await citra.session.mark_read((MessageKey(chat=STATUS, whatsapp_id=shown, participant=posted.sender.jid),))

    async def is_told() -> bool:
        told = await whatsapp.journal("receipt.sent")
        return any(entry["type"] == "read" and shown in entry["ids"] and entry["to"] == VERA for entry in told)

    await until("she is told that it was seen", is_told)
