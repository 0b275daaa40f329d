"""What a webhook of the device API says, byte for byte, and that its size and number forms suit every receiver."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kurir.contracts import events, states
from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Image,
    LinkPreview,
    List,
    ListReply,
    ListRow,
    ListSection,
    Location,
    Media,
    MessageKey,
    Poll,
    PollVote,
    Quote,
    Reaction,
    Sticker,
    Style,
    Text,
    Unsupported,
    Video,
)
from kurir.contracts.records import PayloadShape as ShapeName
from kurir.dialects.device_gateway.events import NAMES
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.shapes import SHAPES
from tests.contract.dialects.test_payloads_survive_javascript import through_node

EXAMPLES = Path(__file__).parents[2] / "examples"
AT = datetime(2025, 5, 5, 22, 40, 0, tzinfo=UTC)
ALICE = Address(jid="628111222333@s.whatsapp.net", pn="628111222333@s.whatsapp.net", lid="77@lid")
PICTURE = Media(object="t1/m1", mimetype="image/jpeg", size=2048, sha256="ab" * 32, file_name="cat.jpg")
SHOWN_PICTURE = {"url": "https://kurir.example/media/m1", "mimetype": "image/jpeg", "fileLength": "2048"}


def media_url(media: Media) -> str:
    return "https://kurir.example/media/" + media.object.split("/")[1]


CONTEXT = Context(media_url=media_url)


def told(event: events.Event, shape: str = "device_gateway") -> Payload:
    return SHAPES[shape].payload(events.type_of(event), events.encode(event), CONTEXT)  # type: ignore[index]


def a_message(content: Content | None = None, **fields: Any) -> events.MessageUpserted:
    return events.MessageUpserted(
        **{
            "id": "e1",
            "tenant": "t1",
            "device": "cmosh123abc",
            "at": AT,
            "message_id": "in1",
            "whatsapp_id": "3EB0",
            "chat": ALICE,
            "sender": ALICE,
            "content": content or Text(text="Halo!"),
            "sent_at": datetime(2025, 5, 5, 22, 39, 58, tzinfo=UTC),
            **fields,
        }
    )


def a_status(status: states.MessageStatus, **fields: Any) -> events.MessageStatusChanged:
    return events.MessageStatusChanged(
        **{
            "id": "e1",
            "tenant": "t1",
            "device": "d1",
            "at": AT,
            "message_id": "m1",
            "to": "628@s.whatsapp.net",
            "status": status,
            **fields,
        }
    )


def data_of(event: events.Event) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(told(event).body)["data"]
    return data


def test_a_received_text_has_exactly_these_bytes() -> None:
    assert told(a_message()) == Payload(
        "message.received",
        b'{"event":"message.received","timestamp":1746484800000,"data":{"deviceId":"cmosh123abc",'
        b'"remoteJid":"628111222333@s.whatsapp.net","fromMe":false,"type":"conversation",'
        b'"content":{"conversation":"Halo!"},"timestamp":1746484798,"id":"in1","messageId":"3EB0","pushName":null,'
        b'"participant":null,"remoteJidAlt":"77@lid","participantAlt":null,"media":null}}',
    )


def test_a_status_has_exactly_these_bytes() -> None:
    assert told(a_status("sent", whatsapp_id="3EB0")) == Payload(
        "message.status",
        b'{"event":"message.status","timestamp":1746484800000,"data":{"deviceId":"d1","id":"m1","messageId":"3EB0",'
        b'"remoteJid":"628@s.whatsapp.net","status":"SENT","error":null,"timestamp":1746484800}}',
    )


def test_a_connection_has_exactly_these_bytes() -> None:
    event = events.ConnectionUpdate(id="e1", tenant="t1", device="d1", at=AT, state="connected", phone="628111")
    assert told(event) == Payload(
        "device.status",
        b'{"event":"device.status","timestamp":1746484800000,"data":{"deviceId":"d1","status":"CONNECTED",'
        b'"phoneNumber":"628111","reason":null}}',
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("queued", "QUEUED"),
        ("retrying", "QUEUED"),
        ("sent", "SENT"),
        ("delivered", "DELIVERED"),
        ("read", "READ"),
        ("played", "READ"),
        ("undelivered", "SENT"),
        ("failed", "FAILED"),
        ("unknown", "FAILED"),
        ("expired", "FAILED"),
        ("canceled", "FAILED"),
    ],
)
def test_each_status_has_a_word(status: states.MessageStatus, word: str) -> None:
    assert data_of(a_status(status))["status"] == word


def test_a_failure_says_why_in_a_sentence() -> None:
    error = data_of(a_status("failed", reason="not_on_whatsapp"))["error"]
    assert error == {"code": "not_on_whatsapp", "message": states.SENTENCES["not_on_whatsapp"], "detail": None}


def test_a_message_under_way_is_queued() -> None:
    queued = events.MessageQueued(
        id="e1", tenant="t1", device="d1", at=AT, message_id="m1", to="628@s.whatsapp.net", content=Text(text="a")
    )
    sending = events.MessageSending(id="e2", tenant="t1", device="d1", at=AT, message_id="m1", to="628@s.whatsapp.net")
    assert data_of(queued) == data_of(sending)
    assert told(sending).event == "message.status"


def test_a_hidden_chat_stands_under_its_phone_number_when_that_is_known() -> None:
    hidden = Address(jid="77@lid", pn="628111@s.whatsapp.net", lid="77@lid")
    data = data_of(a_message(chat=hidden))
    assert (data["remoteJid"], data["remoteJidAlt"]) == ("628111@s.whatsapp.net", "77@lid")
    only_hidden = data_of(a_message(chat=Address(jid="77@lid", lid="77@lid")))
    assert (only_hidden["remoteJid"], only_hidden["remoteJidAlt"]) == ("77@lid", None)


def test_in_a_group_the_sender_is_the_participant() -> None:
    data = data_of(a_message(chat=Address(jid="1@g.us"), is_group=True, push_name="Ann"))
    assert (data["remoteJid"], data["participant"]) == ("1@g.us", "628111222333@s.whatsapp.net")
    assert (data["participantAlt"], data["pushName"]) == ("77@lid", "Ann")


CARD = ContactCard(name="Ann, B", phones=("62811",), organization="ACME; Ltd", email="a@b.example")
VCARD = (
    "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\\, B\nN:;Ann\\, B;;;\nORG:ACME\\; Ltd;\n"
    "TEL;type=CELL;type=VOICE;waid=62811:+62811\nEMAIL:a@b.example\nEND:VCARD"
)
KINDS: list[tuple[Content, str, dict[str, Any]]] = [
    (Image(media=PICTURE, caption="Hi"), "imageMessage", {**SHOWN_PICTURE, "caption": "Hi"}),
    (Image(media=PICTURE), "imageMessage", SHOWN_PICTURE),
    (Video(media=PICTURE, caption="Hi"), "videoMessage", {**SHOWN_PICTURE, "caption": "Hi"}),
    (Audio(media=PICTURE, voice=True), "audioMessage", {**SHOWN_PICTURE, "ptt": True}),
    (Document(media=PICTURE), "documentMessage", {**SHOWN_PICTURE, "fileName": "cat.jpg"}),
    (Sticker(media=PICTURE), "stickerMessage", SHOWN_PICTURE),
    (
        Location(latitude=-6.0, longitude=106.8456, name="Office"),
        "locationMessage",
        {"degreesLatitude": -6, "degreesLongitude": 106.8456, "name": "Office", "address": None},
    ),
    (Contact(contacts=(CARD,)), "contactMessage", {"displayName": "Ann, B", "vcard": VCARD}),
    (
        Contact(contacts=(CARD, CARD)),
        "contactsArrayMessage",
        {"displayName": "2 contacts", "contacts": [{"displayName": "Ann, B", "vcard": VCARD}] * 2},
    ),
    (
        Poll(question="Which?", options=("a", "b")),
        "pollCreationMessage",
        {"name": "Which?", "options": [{"optionName": "a"}, {"optionName": "b"}], "selectableOptionsCount": 1},
    ),
    (
        PollVote(target=MessageKey(chat="1@lid", whatsapp_id="3EB1", from_me=True), options=("a",), hashes=("ca97",)),
        "pollUpdateMessage",
        {
            "pollCreationMessageKey": {"remoteJid": "1@lid", "fromMe": True, "id": "3EB1", "participant": None},
            "vote": {"selectedOptions": ["a"]},
        },
    ),
    (
        List(button="Menu", text="Which?", sections=(ListSection(title="Warm", rows=(ListRow(id="a", title="A"),)),)),
        "listMessage",
        {
            "title": None,
            "description": "Which?",
            "buttonText": "Menu",
            "listType": "SINGLE_SELECT",
            "sections": [{"title": "Warm", "rows": [{"title": "A", "description": None, "rowId": "a"}]}],
            "footerText": None,
        },
    ),
    (
        ListReply(row_id="a", title="A"),
        "listResponseMessage",
        {
            "title": "A",
            "listType": "SINGLE_SELECT",
            "singleSelectReply": {"selectedRowId": "a"},
            "description": None,
        },
    ),
    (Video(media=PICTURE, note=True), "ptvMessage", SHOWN_PICTURE),
    (
        Text(text="Open", style=Style(background="#008069", font=4)),
        "extendedTextMessage",
        {"text": "Open", "backgroundArgb": 0xFF008069, "font": "SYSTEM"},
    ),
    (
        Reaction(target=MessageKey(chat="1@g.us", whatsapp_id="3EB1", from_me=True), emoji="👍"),
        "reactionMessage",
        {"key": {"remoteJid": "1@g.us", "fromMe": True, "id": "3EB1", "participant": None}, "text": "👍"},
    ),
]


@pytest.mark.parametrize(("content", "type_", "shown"), KINDS)
def test_each_kind_of_content_has_its_shape(content: Content, type_: str, shown: dict[str, Any]) -> None:
    data = data_of(a_message(content))
    assert (data["type"], data["content"]) == (type_, {type_: shown})


def test_a_kind_without_a_shape_is_named_and_empty() -> None:
    data = data_of(a_message(Unsupported(whatsapp_type="liveLocationMessage")))
    assert (data["type"], data["content"]) == ("liveLocationMessage", {})


def test_media_stand_beside_the_content_too() -> None:
    assert data_of(a_message(Image(media=PICTURE)))["media"] == {
        "url": "https://kurir.example/media/m1",
        "mimetype": "image/jpeg",
        "size": 2048,
        "sha256": "ab" * 32,
        "fileName": "cat.jpg",
    }


def test_an_answer_shows_what_it_answers() -> None:
    quote = Quote(key=MessageKey(chat=ALICE.jid, whatsapp_id="3EB9", participant=ALICE.jid), text="?")
    data = data_of(a_message(Text(text="yes"), quote=quote, mentions=("62@s.whatsapp.net",)))
    assert data["type"] == "extendedTextMessage"
    assert data["content"]["extendedTextMessage"] == {
        "text": "yes",
        "contextInfo": {
            "stanzaId": "3EB9",
            "participant": ALICE.jid,
            "quotedMessage": {"conversation": "?"},
            "mentionedJid": ["62@s.whatsapp.net"],
        },
    }


def test_a_link_is_shown_with_what_its_page_says() -> None:
    preview = LinkPreview(url="https://a.example", title="A", description="all of it")
    data = data_of(a_message(Text(text="see https://a.example", preview=preview)))
    assert (data["type"], data["content"]) == (
        "extendedTextMessage",
        {
            "extendedTextMessage": {
                "text": "see https://a.example",
                "matchedText": "https://a.example",
                "title": "A",
                "description": "all of it",
            }
        },
    )


def test_whole_degrees_are_whole_numbers() -> None:
    assert (
        b'"degreesLatitude":-6,"degreesLongitude":106,'
        in told(a_message(Location(latitude=-6.0, longitude=106.0))).body
    )


def an_enormous_message() -> events.MessageUpserted:
    cards = tuple(ContactCard(name="é" * 500, phones=("62811",) * 20) for _ in range(2_000))
    return a_message(Contact(contacts=cards), mentions=("62@s.whatsapp.net",) * 5_000)


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize(
    "event", [a_message(Text(text="😀" * 65_536)), a_message(Text(text="\x01" * 65_536)), an_enormous_message()]
)
def test_no_body_is_larger_than_receivers_take(shape: str, event: events.Event) -> None:
    body = told(event, shape).body
    assert len(body) <= MAX_BODY_BYTES
    assert json.loads(body)["truncated"] is True


def test_a_file_that_was_not_kept_says_why_and_has_no_url() -> None:
    lost = msgspec.structs.replace(PICTURE, object="", missing="media_expired")
    payload = SHAPES["device_gateway"].payload(
        "messages.upsert", events.encode(a_message(Image(media=lost))), Context(media_url=lambda media: None)
    )
    media = json.loads(payload.body)["data"]["media"]
    assert (media["url"], media["missing"]) == (None, "media_expired")


@pytest.mark.parametrize("type_", sorted(set(events.EVENT_TYPES) - set(NAMES)))
@pytest.mark.parametrize("shape", ["native", "device_gateway"])
def test_what_a_shape_has_no_name_for_keeps_its_own(shape: ShapeName, type_: str) -> None:
    for path in sorted((EXAMPLES / type_).glob("*.json")):
        payload = SHAPES[shape].payload(type_, path.read_bytes(), CONTEXT)
        body = json.loads(payload.body)
        assert payload.event == type_
        assert body.get("event", body.get("type")) == type_
        assert body["data"] == json.loads(path.read_bytes())


def test_a_long_text_that_fits_is_not_cut() -> None:
    assert data_of(a_message(Text(text="a" * 65_536)))["content"] == {"conversation": "a" * 65_536}


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_javascript_gives_the_same_bytes_back(shape: str) -> None:
    contents = [content for content, _, _ in KINDS]
    contents += [Location(latitude=1e-7, longitude=-0.0), Text(text='"\\/\u2028😀\x00\x1f\x7f\n')]
    bodies = [told(a_message(content), shape).body for content in contents]
    bodies += [told(a_status("failed", detail="5.0"), shape).body, told(a_status("read"), shape).body]
    assert through_node(bodies) == bodies


def test_the_native_shape_says_the_event_as_the_stream_has_it() -> None:
    event = a_message()
    body = json.loads(told(event, "native").body)
    assert body == {
        "type": "messages.upsert",
        "timestamp": "2025-05-05T22:40:00Z",
        "data": json.loads(events.encode(event)),
    }


@pytest.mark.parametrize("shape", ["native", "device_gateway"])
def test_an_event_of_a_newer_version_is_passed_on(shape: str) -> None:
    event = b'{"type":"calls.offer","id":"e1","tenant":"t1","device":"d1","at":"2025-05-05T22:40:00Z","x":1.0}'
    told_name, body, _ = SHAPES[shape].payload("calls.offer", event, CONTEXT)  # type: ignore[index]
    assert told_name == "calls.offer"
    assert json.loads(body)["data"]["x"] == 1
    assert b'"x":1}' in body


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("event", [b"", b"{", b"[]", b'{"id":"\\ud800"}'])
def test_an_event_that_cannot_be_read_is_an_error(shape: str, event: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        SHAPES[shape].payload("messages.upsert", event, CONTEXT)  # type: ignore[index]
