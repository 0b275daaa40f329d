"""`sendStatus`: what a status is, who sees it, and how it is answered."""

from typing import Any

import pytest

from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS, Audio, Image, MessageKey, Revoke, Style, Text
from kurir.session_node.engines.sandbox.client import SandboxEngine
from tests.contract.dialects.evolution.conftest import INSTANCE, NAME, Evolution, messages_of
from tests.contract.dialects.evolution.test_messages import b64, sent
from tests.support.printed_examples import file_of

SEND_STATUS = "POST /message/sendStatus/{instance}"
PATH = f"/message/sendStatus/{INSTANCE}"
CARD = {"type": "text", "content": "Open today", "backgroundColor": "#008069", "font": 2}


@pytest.mark.shows(NAME, SEND_STATUS, "statusMessage.type", "statusMessage.content", "statusMessage.backgroundColor")
@pytest.mark.shows(NAME, SEND_STATUS, "statusMessage.font", "statusMessage.allContacts", "answer.message", "v2 body")
async def test_a_text_is_put_on_a_card_and_shown_to_all_contacts(evolution: Evolution) -> None:
    await evolution.connected()
    shown = {"text": "Open today", "backgroundArgb": 0xFF008069, "font": "FB_SCRIPT"}
    v1 = await sent(evolution, "sendStatus", {"statusMessage": {**CARD, "allContacts": True}})
    assert (v1["key"]["remoteJid"], v1["key"]["fromMe"], v1["status"]) == (STATUS, True, "PENDING")
    assert v1["message"] == {"extendedTextMessage": shown}
    v2 = await sent(evolution, "sendStatus", {**CARD, "allContacts": True})
    assert (v2["messageType"], v2["message"]) == ("extendedTextMessage", {"extendedTextMessage": shown})
    for command in await evolution.sent():
        assert (command.to, command.audience) == (STATUS, ())
        assert command.content == Text(text="Open today", style=Style(background="#008069", font=2))


@pytest.mark.shows(NAME, SEND_STATUS, "statusMessage.statusJidList", "statusMessage.caption", "multipart file")
async def test_files_are_shown_to_those_who_are_listed(evolution: Evolution) -> None:
    await evolution.connected()
    viewers = ["6281234567890", "6281234567891@s.whatsapp.net"]
    picture = {"type": "image", "content": b64("a.png"), "caption": "New", "statusJidList": viewers}
    image = await sent(evolution, "sendStatus", {"statusMessage": picture})
    assert image["message"]["imageMessage"]["caption"] == "New"
    await sent(evolution, "sendStatus", {"type": "audio", "content": b64("a.ogg"), "statusJidList": viewers})
    form = await evolution.request(
        "POST",
        PATH,
        data={"type": "image", "statusJidList": ",".join(viewers)},
        files={"file": ("a.png", file_of("a.png", 900))},
    )
    assert form.status_code == 201, form.text
    commands: list[SendMessage] = await evolution.sent()
    assert [type(command.content) for command in commands] == [Image, Audio, Image]
    assert {command.to for command in commands} == {STATUS}
    assert {command.audience for command in commands} == {(f"{viewers[0]}@s.whatsapp.net", viewers[1])}


async def test_a_status_is_taken_back_as_a_message_is(evolution: Evolution) -> None:
    await evolution.connected()
    shown = await sent(evolution, "sendStatus", {**CARD, "allContacts": True})
    deleted = await evolution.delete(f"/chat/deleteMessageForEveryone/{INSTANCE}", shown["key"])
    assert deleted.status_code == 201, deleted.text
    command = (await evolution.sent())[-1]
    target = MessageKey(chat=STATUS, whatsapp_id=shown["key"]["id"], from_me=True)
    assert (command.to, command.content) == (STATUS, Revoke(target=target))


@pytest.mark.shows(NAME, SEND_STATUS, "error 400")
async def test_what_is_wrong_with_a_status_is_told_in_its_words(evolution: Evolution) -> None:
    await evolution.connected()
    wrong: list[tuple[dict[str, Any], Any]] = [
        ({"content": "hi"}, ['instance requires property "type"']),
        ({"statusMessage": {"type": "text"}}, ['statusMessage requires property "content"']),
        ({"type": "poll", "content": "hi"}, ["type is not one of enum values: text,image,video,audio"]),
        ({**CARD, "font": 6}, ["font must be less than or equal to 5"]),
        ({**CARD, "backgroundColor": "green"}, ["backgroundColor is not a color"]),
        ({**CARD, "statusJidList": [7]}, ['"statusJidList" must be an array of numeric strings']),
        (CARD, "StatusJidList is required"),
        ({"type": "text", "content": "hi", "font": 1, "allContacts": True}, "Background color is required"),
        ({**CARD, "font": 0, "allContacts": True}, "Font is required"),
        ({"type": "image", "content": "neither", "allContacts": True}, "Owned media must be a url or base64"),
    ]
    for body, told in wrong:
        refused = await evolution.post(PATH, body)
        assert (refused.status_code, messages_of(refused)) == (400, [told]), body
    wordless = await evolution.request(
        "POST",
        PATH,
        data={"type": "text", "backgroundColor": "#008069", "font": "2", "allContacts": "true"},
        files={"file": ("a.png", file_of("a.png", 900))},
    )
    assert (wordless.status_code, messages_of(wordless)) == (400, [['instance requires property "content"']])
    stranger = await evolution.post(PATH, {**CARD, "statusJidList": ["12"]})
    assert stranger.status_code == 400
    assert messages_of(stranger)[0][0].startswith("statusJidList[0]: ")
    assert await evolution.sent() == []


@pytest.mark.shows(NAME, SEND_STATUS, "error 501")
async def test_what_the_engine_lacks_is_named_and_nothing_is_sent(
    evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxEngine, "capabilities", SandboxEngine.capabilities - {"send.status"})
    await evolution.connected()
    refused = await evolution.post(PATH, {**CARD, "allContacts": True})
    assert (refused.status_code, refused.json()["error"]) == (501, "Not Implemented")
    assert messages_of(refused) == ["Not supported by this gateway's WhatsApp engine: status"]
