"""The library's events as observations, made from its own protobufs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Document,
    Edit,
    Image,
    LinkPreview,
    Location,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Revoke,
    Text,
    Unsupported,
)
from kurir.session_node.engines.engine import NotConnected, OutcomeUnknown, Received, SendFailed
from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.address_book import AddressBook

library.load()

from neonize.proto import Neonize_pb2 as nz  # noqa: E402
from neonize.proto.waE2E import WAWebProtobufsE2E_pb2 as e2e  # noqa: E402

from kurir.session_node.engines.neonize import from_whatsapp, to_whatsapp  # noqa: E402

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EMPTY = nz.JID(User="", Device=0, Server="", RawAgent=0, Integrator=0, IsEmpty=True)
ME = frozenset({"100@lid", "62800@s.whatsapp.net"})


class Fetched:
    """An attachment that remembers what it would fetch."""

    def __init__(self, message: Any) -> None:
        self.mimetype = ""
        self.size: int | None = None
        self.file_name: str | None = None
        self.message = message

    def chunks(self) -> AsyncIterator[bytes]:
        raise AssertionError("nothing fetches here")


def a_source(**known: Any) -> Any:
    jids = {
        name: to_whatsapp.jid(known.pop(name)) if name in known else EMPTY
        for name in ("Chat", "Sender", "SenderAlt", "RecipientAlt")
    }
    return nz.MessageSource(**{"IsFromMe": False, "IsGroup": False, **jids, **known})


FROM_ANI = {"Chat": "101@lid", "Sender": "101:3@lid", "SenderAlt": "62811:3@s.whatsapp.net"}


def hear(message: Any, **source: Any) -> Received | None:
    event = nz.Message(
        Info=nz.MessageInfo(
            ID="3A01", Pushname="Ani", Timestamp=1_767_312_000_123, MessageSource=a_source(**(source or FROM_ANI))
        ),
        Message=message,
    )
    return from_whatsapp.received(event.SerializePartialToString(), ME, Fetched)


def content_of(message: Any) -> Any:
    received = hear(message)
    return None if received is None else received.content


def test_a_text_comes_from_a_hidden_id_with_the_number_beside_it() -> None:
    received = hear(e2e.Message(conversation="hi"))
    assert received is not None
    assert received.content == Text(text="hi")
    assert received.sender == Address(jid="101@lid", pn="62811@s.whatsapp.net", lid="101@lid")
    assert received.chat == received.sender
    assert (received.whatsapp_id, received.push_name) == ("3A01", "Ani")
    assert received.sent_at == datetime(2026, 1, 2, 0, 0, 0, 123000, tzinfo=UTC)
    assert received.attachment is None


def test_in_a_group_the_chat_is_the_group() -> None:
    received = hear(e2e.Message(conversation="hi"), Chat="120@g.us", Sender="101@lid", IsGroup=True)
    assert received is not None
    assert (received.chat, received.is_group) == (Address(jid="120@g.us"), True)
    assert received.sender == Address(jid="101@lid", lid="101@lid")


def test_what_the_own_phone_sent_belongs_to_the_chat_of_its_recipient() -> None:
    source = {"Chat": "101@lid", "Sender": "100@lid", "RecipientAlt": "62811@s.whatsapp.net", "IsFromMe": True}
    sent = e2e.DeviceSentMessage(destinationJID="101@lid", message=e2e.Message(conversation="mine"))
    received = hear(e2e.Message(deviceSentMessage=sent), **source)
    assert received is not None
    assert received.from_me
    assert received.content == Text(text="mine")
    assert received.chat == Address(jid="101@lid", pn="62811@s.whatsapp.net", lid="101@lid")


def test_a_preview_is_told_in_words_within_our_limits() -> None:
    part = e2e.ExtendedTextMessage(
        text="see https://a.example/1",
        matchedText="https://a.example/1",
        title="T" * 400,
        description="blue",
        JPEGThumbnail=b"jpeg",
    )
    received = hear(e2e.Message(extendedTextMessage=part))
    assert received is not None
    assert received.content == Text(
        text="see https://a.example/1",
        preview=LinkPreview(url="https://a.example/1", title="T" * 300, description="blue"),
    )
    part.title = ""
    without = hear(e2e.Message(extendedTextMessage=part))
    assert without is not None
    assert without.content == Text(text="see https://a.example/1")


def test_a_quote_says_what_is_answered_and_whether_it_was_ours() -> None:
    context = e2e.ContextInfo(
        stanzaID="3EB0", participant="100@lid", quotedMessage=e2e.Message(conversation="q"), mentionedJID=["102@lid"]
    )
    received = hear(e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="a", contextInfo=context)))
    assert received is not None
    assert received.quote == Quote(
        key=MessageKey(chat="101@lid", whatsapp_id="3EB0", from_me=True, participant="100@lid"), text="q"
    )
    assert received.mentions == ("102@lid",)


def test_media_is_described_and_can_be_fetched() -> None:
    image = e2e.ImageMessage(mimetype="image/jpeg", fileLength=7, fileSHA256=b"\x01\xff", caption="look")
    received = hear(e2e.Message(imageMessage=image))
    assert received is not None
    assert isinstance(received.content, Image)
    media = received.content.media
    assert (media.object, media.mimetype, media.size, media.sha256) == ("", "image/jpeg", 7, "01ff")
    assert received.content.caption == "look"
    assert isinstance(received.attachment, Fetched)
    assert received.attachment.message.imageMessage == image


def test_wrapped_messages_are_unwrapped() -> None:
    inner = e2e.Message(documentMessage=e2e.DocumentMessage(fileName="a.pdf", mimetype="application/pdf", caption="c"))
    wrapped = e2e.Message(documentWithCaptionMessage=e2e.FutureProofMessage(message=inner))
    document = content_of(e2e.Message(ephemeralMessage=e2e.FutureProofMessage(message=wrapped)))
    assert isinstance(document, Document)
    assert (document.media.file_name, document.caption) == ("a.pdf", "c")
    once = e2e.Message(imageMessage=e2e.ImageMessage(mimetype="image/png"))
    image = content_of(e2e.Message(viewOnceMessageV2=e2e.FutureProofMessage(message=once)))
    assert isinstance(image, Image)
    assert image.view_once


def test_the_other_kinds_are_understood() -> None:
    voice = content_of(e2e.Message(audioMessage=e2e.AudioMessage(mimetype="audio/ogg", PTT=True)))
    assert isinstance(voice, Audio)
    assert voice.voice
    place = e2e.LocationMessage(degreesLatitude=-6.2, degreesLongitude=106.8, name="Monas")
    assert content_of(e2e.Message(locationMessage=place)) == Location(latitude=-6.2, longitude=106.8, name="Monas")
    for sent in (
        Contact(contacts=(ContactCard(name="Ani; B", phones=("62811",), email="a@b.id"),)),
        Poll(question="Lunch?", options=("yes", "no"), selectable=1),
    ):
        assert content_of(to_whatsapp.message(sent)) == sent


GROUP = {"Chat": "120@g.us", "Sender": "101@lid", "IsGroup": True}
OUR_PHONE = {"Chat": "101@lid", "Sender": "100@lid", "IsFromMe": True}


@pytest.mark.parametrize(
    ("source", "is_speakers", "author", "meant"),
    [
        (FROM_ANI, True, None, MessageKey(chat="101@lid", whatsapp_id="3EB0", from_me=False)),
        (FROM_ANI, False, None, MessageKey(chat="101@lid", whatsapp_id="3EB0", from_me=True)),
        (OUR_PHONE, True, None, MessageKey(chat="101@lid", whatsapp_id="3EB0", from_me=True)),
        (OUR_PHONE, False, None, MessageKey(chat="101@lid", whatsapp_id="3EB0", from_me=False)),
        (GROUP, True, None, MessageKey(chat="120@g.us", whatsapp_id="3EB0", from_me=False, participant="101@lid")),
        (GROUP, False, "100@lid", MessageKey(chat="120@g.us", whatsapp_id="3EB0", from_me=True, participant="100@lid")),
        (
            GROUP,
            False,
            "102@lid",
            MessageKey(chat="120@g.us", whatsapp_id="3EB0", from_me=False, participant="102@lid"),
        ),
    ],
    ids=["theirs", "ours", "ours, by our phone", "theirs, by our phone", "in a group", "ours there", "another's there"],
)
def test_the_message_that_somebody_means_is_named_as_it_is_from_here(
    source: dict[str, Any], is_speakers: bool, author: str | None, meant: MessageKey
) -> None:
    # Everybody says "me" of himself, and names the chat as he sees it.
    key = {"remoteJID": "100@lid", "ID": "3EB0", "fromMe": is_speakers, "participant": author}
    edited = e2e.ProtocolMessage(type="MESSAGE_EDIT", key=key, editedMessage=e2e.Message(conversation="better"))
    wrapped = e2e.Message(editedMessage=e2e.FutureProofMessage(message=e2e.Message(protocolMessage=edited)))
    for message, content in (
        (e2e.Message(reactionMessage=e2e.ReactionMessage(key=key, text="+")), Reaction(target=meant, emoji="+")),
        (e2e.Message(protocolMessage=e2e.ProtocolMessage(type="REVOKE", key=key)), Revoke(target=meant)),
        (e2e.Message(protocolMessage=edited), Edit(target=meant, text="better")),
        (wrapped, Edit(target=meant, text="better")),
    ):
        received = hear(message, **source)
        assert received is not None
        assert received.content == content


def test_an_edit_of_media_brings_the_new_caption() -> None:
    image = e2e.Message(imageMessage=e2e.ImageMessage(caption="better"))
    edit = e2e.ProtocolMessage(type="MESSAGE_EDIT", key={"ID": "3EB0", "fromMe": True}, editedMessage=image)
    content = content_of(e2e.Message(protocolMessage=edit))
    assert isinstance(content, Edit)
    assert content.text == "better"


@pytest.mark.parametrize(
    ("message", "whatsapp_type"),
    [
        (e2e.Message(orderMessage=e2e.OrderMessage()), "orderMessage"),
        (e2e.Message(protocolMessage=e2e.ProtocolMessage(type="MESSAGE_EDIT")), "protocolMessage"),
        (e2e.Message(conversation=""), "conversation"),
        (e2e.Message(locationMessage=e2e.LocationMessage(degreesLatitude=200)), "locationMessage"),
        (e2e.Message(pollCreationMessage=e2e.PollCreationMessage(name="no options")), "pollCreationMessage"),
        (e2e.Message(listMessage=e2e.ListMessage(buttonText="no sections")), "listMessage"),
    ],
)
def test_what_does_not_fit_the_contracts_is_named_and_not_lost(message: Any, whatsapp_type: str) -> None:
    assert content_of(message) == Unsupported(whatsapp_type=whatsapp_type)


@pytest.mark.parametrize(
    "message",
    [
        e2e.Message(),
        e2e.Message(senderKeyDistributionMessage=e2e.SenderKeyDistributionMessage(groupID="120@g.us")),
        e2e.Message(protocolMessage=e2e.ProtocolMessage(type="HISTORY_SYNC_NOTIFICATION")),
        e2e.Message(messageContextInfo=e2e.MessageContextInfo(messageSecret=b"1")),
    ],
)
def test_what_is_not_meant_for_people_is_not_reported(message: Any) -> None:
    assert hear(message) is None


def test_status_updates_are_not_messages() -> None:
    source = a_source(**FROM_ANI)
    source.Chat.Server = "broadcast"
    event = nz.Message(
        Info=nz.MessageInfo(ID="1", Timestamp=1, MessageSource=source), Message=e2e.Message(conversation="x")
    )
    assert from_whatsapp.received(event.SerializePartialToString(), ME, Fetched) is None


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("DELIVERED", "delivered"),
        ("INACTIVE", "delivered"),
        ("READ", "read"),
        ("PLAYED", "played"),
        ("RETRY", "unreadable"),
    ],
)
def test_receipts_of_others_become_statuses(kind: str, status: str) -> None:
    source = a_source(Chat="101@lid", Sender="101:3@lid")
    event = nz.Receipt(MessageSource=source, MessageIDs=["3EB0", "3EB1"], Timestamp=1_767_312_000, Type=kind)
    receipt = from_whatsapp.receipt(event.SerializePartialToString())
    assert receipt is not None
    assert (receipt.whatsapp_ids, receipt.status) == (("3EB0", "3EB1"), status)
    assert receipt.sender == Address(jid="101@lid", lid="101@lid")
    assert receipt.at == NOW


@pytest.mark.parametrize("kind", ["SENDER", "READ_SELF", "PLAYED_SELF", "SERVER_ERROR", "PEER_MSG"])
def test_other_receipts_are_not_reported(kind: str) -> None:
    source = a_source(Chat="101@lid", Sender="101@lid")
    event = nz.Receipt(MessageSource=source, MessageIDs=["3EB0"], Timestamp=1, Type=kind)
    assert from_whatsapp.receipt(event.SerializePartialToString()) is None


def test_the_device_event_says_who_we_are() -> None:
    device = nz.Device(
        JID=to_whatsapp.jid("62800:12@s.whatsapp.net"),
        LID=to_whatsapp.jid("100:12@lid"),
        Platform="android",
        BussinessName="",
        PushName="Toko",
        Initialized=True,
    )
    state = from_whatsapp.connected(device.SerializePartialToString())
    assert (state.state, state.jid, state.lid) == ("connected", "62800:12@s.whatsapp.net", "100@lid")
    assert (state.phone, state.push_name) == ("62800", "Toko")


def test_states_that_end_a_session_have_their_reason() -> None:
    ban = nz.TemporaryBan(Code="SEND_TO_TOO_MANY_PEOPLE", Expire=3600)
    banned = from_whatsapp.final_state(library.TEMPORARY_BAN, ban.SerializePartialToString(), NOW)
    assert banned is not None
    assert (banned.state, banned.reason, banned.detail) == ("banned", "device_banned", "SEND_TO_TOO_MANY_PEOPLE")
    assert banned.banned_until == datetime(2026, 1, 2, 1, tzinfo=UTC)
    out = nz.LoggedOut(OnConnect=False, Reason="LOGGED_OUT")
    logged_out = from_whatsapp.final_state(library.LOGGED_OUT, out.SerializePartialToString(), NOW)
    assert logged_out is not None
    assert (logged_out.state, logged_out.reason) == ("logged_out", "device_logged_out")
    replaced = from_whatsapp.final_state(library.STREAM_REPLACED, b"", NOW)
    assert replaced is not None
    assert replaced.state == "replaced"
    outdated = from_whatsapp.final_state(library.CLIENT_OUTDATED, b"", NOW)
    assert outdated is not None
    assert outdated.reason == "client_outdated"
    assert from_whatsapp.final_state(library.DISCONNECTED, b"", NOW) is None


def test_an_ack_is_sent_with_the_servers_time_and_the_hidden_id() -> None:
    response = nz.SendResponse(ID="3EB0", Timestamp=1_767_312_000, Chat=to_whatsapp.jid("101@lid"))
    answer = nz.SendMessageReturnFunction(SendResponse=response).SerializePartialToString()
    sent = from_whatsapp.sent(answer, "62811@s.whatsapp.net")
    assert (sent.whatsapp_id, sent.sent_at) == ("3EB0", NOW)
    assert sent.chat == Address(jid="62811@s.whatsapp.net", pn="62811@s.whatsapp.net", lid="101@lid")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no LID found for 62811@s.whatsapp.net from server", "not_on_whatsapp"),
        ("server returned error 463", "reachout_timelock"),
        ("server returned error 429", "rate_overlimit"),
        ("server returned error 479", "engine_error"),
        ("failed to get group members: you're not participating in that group", "group_left"),
        ("failed to get group members: that group does not exist", "invalid_recipient"),
        ("can't send message to unknown server example.org", "invalid_recipient"),
        ("failed to get device list: info query timed out", "server_unavailable"),
        ("failed to prefetch sessions: failed to prefetch sessions: EOF", "device_store_unavailable"),
        ("failed to get LID for PN 62811@s.whatsapp.net: EOF", "device_store_unavailable"),
        (
            "failed to prefetch sessions: dial tcp 10.0.0.1:5432: connect: connection refused",
            "device_store_unavailable",
        ),
        ("failed to get device list: pq: the database system is starting up (57P03)", "device_store_unavailable"),
        ("anything else", "engine_error"),
    ],
)
def test_error_texts_of_refused_messages_have_a_reason(text: str, reason: str) -> None:
    failure = from_whatsapp.send_failure(text)
    assert isinstance(failure, SendFailed)
    assert (failure.reason, failure.detail) == (reason, text)


@pytest.mark.parametrize(
    "text",
    [
        "timed out waiting for message send response",
        "websocket disconnected before message send returned response",
        "failed to send message node: write: broken pipe",
        "failed to send message node: EOF",
    ],
)
def test_errors_after_the_message_has_left_leave_the_outcome_unknown(text: str) -> None:
    assert isinstance(from_whatsapp.send_failure(text), OutcomeUnknown)


@pytest.mark.parametrize(
    "text",
    ["failed to send message node: websocket not connected", "the store doesn't contain a device JID", "client is nil"],
)
def test_errors_without_a_connection_mean_that_nothing_was_sent(text: str) -> None:
    assert isinstance(from_whatsapp.send_failure(text), NotConnected)


def test_an_upload_that_whatsapp_refuses_is_told_from_one_that_failed() -> None:
    def error(text: str) -> bytes:
        answer: bytes = nz.UploadReturnFunction(Error=text).SerializePartialToString()
        return answer

    with pytest.raises(SendFailed) as refused:
        from_whatsapp.uploaded(error("upload failed with status code 415"))
    assert (refused.value.reason, refused.value.retry_after_s) == ("media_refused", None)
    with pytest.raises(SendFailed) as failed:
        from_whatsapp.uploaded(error("failed to execute request: connection reset"))
    assert (failed.value.reason, failed.value.retry_after_s) == ("server_unavailable", 30.0)
    with pytest.raises(NotConnected):
        from_whatsapp.uploaded(error("websocket not connected"))


def test_an_address_book_fills_in_the_number_that_receipts_lack() -> None:
    book = AddressBook(limit=2)
    full = Address(jid="101@lid", pn="62811@s.whatsapp.net", lid="101@lid")
    assert book.complete(full) == full
    assert book.complete(Address(jid="101@lid", lid="101@lid")) == full
    number = Address(jid="62811@s.whatsapp.net", pn="62811@s.whatsapp.net")
    assert book.complete(number).lid == "101@lid"
    for user in ("102", "103"):
        book.complete(Address(jid=f"{user}@lid", pn=f"62{user}@s.whatsapp.net", lid=f"{user}@lid"))
    assert book.complete(Address(jid="101@lid", lid="101@lid")).pn is None
