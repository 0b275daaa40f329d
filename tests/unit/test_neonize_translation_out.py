"""Our contents as WhatsApp messages, seen in the library's own protobufs."""

import pytest

from kurir.contracts.content import (
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    LinkPreview,
    ListReply,
    Location,
    Media,
    MessageKey,
    Poll,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Text,
    Unsupported,
    Video,
)
from kurir.session_node.engines.engine import SendFailed
from kurir.session_node.engines.neonize import library

library.load()

from neonize.proto.Neonize_pb2 import UploadResponse  # noqa: E402

from kurir.session_node.engines.neonize import to_whatsapp  # noqa: E402

MEDIA = Media(object="t/1", mimetype="image/png", size=5, sha256="00", file_name="bill.png")
UPLOAD = UploadResponse(
    url="https://x/1", DirectPath="/1", MediaKey=b"k", FileEncSHA256=b"e", FileSHA256=b"f", FileLength=5
)
ANSWERED = Quote(key=MessageKey(chat="62811@s.whatsapp.net", whatsapp_id="3EB0AA"), text="what?")


def test_a_link_is_shown_with_its_page_s_words_and_picture() -> None:
    preview = LinkPreview(url="https://a.example/1", title="Thing", description="blue", image="https://a.example/1.png")
    text = to_whatsapp.message(
        Text(text="see https://a.example/1", preview=preview), thumbnail=b"jpeg"
    ).extendedTextMessage
    assert (text.text, text.matchedText) == ("see https://a.example/1", "https://a.example/1")
    assert (text.title, text.description, text.JPEGThumbnail) == ("Thing", "blue", b"jpeg")
    bare = to_whatsapp.message(Text(text="https://a.example", preview=LinkPreview(url="https://a.example", title="A")))
    assert not bare.extendedTextMessage.HasField("JPEGThumbnail")


def test_a_text_is_a_conversation_and_with_a_quote_an_extended_text() -> None:
    assert to_whatsapp.message(Text(text="hi")).conversation == "hi"
    message = to_whatsapp.message(Text(text="hi"), quote=ANSWERED, mentions=("62812@s.whatsapp.net",))
    context = message.extendedTextMessage.contextInfo
    assert message.extendedTextMessage.text == "hi"
    assert (context.stanzaID, context.participant) == ("3EB0AA", "62811@s.whatsapp.net")
    assert context.quotedMessage.conversation == "what?"
    assert list(context.mentionedJID) == ["62812@s.whatsapp.net"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (Image(media=MEDIA, caption="c"), "imageMessage"),
        (Video(media=MEDIA, caption="c"), "videoMessage"),
        (Video(media=MEDIA, note=True), "ptvMessage"),
        (Audio(media=MEDIA), "audioMessage"),
        (Document(media=MEDIA, caption="c"), "documentMessage"),
        (Sticker(media=MEDIA), "stickerMessage"),
    ],
)
def test_media_carries_what_the_upload_answered(content: Content, field: str) -> None:
    part = getattr(to_whatsapp.message(content, upload=UPLOAD, quote=ANSWERED), field)
    assert (part.URL, part.directPath, part.mediaKey) == ("https://x/1", "/1", b"k")
    assert (part.fileEncSHA256, part.fileSHA256, part.fileLength) == (b"e", b"f", 5)
    assert part.mimetype == "image/png"
    assert part.contextInfo.stanzaID == "3EB0AA"


def test_media_without_an_upload_is_not_sent() -> None:
    with pytest.raises(SendFailed) as failed:
        to_whatsapp.message(Image(media=MEDIA))
    assert failed.value.reason == "media_missing"


def test_a_voice_note_is_push_to_talk_in_opus() -> None:
    audio = to_whatsapp.message(Audio(media=MEDIA, voice=True), upload=UPLOAD).audioMessage
    assert audio.PTT
    assert audio.mimetype == "audio/ogg; codecs=opus"


def test_a_document_keeps_its_name() -> None:
    assert to_whatsapp.message(Document(media=MEDIA), upload=UPLOAD).documentMessage.fileName == "bill.png"


def test_view_once_media_is_wrapped() -> None:
    wrapped = to_whatsapp.message(Image(media=MEDIA, view_once=True), upload=UPLOAD).viewOnceMessageV2.message
    assert wrapped.imageMessage.viewOnce
    assert wrapped.imageMessage.URL == "https://x/1"
    note = to_whatsapp.message(Video(media=MEDIA, view_once=True, note=True), upload=UPLOAD)
    assert note.viewOnceMessageV2.message.ptvMessage.viewOnce


def test_a_location_a_poll_and_a_reaction_keep_their_parts() -> None:
    place = to_whatsapp.message(Location(latitude=-6.2, longitude=106.8, name="Monas")).locationMessage
    assert (place.degreesLatitude, place.degreesLongitude, place.name) == (-6.2, 106.8, "Monas")
    poll = to_whatsapp.message(Poll(question="Lunch?", options=("yes", "no"), selectable=1))
    assert [option.optionName for option in poll.pollCreationMessageV3.options] == ["yes", "no"]
    assert len(poll.messageContextInfo.messageSecret) == 32
    target = MessageKey(chat="62811@s.whatsapp.net", whatsapp_id="3EB0", from_me=True)
    reaction = to_whatsapp.message(Reaction(target=target, emoji="+")).reactionMessage
    assert (reaction.key.remoteJID, reaction.key.ID, reaction.key.fromMe) == ("62811@s.whatsapp.net", "3EB0", True)


def test_an_edit_and_a_revocation_name_their_message() -> None:
    target = MessageKey(chat="62811@s.whatsapp.net", whatsapp_id="3EB0", from_me=True)
    edit = to_whatsapp.message(Edit(target=target, text="better")).editedMessage.message.protocolMessage
    assert (edit.key.ID, edit.key.fromMe, edit.editedMessage.conversation) == ("3EB0", True, "better")
    theirs = MessageKey(chat="120@g.us", whatsapp_id="3EB1", participant="101@lid")
    revoke = to_whatsapp.message(Revoke(target=theirs)).protocolMessage
    assert revoke.type == revoke.REVOKE
    assert (revoke.key.remoteJID, revoke.key.ID, revoke.key.participant) == ("120@g.us", "3EB1", "101@lid")
    with pytest.raises(SendFailed):
        to_whatsapp.message(Edit(target=theirs, text="better"))


def test_contacts_are_vcards_whose_numbers_open_a_chat() -> None:
    ani = ContactCard(name="Ani; B", phones=("62811",), organization="Toko", email="a@b.id", url="https://b.id")
    one = to_whatsapp.message(Contact(contacts=(ani,))).contactMessage
    assert one.displayName == "Ani; B"
    assert "FN:Ani\\; B\n" in one.vcard
    assert "TEL;type=CELL;waid=62811:+62811\n" in one.vcard
    assert len(to_whatsapp.message(Contact(contacts=(ani, ani))).contactsArrayMessage.contacts) == 2


def test_what_has_no_struct_cannot_be_sent() -> None:
    with pytest.raises(SendFailed) as failed:
        to_whatsapp.message(Unsupported(whatsapp_type="orderMessage"))
    assert failed.value.reason == "kind_not_supported"
    with pytest.raises(SendFailed) as failed:
        to_whatsapp.message(ListReply(row_id="soto"))
    assert (failed.value.reason, failed.value.detail) == ("kind_not_supported", "list_reply")


def test_a_jid_has_every_field_that_the_library_reads() -> None:
    jid = to_whatsapp.jid("62811:12@s.whatsapp.net")
    assert (jid.User, jid.Device, jid.Server) == ("62811", 12, "s.whatsapp.net")
    assert all(jid.HasField(field.name) for field in jid.DESCRIPTOR.fields)
    assert to_whatsapp.jid("62811-1600@g.us").User == "62811-1600"


@pytest.mark.parametrize("text", ["", "62811", "x@s.whatsapp.net", "62811@example.org", "1:x@lid", "@lid", "1-2@lid"])
def test_other_texts_are_no_jids_to_send_to(text: str) -> None:
    with pytest.raises(ValueError, match="not a JID"):
        to_whatsapp.jid(text)
