"""Messages between real neonize clients and the emulator's virtual phones, both ways and in groups."""

import asyncio
from pathlib import Path

import pytest

from tests.contract.whatsapp_emulator.people import AYU, BUDI, VERA, a_png
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients, text_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_virtual_phone_reads_a_text_and_answers(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.contact(VERA, echo=True)
    before = len(clients.events)
    sent = await clients.do(ayu, "send_text", to=VERA, text="echo is anybody there?")
    content = await whatsapp.until_read(VERA, sent["id"])
    assert content["extendedTextMessage"]["text"] == "echo is anybody there?"
    answer = await clients.until_text(ayu, "is anybody there?", after=before)
    assert answer["Info"]["Pushname"] == "Vera"
    assert answer["Info"]["MessageSource"]["SenderAlt"]["User"] == VERA


async def test_delivery_and_reading_are_told_by_receipts(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.contact(VERA, read=True, read_after_s=0.05)
    before = len(clients.events)
    sent = await clients.do(ayu, "send_text", to=VERA, text="please read")
    await clients.until_receipt(ayu, sent["id"], "DELIVERED", after=before)
    await clients.until_receipt(ayu, sent["id"], "READ", after=before)


async def test_a_phone_that_is_off_sends_no_receipt(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.contact("628999000003", delivered=False)
    before = len(clients.events)
    silent = await clients.do(ayu, "send_text", to="628999000003", text="are you off?")
    loud = await clients.do(ayu, "send_text", to=VERA, text="are you on?")
    await clients.until_receipt(ayu, loud["id"], "DELIVERED", after=before)
    receipts = clients.seen(ayu, "ReceiptEv", after=before)
    assert not [receipt for receipt in receipts if silent["id"] in receipt["MessageIDs"]]


async def test_two_clients_write_to_each_other(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, budi: str
) -> None:
    before = len(clients.events)
    sent = await clients.do(ayu, "send_text", to=BUDI, text="from client to client")
    received = await clients.until_text(budi, "from client to client", after=before)
    assert received["Info"]["ID"] == sent["id"]
    await clients.do(budi, "send_text", to=AYU, text="and back")
    await clients.until_text(ayu, "and back", after=before)
    own_copy = await whatsapp.until_journal("message.read", phone=AYU, id=sent["id"])
    assert own_copy[0]["is_copy"] is True


async def test_a_client_says_when_it_has_read(whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str) -> None:
    before, mark = len(clients.events), await whatsapp.mark()
    message = await whatsapp.say(VERA, AYU, "have you read this?")
    await clients.until_text(ayu, "have you read this?", after=before)
    await clients.do(ayu, "mark_read", message=message)
    (receipt,) = await whatsapp.until_journal("receipt.sent", after=mark, type="read", to=VERA)
    assert receipt["ids"] == [message]


async def test_what_the_owner_writes_on_the_phone_is_copied_to_the_devices(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before = len(clients.events)
    await whatsapp.say(AYU, VERA, "written on my phone")
    copy = await clients.until_text(ayu, "written on my phone", after=before)
    source = copy["Info"]["MessageSource"]
    assert source["IsFromMe"] is True
    assert source["Chat"]["User"] == (await whatsapp.accounts())[VERA]["lid"].partition("@")[0]


async def test_phones_send_more_than_texts(whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str) -> None:
    before = len(clients.events)
    question = await whatsapp.say(VERA, AYU, poll={"name": "Lunch?", "options": ["Soto", "Rawon"]})
    lid = (await whatsapp.accounts())[AYU]["lid"]
    sent = await clients.do(ayu, "send_text", to=VERA, text="like this")
    await whatsapp.say(VERA, AYU, reaction={"id": sent["id"], "chat": lid, "text": "❤"})
    place = {"locationMessage": {"degreesLatitude": -6.2, "degreesLongitude": 106.8, "name": "Jakarta"}}
    await whatsapp.say(VERA, AYU, message=place)
    await whatsapp.say(VERA, AYU, edit={"id": question, "text": "Dinner?"})
    await whatsapp.say(VERA, AYU, revoke=question)

    async def received(field: str, inside: str = "Message") -> dict[str, object]:
        event = await clients.until(ayu, "MessageEv", lambda data: field in data.get(inside, {}), after=before)
        return dict(event["data"])

    assert (await received("pollCreationMessageV3"))["Info"]["ID"] == question  # type: ignore[index]
    assert (await received("reactionMessage"))["Message"]["reactionMessage"]["key"]["ID"] == sent["id"]  # type: ignore[index]
    assert "locationMessage" in str(await received("locationMessage"))
    await clients.until(
        ayu, "MessageEv", lambda data: data["Message"].get("protocolMessage", {}).get("type") == "REVOKE", after=before
    )


async def test_a_group_text_reaches_all_members_and_their_answers_come_back(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, budi: str
) -> None:
    before = len(clients.events)
    group = await clients.do(ayu, "create_group", subject="Family", members=[BUDI, VERA])
    await clients.until(budi, "JoinedGroupEv", after=before)
    for text in ("hello everybody", "hello again"):
        sent = await clients.do(ayu, "send_text", to=group, text=text)
        await clients.until_text(budi, text, after=before)
        assert (await whatsapp.until_read(VERA, sent["id"]))["extendedTextMessage"]["text"] == text
    await whatsapp.say(VERA, group, "hello from Vera")
    await clients.until_text(ayu, "hello from Vera", after=before)
    answer = await clients.until_text(budi, "hello from Vera", after=before)
    assert answer["Info"]["MessageSource"]["IsGroup"] is True


async def test_groups_are_listed_changed_and_left(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, budi: str
) -> None:
    before = len(clients.events)
    group = await whatsapp.create_group("Office", VERA, [AYU])
    await clients.until(ayu, "JoinedGroupEv", after=before)
    assert (await clients.do(ayu, "groups"))[group] == "Office"
    await whatsapp.change_group(group, VERA, promote=[AYU], add=[BUDI], subject="Office 2")
    await clients.until(budi, "JoinedGroupEv", after=before)
    await clients.until(ayu, "GroupInfoEv", lambda data: "Office 2" in str(data), after=before)
    assert len((await clients.do(ayu, "group", jid=group))["Participants"]) == 3
    code = (await whatsapp.groups())[group]["invite_code"]
    assert await clients.do(ayu, "invite_link", jid=group) == f"https://chat.whatsapp.com/{code}"
    await clients.do(ayu, "rename_group", jid=group, subject="Office 3")
    await clients.do(budi, "leave_group", jid=group)
    assert (await whatsapp.groups())[group]["subject"] == "Office 3"
    assert set((await whatsapp.groups())[group]["members"]) == {VERA, AYU}


async def test_an_image_comes_out_of_the_phone_as_it_went_in(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, tmp_path: Path
) -> None:
    image = tmp_path / "sent.png"
    image.write_bytes(a_png(side=200))
    sent = await clients.do(ayu, "send_image", to=VERA, path=str(image), caption="look")
    assert (await whatsapp.until_read(VERA, sent["id"]))["imageMessage"]["caption"] == "look"
    assert await whatsapp.media(VERA, sent["id"]) == image.read_bytes()


async def test_an_image_of_a_phone_is_downloaded_as_it_was_sent(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, tmp_path: Path
) -> None:
    image, before = a_png(side=300), len(clients.events)
    message = await whatsapp.send_media(VERA, AYU, "image", image, "image/png", caption="look back")
    await clients.until(ayu, "MessageEv", lambda data: data["Info"]["ID"] == message, after=before)
    received = tmp_path / "received.png"
    await clients.do(ayu, "download", message=message, path=str(received))
    assert received.read_bytes() == image


async def test_what_was_sent_to_an_offline_device_comes_at_its_next_login_in_order(
    whatsapp: EmulatorClient, clients: NeonizeClients, budi: str
) -> None:
    await clients.do(budi, "stop")
    await whatsapp.until_offline(BUDI)
    await whatsapp.say_many(VERA, BUDI, "while you were away {n}", count=5)
    assert (await whatsapp.accounts())[BUDI]["devices"][0]["queued"] == 5
    before, mark = len(clients.events), await whatsapp.mark()
    await clients.open(budi)
    await clients.until(budi, "OfflineSyncCompletedEv", after=before)
    await clients.until_text(budi, "while you were away 4", after=before)
    texts = [text_of(data) for data in clients.seen(budi, "MessageEv", after=before)]
    assert texts == [f"while you were away {number}" for number in range(5)]
    delivered = await whatsapp.journal("message.delivered", after=mark)
    assert all(entry["was_queued"] for entry in delivered[:5])


async def test_a_burst_of_messages_is_received_whole(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before = len(clients.events)
    ids = await whatsapp.say_many(VERA, AYU, "burst {n}", count=300)
    await clients.until_text(ayu, "burst 299", after=before, within_s=30)

    def are_all_there() -> bool:
        return set(ids) <= {data["Info"]["ID"] for data in clients.seen(ayu, "MessageEv", after=before)}

    await until("all 300 messages were received", are_all_there, within_s=30)


async def test_sending_and_receiving_at_once_loses_nothing_that_is_asked_for_again(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    incoming = asyncio.create_task(whatsapp.say_many(VERA, AYU, "in {n}", count=50))
    sent = [await clients.do(ayu, "send_text", to=VERA, text=f"out {number}") for number in range(20)]
    await incoming

    async def all_have_come() -> bool:
        read = await whatsapp.journal("message.read", "message.unreadable")
        return {message["id"] for message in sent} <= {entry["id"] for entry in read if entry["phone"] == VERA}

    await until("every message reached the phone", all_have_come)


async def test_availability_typing_calls_and_profiles_are_played(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before, mark = len(clients.events), await whatsapp.mark()
    await clients.do(ayu, "available")
    await whatsapp.until_journal("presence.sent", after=mark, type="available")
    await clients.do(ayu, "typing", to=VERA)
    await whatsapp.until_journal("typing.sent", after=mark, state="composing")
    await whatsapp.type(VERA, AYU)
    await clients.until(ayu, "ChatPresenceEv", after=before)
    call = await whatsapp.call(VERA, AYU)
    await clients.until(ayu, "CallOfferEv", lambda data: call in str(data), after=before)
    await whatsapp.contact(VERA, picture=a_png(side=20))
    assert (await clients.do(ayu, "picture", of=VERA)).startswith("https://mmg.whatsapp.net/pictures/")
    known = await clients.do(ayu, "on_whatsapp", numbers=[VERA, "628000000000"])
    assert known == {VERA: True, "628000000000": False}


async def test_a_message_that_a_phone_cannot_read_is_sent_again_by_the_client(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.contact(VERA, unreadable=1)
    sent = await clients.do(ayu, "send_text", to=VERA, text="once more, please")
    await whatsapp.until_journal("message.unreadable", phone=VERA, id=sent["id"])
    assert (await whatsapp.until_read(VERA, sent["id"]))["extendedTextMessage"]["text"] == "once more, please"
    await whatsapp.until_journal("message.sent", id=sent["id"], is_sent_again=True)


async def test_a_group_message_that_a_phone_cannot_read_is_sent_again_to_it_alone(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, budi: str
) -> None:
    group = await whatsapp.create_group("Hard of hearing", AYU, [BUDI, VERA])
    await whatsapp.contact(VERA, unreadable=1)
    sent = await clients.do(ayu, "send_text", to=group, text="once more to the group")
    assert (await whatsapp.until_read(VERA, sent["id"]))["extendedTextMessage"]["text"] == "once more to the group"
    delivered = await whatsapp.journal("message.delivered")
    assert [entry["device"] for entry in delivered if entry["id"] == sent["id"]] == [f"{BUDI}:1"]


@pytest.mark.parametrize("chat", ["alone", "in a group"])
async def test_a_message_that_a_client_cannot_read_is_sent_again_by_the_phone(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, chat: str
) -> None:
    to = AYU if chat == "alone" else await whatsapp.create_group("Noisy line", VERA, [AYU])
    before = len(clients.events)
    message = await whatsapp.say(VERA, to, f"damaged {chat}", is_damaged=True)
    received = await clients.until_text(ayu, f"damaged {chat}", after=before)
    assert received["Info"]["ID"] == message
    await whatsapp.until_journal("message.sent_again", phone=VERA, id=message)
