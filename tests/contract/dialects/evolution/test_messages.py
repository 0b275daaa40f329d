"""Sends: each kind, in v1's bodies and v2's, and what is answered when they fail."""

import base64
from typing import Any

import pytest

from kurir.api.legacy.evolution import messages
from kurir.contracts.content import (
    Audio,
    Contact,
    Document,
    Image,
    List,
    Location,
    MessageKey,
    Poll,
    Reaction,
    Sticker,
    Text,
    Video,
)
from kurir.contracts.records import DialectOptions
from tests.contract.dialects.evolution.conftest import (
    ANI,
    INSTANCE,
    NAME,
    NOBODY_THERE,
    SITE_HOST,
    Evolution,
    key_with,
    messages_of,
)
from tests.support.printed_examples import assert_as_printed, example, file_of
from tests.support.webhook_receiver import Reply, WebhookReceiver

SEND_TEXT = "POST /message/sendText/{instance}"
SEND_MEDIA = "POST /message/sendMedia/{instance}"
NUMBER = "6281234567890"
GROUP = "120363025246125486@g.us"


def b64(name: str, size: int = 700) -> str:
    return base64.b64encode(file_of(name, size)).decode()


async def sent(evolution: Evolution, last: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await evolution.post(f"/message/{last}/{INSTANCE}", body)
    assert answer.status_code == 201, (last, answer.text)
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.shows(NAME, SEND_TEXT, "apikey", "number", "options.delay", "textMessage.text", "options.presence")
@pytest.mark.shows(NAME, SEND_TEXT, "answer.key.id", "answer.message", "answer.messageTimestamp", "answer.status")
async def test_a_text_is_sent_and_answered_as_printed(evolution: Evolution) -> None:
    await evolution.connected()
    printed = example(NAME, "send_text")
    answer = await printed.sent_by(evolution.gateway.api.http, {"apikey": evolution.key})
    assert answer.status_code == printed.status, answer.text
    assert_as_printed(answer.json(), printed.body, varying=("key.id", "messageTimestamp"))
    (command,) = await evolution.sent()
    assert (command.to, command.content, command.typing_ms) == (
        f"{NUMBER}@s.whatsapp.net",
        Text(text="*hi*"),
        100,
    )
    assert answer.json()["key"]["id"] not in (command.id, "")


@pytest.mark.shows(NAME, SEND_TEXT, "group @g.us", "options.quoted", "options.mentions", "options.linkPreview")
@pytest.mark.shows(NAME, SEND_TEXT, "v2 text", "v2 delay", "v2 quoted", "v2 mentioned", "v2 mentionsEveryOne")
async def test_quotes_and_mentions_travel_to_groups_in_both_versions(evolution: Evolution) -> None:
    device = await evolution.connected()
    made = await evolution.post(f"/group/create/{INSTANCE}", {"subject": "Office", "participants": [f"+{ANI}000"]})
    group = made.json()["id"]
    quoted = {
        "key": {"remoteJid": group, "fromMe": False, "id": "3EB0AA", "participant": f"{ANI}000@s.whatsapp.net"},
        "message": {"conversation": "before"},
    }
    v1 = await sent(
        evolution,
        "sendText",
        {
            "number": group,
            "options": {"quoted": quoted, "mentions": {"everyOne": False, "mentioned": [f"{ANI}000"]}},
            "textMessage": {"text": "see https://example.com"},
        },
    )
    assert v1["key"]["remoteJid"] == group
    context = v1["message"]["extendedTextMessage"]["contextInfo"]
    assert (context["stanzaId"], context["mentionedJid"]) == ("3EB0AA", [f"{ANI}000"])
    v2 = await sent(
        evolution,
        "sendText",
        {
            "number": group,
            "text": "hi all",
            "delay": 10,
            "quoted": quoted,
            "mentionsEveryOne": True,
            "linkPreview": False,
        },
    )
    assert (v2["messageType"], v2["status"], v2["instanceId"]) == ("extendedTextMessage", "PENDING", device)
    assert v2["source"] in ("web", "desktop", "android", "ios", "unknown")
    assert isinstance(v2["messageTimestamp"], int)
    first, second = await evolution.sent()
    assert isinstance(first.content, Text)
    assert first.content.link_preview
    assert first.quote is not None
    assert (first.quote.key.whatsapp_id, first.quote.text) == ("3EB0AA", "before")
    assert first.mentions == (f"{ANI}000@s.whatsapp.net",)
    assert set(second.mentions) == {f"{ANI}000@s.whatsapp.net", "628111222333@s.whatsapp.net"}
    plain = await sent(evolution, "sendText", {"number": f"+{NUMBER[:2]} {NUMBER[2:]}", "text": "hi"})
    assert plain["message"] == {"conversation": "hi"}
    assert plain["key"]["remoteJid"] == f"{NUMBER}@s.whatsapp.net"


@pytest.mark.shows(
    NAME, SEND_MEDIA, "media as base64", "mediaMessage.caption", "mediaMessage.fileName", "multipart file"
)
@pytest.mark.shows(NAME, SEND_MEDIA, "mediaMessage.mediatype", "v2 mediatype", "answer.message", "error 400")
async def test_files_are_sent_as_base64_and_by_a_form(evolution: Evolution) -> None:
    await evolution.connected()
    body = {"mediatype": "image", "media": b64("a.png"), "caption": "Look"}
    v1 = await sent(evolution, "sendMedia", {"number": NUMBER, "mediaMessage": body})
    image = v1["message"]["imageMessage"]
    assert (image["mimetype"], image["caption"], image["fileLength"]) == ("image/png", "Look", "700")
    assert base64.b64decode(image["fileSha256"])
    assert image["url"].startswith("http://127.0.0.1:8080/media/")
    data_url = "data:application/pdf;base64," + b64("a.pdf")
    v2 = await sent(
        evolution,
        "sendMedia",
        {"number": NUMBER, "mediatype": "document", "media": data_url, "fileName": "bill.pdf", "mimetype": "x/y"},
    )
    assert v2["messageType"] == "documentMessage"
    assert v2["message"]["documentMessage"]["fileName"] == "bill.pdf"
    form = await evolution.request(
        "POST",
        f"/message/sendMedia/{INSTANCE}",
        data={"number": NUMBER, "mediatype": "document", "fileName": "form.pdf", "delay": "10"},
        files={"file": ("x.pdf", file_of("x.pdf", 900))},
    )
    assert form.status_code == 201, form.text
    contents = [command.content for command in await evolution.sent()]
    assert [type(one) for one in contents] == [Image, Document, Document]
    medias = [one.media for one in contents if isinstance(one, Image | Document)]
    assert [(media.file_name, media.size) for media in medias] == [
        ("image.png", 700),
        ("bill.pdf", 700),
        ("form.pdf", 900),
    ]
    no_name = {"number": NUMBER, "mediaMessage": {"mediatype": "document", "media": b64("a.pdf")}}
    for wrong, sentence in (
        (no_name, "For base64 the file name must be informed."),
        ({"number": NUMBER, "mediatype": "image", "media": "neither"}, "Owned media must be a url or base64"),
    ):
        refused = await evolution.post(f"/message/sendMedia/{INSTANCE}", wrong)
        assert (refused.status_code, messages_of(refused)) == (400, [sentence])
    mislabelled = {"number": NUMBER, "mediatype": "image", "media": b64("a.pdf")}
    refused = await evolution.post(f"/message/sendMedia/{INSTANCE}", mislabelled)
    assert (refused.status_code, refused.json()["error"]) == (415, "Unsupported Media Type")


@pytest.mark.shows(NAME, SEND_MEDIA, "media by URL")
async def test_a_file_is_fetched_from_its_url_and_never_from_inside(evolution: Evolution) -> None:
    await evolution.connected()
    async with WebhookReceiver(host=SITE_HOST) as site:
        site.on("/bill%201.pdf", Reply(200, file_of("a.pdf", 800)))
        body = {"mediatype": "document", "media": site.url("/bill%201.pdf"), "caption": "Your bill"}
        told = await sent(evolution, "sendMedia", {"number": NUMBER, "mediaMessage": body})
    document = told["message"]["documentMessage"]
    assert (document["fileName"], document["mimetype"], document["caption"]) == (
        "bill 1.pdf",
        "application/pdf",
        "Your bill",
    )
    for url, code in (
        ("http://127.0.0.1:1/a.png", 400),
        ("http://169.254.169.254/a.png", 400),
    ):
        refused = await evolution.post(
            f"/message/sendMedia/{INSTANCE}", {"number": NUMBER, "mediatype": "image", "media": url}
        )
        assert refused.status_code == code, refused.text
        assert "not allowed" in str(messages_of(refused))


@pytest.mark.shows(NAME, "POST /message/sendWhatsAppAudio/{instance}", "audioMessage.audio", "v2 audio")
@pytest.mark.shows(NAME, "POST /message/sendSticker/{instance}", "stickerMessage.image", "v2 sticker")
@pytest.mark.shows(NAME, "POST /message/sendLocation/{instance}", "locationMessage", "v2 latitude")
@pytest.mark.shows(NAME, "POST /message/sendContact/{instance}", "contactMessage", "v2 contact")
@pytest.mark.shows(NAME, "POST /message/sendReaction/{instance}", "reactionMessage.key", "reactionMessage.reaction")
@pytest.mark.shows(NAME, "POST /message/sendPoll/{instance}", "pollMessage.values", "pollMessage.selectableCount")
async def test_every_other_kind_is_sent_in_both_versions(evolution: Evolution) -> None:
    await evolution.connected()
    to = {"number": NUMBER, "options": {"delay": 0}}
    place = {"latitude": -6.2, "longitude": 106.8, "name": "Monas", "address": "Jakarta"}
    person = {"fullName": "Ann", "wuid": "6281234567000", "phoneNumber": "+62 812-3456-7000", "organization": "Office"}
    key = {"remoteJid": f"{NUMBER}@s.whatsapp.net", "fromMe": True, "id": "3EB0AA"}
    poll = {"name": "Lunch?", "selectableCount": 1, "values": ["yes", "no"]}
    v1: dict[str, dict[str, Any]] = {
        "sendWhatsAppAudio": {**to, "audioMessage": {"audio": b64("a.ogg")}},
        "sendSticker": {**to, "stickerMessage": {"image": b64("a.webp")}},
        "sendLocation": {**to, "locationMessage": place},
        "sendContact": {**to, "contactMessage": [person]},
        "sendReaction": {"reactionMessage": {"key": key, "reaction": "👍"}},
        "sendPoll": {**to, "pollMessage": poll},
    }
    v2: dict[str, dict[str, Any]] = {
        "sendWhatsAppAudio": {"number": NUMBER, "audio": b64("a.ogg")},
        "sendSticker": {"number": NUMBER, "sticker": b64("a.webp")},
        "sendLocation": {"number": NUMBER, **place},
        "sendContact": {"number": NUMBER, "contact": [person]},
        "sendReaction": {"key": key, "reaction": "👍"},
        "sendPoll": {"number": NUMBER, **poll},
    }
    kinds = [
        "audioMessage",
        "stickerMessage",
        "locationMessage",
        "contactMessage",
        "reactionMessage",
        "pollCreationMessage",
    ]
    for bodies in (v1, v2):
        answers = [await sent(evolution, last, body) for last, body in bodies.items()]
        assert [next(iter(answer["message"])) for answer in answers] == kinds
    contents = [command.content for command in await evolution.sent()]
    assert [type(one) for one in contents] == [Audio, Sticker, Location, Contact, Reaction, Poll] * 2
    audio, _, _, contact, reaction, _ = contents[:6]
    assert isinstance(audio, Audio)
    assert audio.voice
    assert isinstance(contact, Contact)
    assert contact.contacts[0].phones == ("6281234567000",)
    assert reaction == Reaction(
        target=MessageKey(chat=f"{NUMBER}@s.whatsapp.net", whatsapp_id="3EB0AA", from_me=True), emoji="👍"
    )


SEND_LIST = "POST /message/sendList/{instance}"


@pytest.mark.shows(NAME, SEND_LIST, "number", "options.delay", "listMessage.title", "listMessage.description")
@pytest.mark.shows(NAME, SEND_LIST, "listMessage.buttonText", "listMessage.footerText", "listMessage.sections")
@pytest.mark.shows(NAME, SEND_LIST, "v2 body", "answer.message.listMessage", "error 400")
async def test_a_list_is_sent_and_answered_as_it_was_given(evolution: Evolution) -> None:
    await evolution.connected()
    rows = [{"title": "Soto", "description": "with rice", "rowId": "soto"}, {"title": "Sate", "rowId": "sate"}]
    menu: dict[str, Any] = {
        "title": "Lunch",
        "description": "What shall it be?",
        "buttonText": "Menu",
        "footerText": "until 2 pm",
    }
    menu["sections"] = [{"title": "Warm", "rows": rows}]
    v1 = await sent(evolution, "sendList", {"number": NUMBER, "options": {"delay": 0}, "listMessage": menu})
    v2 = await sent(evolution, "sendList", {"number": NUMBER, **menu})
    assert v1["message"] == v2["message"] == {"listMessage": {**menu, "listType": "SINGLE_SELECT"}}
    assert v2["messageType"] == "listMessage"
    first, second = await evolution.sent()
    assert first.content == second.content
    assert isinstance(first.content, List)
    assert [row.id for row in first.content.sections[0].rows] == ["soto", "sate"]
    twice = [{"title": "Warm", "rows": [rows[0], rows[0]]}]
    for change, found in (
        ({"sections": None}, 'instance requires property "sections"'),
        ({"footerText": None}, 'instance requires property "footerText"'),
        ({"sections": [{"title": "Warm", "rows": []}]}, "sections[0].rows does not meet minimum length of 1"),
        ({"sections": [{"title": "Warm", "rows": [{"title": "x"}]}]}, 'sections[0].rows[0] requires property "rowId"'),
        ({"sections": twice}, "sections contains duplicate item"),
    ):
        refused = await evolution.post(f"/message/sendList/{INSTANCE}", {"number": NUMBER, **menu, **change})
        assert (refused.status_code, messages_of(refused)) == (400, [[found]])


@pytest.mark.shows(NAME, "POST /message/sendPtv/{instance}", "v2 video", "multipart file", "answer.message.ptvMessage")
@pytest.mark.shows(NAME, SEND_MEDIA, "v2 mediatype ptv")
async def test_a_video_is_sent_as_a_round_note(evolution: Evolution) -> None:
    await evolution.connected()
    path = f"/message/sendPtv/{INSTANCE}"
    film = b64("a.mp4")
    note = await sent(evolution, "sendPtv", {"number": NUMBER, "video": film, "delay": 10})
    assert note["messageType"] == "ptvMessage"
    assert (note["message"]["ptvMessage"]["mimetype"], note["message"]["ptvMessage"]["fileLength"]) == (
        "video/mp4",
        "700",
    )
    media = {"number": NUMBER, "mediatype": "ptv", "media": film, "caption": "not shown"}
    as_media = await sent(evolution, "sendMedia", media)
    assert as_media["messageType"] == "ptvMessage"
    form = await evolution.request(
        "POST", path, data={"number": NUMBER}, files={"file": ("a.mp4", file_of("a.mp4", 900))}
    )
    assert form.status_code == 201, form.text
    contents = [command.content for command in await evolution.sent()]
    assert [(one.note, one.caption) for one in contents if isinstance(one, Video)] == [(True, None)] * 3
    for wrong, status in (({"number": NUMBER}, 400), ({"number": NUMBER, "video": b64("a.png")}, 415)):
        assert (await evolution.post(path, wrong)).status_code == status


@pytest.mark.shows(NAME, "POST /message/sendButtons/{instance}", "error 400")
@pytest.mark.shows(NAME, "POST /message/sendTemplate/{instance}", "error 400")
@pytest.mark.shows(NAME, "POST /message/sendCarousel/{instance}", "error 501")
async def test_what_cannot_be_sent_is_refused_and_named(evolution: Evolution) -> None:
    await evolution.created()
    buttons = await evolution.post(f"/message/sendButtons/{INSTANCE}", {"number": NUMBER})
    assert (buttons.status_code, messages_of(buttons)) == (400, ["Method not available on WhatsApp Baileys"])
    template = await evolution.post(f"/message/sendTemplate/{INSTANCE}", {"number": NUMBER})
    assert template.status_code == 400
    refused = await evolution.post(f"/message/sendCarousel/{INSTANCE}", {"number": NUMBER})
    assert (refused.status_code, refused.json()["error"]) == (501, "Not Implemented")
    assert "carousel messages" in messages_of(refused)[0]


@pytest.mark.shows(NAME, SEND_TEXT, "error 400", "error 503", "error 400 number not on WhatsApp")
async def test_failures_are_told_in_its_words_and_send_nothing(evolution: Evolution) -> None:
    await evolution.created("offline")
    await evolution.connected()
    offline = await evolution.post("/message/sendText/offline", {"number": NUMBER, "text": "hi"})
    assert (offline.status_code, messages_of(offline)[0]) == (503, "Connection Closed")
    path = f"/message/sendText/{INSTANCE}"
    for body, found in (
        ({"text": "hi"}, ['instance requires property "number"']),
        ({"number": NUMBER, "textMessage": {}}, ['textMessage requires property "text"']),
        ({"number": NUMBER, "options": {}}, ['instance requires property "textMessage"', None]),
        ({"number": NUMBER, "text": ""}, ['The "text" cannot be empty']),
        ({"number": NUMBER, "text": 7}, ["text is not of a type(s) string"]),
        ({"number": "abc", "text": "hi"}, ["Invalid format"]),
        ({"number": NUMBER, "text": "hi", "delay": "soon"}, ["delay is not of a type(s) integer"]),
        ({"number": NUMBER, "text": "hi", "mentioned": "all"}, ["mentioned is not of a type(s) array"]),
    ):
        refused = await evolution.post(path, body)
        assert (refused.status_code, refused.json()["error"]) == (400, "Bad Request")
        (told,) = messages_of(refused)
        assert told[0] == found[0], (body, told)
    assert await evolution.sent() == []
    unknown = await evolution.post(path, {"number": NOBODY_THERE, "text": "hi"})
    assert unknown.status_code == 400
    assert messages_of(unknown) == [{"exists": False, "jid": f"{NOBODY_THERE}@s.whatsapp.net", "number": NOBODY_THERE}]
    impossible = await evolution.post(path, {"number": "62", "text": "hi"})
    assert messages_of(impossible) == [{"exists": False, "jid": "62@s.whatsapp.net", "number": "62"}]
    refused = await evolution.post(path, {"number": "628125550102", "text": "hi"})
    assert refused.status_code == 400
    assert "engine" in messages_of(refused)[0]
    broken = await evolution.request("POST", path, content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["error"]) == (400, "Bad Request")


async def test_an_urlencoded_body_is_taken_too(evolution: Evolution) -> None:
    await evolution.connected()
    answer = await evolution.request("POST", f"/message/sendText/{INSTANCE}", data={"number": NUMBER, "text": "hi"})
    assert answer.status_code == 201, answer.text


@pytest.mark.shows(NAME, SEND_MEDIA, "large files", "error 413")
async def test_files_may_be_as_large_as_their_kind_and_no_larger(evolution: Evolution) -> None:
    await evolution.connected()
    path = f"/message/sendMedia/{INSTANCE}"
    body = {"number": NUMBER, "mediatype": "image", "media": b64("a.png", 3_000_000)}
    assert (await evolution.post(path, body)).status_code == 201
    form = {"number": NUMBER, "mediatype": "document", "fileName": "a.pdf"}
    uploaded = await evolution.request("POST", path, data=form, files={"file": ("a.pdf", file_of("a.pdf", 3_000_000))})
    assert uploaded.status_code == 201, uploaded.text
    large = await evolution.post(path, {**body, "media": b64("a.png", 17_000_000)})
    assert large.status_code == 413
    text = await evolution.post(f"/message/sendText/{INSTANCE}", {"number": NUMBER, "text": "x" * 2_000_000})
    assert text.status_code == 413


@pytest.mark.shows(NAME, SEND_TEXT, "answer.key.id of a message that waits")
async def test_a_message_that_waits_is_answered_with_our_id_of_it(
    evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "SENT_WITHIN_S", 0.05)
    await evolution.created()
    patient = await key_with(evolution, DialectOptions(when_offline="queue"))
    answer = await patient.post(f"/message/sendText/{INSTANCE}", {"number": NUMBER, "text": "hi"})
    assert (answer.status_code, answer.json()["status"]) == (201, "PENDING")
    (command,) = await evolution.sent()
    assert answer.json()["key"]["id"] == command.id


async def test_a_file_that_waits_is_told_by_its_kind(evolution: Evolution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SENT_WITHIN_S", 0.05)
    await evolution.created()
    patient = await key_with(evolution, DialectOptions(when_offline="queue"))
    body = {"number": NUMBER, "mediatype": "image", "caption": "Look", "media": b64("a.png")}
    answer = await patient.post(f"/message/sendMedia/{INSTANCE}", body)
    assert answer.json()["message"] == {"imageMessage": {"caption": "Look"}}
