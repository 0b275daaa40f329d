"""Every kind of content, from one real device to another and to a phone: what arrives is what was sent."""

import hashlib
from io import BytesIO

import pytest
from PIL import Image as Picture

from kurir.contracts.content import (
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    List,
    ListReply,
    ListRow,
    ListSection,
    Location,
    MessageKey,
    Poll,
    PollVote,
    Quote,
    Reaction,
    Revoke,
    Sticker,
    Text,
    Video,
    kind_of,
)
from tests.contract.engine.worlds import Kept
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_film, a_picture, a_tone, bytes_of
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = Kept(a_picture(), "image/png", "slope.png")
TONE = Kept(a_tone(), "audio/wav")
MENU = List(
    title="Lunch",
    text="What shall it be?",
    button="Menu",
    sections=(
        ListSection(title="Warm", rows=(ListRow(id="soto", title="Soto", description="with rice"),)),
        ListSection(title="Cold", rows=(ListRow(id="gado", title="Gado-gado"),)),
    ),
)


@pytest.mark.parametrize(
    "content",
    [
        Text(text="Selamat pagi \N{WAVING HAND SIGN}"),
        Location(latitude=-6.2, longitude=106.8, name="Monas", address="Jakarta"),
        Contact(contacts=(ContactCard(name="Ani", phones=("628123",), email="ani@example.org"),)),
        Contact(contacts=(ContactCard(name="Ani", phones=("628123",)), ContactCard(name="Cici", phones=("628124",)))),
        Poll(question="Lunch?", options=("yes", "no", "maybe"), selectable=2),
        MENU,
    ],
    ids=["text", "location", "contact", "contacts", "poll", "list"],
)
async def test_a_kind_without_media_arrives_as_it_was_sent(ayu: Person, budi: Person, content: Content) -> None:
    sent = await ayu.send(budi.jid, content)
    received = await budi.until_message(sent.whatsapp_id)
    assert received.content == content
    assert received.sender.pn == ayu.jid
    assert received.sender.lid == ayu.lid
    assert received.push_name == "Ayu"
    assert not received.from_me


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (Image(media=PICTURE.media, caption="a slope"), PICTURE),
        (Video(media=PICTURE.media, caption="no film"), PICTURE),
        (Video(media=PICTURE.media, note=True), PICTURE),
        (Audio(media=TONE.media), TONE),
        (Document(media=PICTURE.media, caption="the plan"), PICTURE),
    ],
    ids=lambda each: kind_of(each) if isinstance(each, Image | Video | Audio | Document) else "",
)
async def test_media_arrives_byte_by_byte(
    ayu: Person, budi: Person, content: Image | Video | Audio | Document, kept: Kept
) -> None:
    data = b"".join([chunk async for chunk in kept.chunks()])
    sent = await ayu.send(budi.jid, content, kept)
    received = await budi.until_message(sent.whatsapp_id)
    assert type(received.content) is type(content)
    for said in ("caption", "note"):
        assert getattr(received.content, said, None) == getattr(content, said, None)
    media = received.content.media
    assert (media.mimetype, media.size) == (kept.media.mimetype, len(data))
    assert media.sha256 == hashlib.sha256(data).hexdigest()
    assert received.attachment is not None
    assert (received.attachment.mimetype, received.attachment.size) == (kept.media.mimetype, len(data))
    assert received.attachment.file_name == ("slope.png" if isinstance(content, Document) else None)
    assert await bytes_of(received) == data


async def test_an_image_has_a_preview_and_its_size(whatsapp: EmulatorClient, ayu: Person) -> None:
    sent = await ayu.send(VERA_JID, Image(media=PICTURE.media), PICTURE)
    image = (await whatsapp.until_read(VERA, sent.whatsapp_id))["imageMessage"]
    assert (image["width"], image["height"]) == (320, 200)
    assert image["JPEGThumbnail"].startswith("/9j/")  # a JPEG in base64


async def test_a_video_has_a_preview_and_its_length(whatsapp: EmulatorClient, ayu: Person) -> None:
    film = Kept(a_film(), "video/mp4")
    sent = await ayu.send(VERA_JID, Video(media=film.media), film)
    video = (await whatsapp.until_read(VERA, sent.whatsapp_id))["videoMessage"]
    assert video["JPEGThumbnail"].startswith("/9j/")
    assert video["seconds"] == 1


async def test_a_voice_note_becomes_opus_with_its_length_and_wave(whatsapp: EmulatorClient, ayu: Person) -> None:
    sent = await ayu.send(VERA_JID, Audio(media=TONE.media, voice=True), TONE)
    audio = (await whatsapp.until_read(VERA, sent.whatsapp_id))["audioMessage"]
    assert audio["PTT"] is True
    assert audio["mimetype"] == "audio/ogg; codecs=opus"
    assert audio["seconds"] == 2
    assert audio["waveform"]
    sound = await whatsapp.media(VERA, sent.whatsapp_id)
    assert sound.startswith(b"OggS")
    assert b"OpusHead" in sound[:100]


async def test_a_voice_note_that_is_opus_already_stays_as_it_is(
    whatsapp: EmulatorClient, ayu: Person, budi: Person
) -> None:
    first = await ayu.send(VERA_JID, Audio(media=TONE.media, voice=True), TONE)
    await whatsapp.until_read(VERA, first.whatsapp_id)
    opus = await whatsapp.media(VERA, first.whatsapp_id)
    note = Kept(opus, "audio/ogg")
    received = await budi.until_message(
        (await ayu.send(budi.jid, Audio(media=note.media, voice=True), note)).whatsapp_id
    )
    assert isinstance(received.content, Audio)
    assert received.content.voice
    assert await bytes_of(received) == opus


async def test_an_image_becomes_a_sticker_of_512_pixels(ayu: Person, budi: Person) -> None:
    sent = await ayu.send(budi.jid, Sticker(media=PICTURE.media), PICTURE)
    received = await budi.until_message(sent.whatsapp_id)
    assert isinstance(received.content, Sticker)
    assert received.content.media.mimetype == "image/webp"
    webp = await bytes_of(received)
    assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP")
    assert size_of(webp) == (512, 512)


async def test_a_sticker_of_a_phone_is_received(whatsapp: EmulatorClient, ayu: Person) -> None:
    webp = a_picture(width=512, height=512, kind="WEBP")
    received = await ayu.until_message(await whatsapp.send_media(VERA, ayu.phone, "sticker", webp, "image/webp"))
    assert isinstance(received.content, Sticker)
    assert await bytes_of(received) == webp


async def test_an_image_to_be_seen_once_says_so_on_both_sides(
    whatsapp: EmulatorClient, ayu: Person, budi: Person
) -> None:
    once = Image(media=PICTURE.media, caption="once", view_once=True)
    received = await budi.until_message((await ayu.send(budi.jid, once, PICTURE)).whatsapp_id)
    assert isinstance(received.content, Image)
    assert received.content.view_once
    assert await bytes_of(received) == a_picture()
    at_phone = await whatsapp.until_read(VERA, (await ayu.send(VERA_JID, once, PICTURE)).whatsapp_id)
    assert at_phone["viewOnceMessageV2"]["message"]["imageMessage"]["viewOnce"] is True


async def test_an_answer_quotes_the_message_and_mentions_people(ayu: Person, budi: Person) -> None:
    question = await budi.until_message((await ayu.send(budi.jid, "Who comes?")).whatsapp_id)
    quoted = MessageKey(chat=question.chat.jid, whatsapp_id=question.whatsapp_id, participant=question.sender.jid)
    quote = Quote(key=quoted, text="Who comes?")
    sent = await budi.send(ayu.jid, "You do", quote=quote, mentions=(ayu.lid,))
    answer = await ayu.until_message(sent.whatsapp_id)
    assert answer.content == Text(text="You do")
    assert answer.quote is not None
    assert answer.quote.text == "Who comes?"
    assert (answer.quote.key.whatsapp_id, answer.quote.key.from_me) == (question.whatsapp_id, True)
    assert answer.mentions == (ayu.lid,)


async def test_a_quoted_message_of_our_own_has_ourselves_as_its_author(
    whatsapp: EmulatorClient, ayu: Person, budi: Person
) -> None:
    question = await ayu.send(VERA_JID, "Who comes?")
    ours = MessageKey(chat=VERA_JID, whatsapp_id=question.whatsapp_id, from_me=True)
    reminder = await ayu.send(VERA_JID, "Again:", quote=Quote(key=ours, text="Who comes?"))
    at_phone = await whatsapp.until_read(VERA, reminder.whatsapp_id)
    assert at_phone["extendedTextMessage"]["contextInfo"]["participant"] == ayu.jid

    question = await ayu.send(budi.lid, "Who comes?")
    ours = MessageKey(chat=budi.lid, whatsapp_id=question.whatsapp_id, from_me=True)
    reminder = await ayu.send(budi.lid, "Again:", quote=Quote(key=ours, text="Who comes?"))
    quoted = (await budi.until_message(reminder.whatsapp_id)).quote
    assert quoted is not None
    assert (quoted.key.participant, quoted.key.from_me) == (ayu.lid, False)


@pytest.mark.parametrize("is_to_number", [True, False], ids=["to a number", "to a hidden id"])
async def test_a_vote_of_a_phone_is_opened(whatsapp: EmulatorClient, ayu: Person, is_to_number: bool) -> None:
    vera = VERA_JID if is_to_number else str((await whatsapp.contact(VERA))["lid"])
    sent = await ayu.send(vera, Poll(question="Lunch?", options=("yes", "no", "later")))
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    author = ayu.jid if is_to_number else ayu.lid
    vote = {"id": sent.whatsapp_id, "author": author, "options": ["later"]}
    voted = await ayu.until_message(await whatsapp.say(VERA, ayu.phone, vote=vote))
    assert isinstance(voted.content, PollVote), voted.content
    assert voted.content.hashes == (hashlib.sha256(b"later").hexdigest(),)
    assert (voted.content.target.whatsapp_id, voted.content.target.from_me) == (sent.whatsapp_id, True)


async def test_what_a_phone_chooses_from_a_list_is_received(whatsapp: EmulatorClient, ayu: Person) -> None:
    sent = await ayu.send(VERA_JID, MENU)
    listed = (await whatsapp.until_read(VERA, sent.whatsapp_id))["listMessage"]
    assert (listed["listType"], listed["sections"][1]["rows"][0]["rowID"]) == ("SINGLE_SELECT", "gado")
    chosen = {
        "title": "Soto",
        "description": "with rice",
        "listType": "SINGLE_SELECT",
        "singleSelectReply": {"selectedRowID": "soto"},
        "contextInfo": {"stanzaID": sent.whatsapp_id, "participant": ayu.lid},
    }
    reply = await ayu.until_message(await whatsapp.say(VERA, ayu.phone, message={"listResponseMessage": chosen}))
    assert reply.content == ListReply(row_id="soto", title="Soto", description="with rice")
    assert reply.quote is not None
    assert (reply.quote.key.whatsapp_id, reply.quote.key.from_me) == (sent.whatsapp_id, True)


async def test_a_reaction_an_edit_and_a_revocation_name_their_message(ayu: Person, budi: Person) -> None:
    sent = await ayu.send(budi.jid, "Lunch at 12")
    seen = await budi.until_message(sent.whatsapp_id)
    ours = MessageKey(chat=budi.jid, whatsapp_id=sent.whatsapp_id, from_me=True)
    theirs = MessageKey(chat=seen.chat.jid, whatsapp_id=sent.whatsapp_id)

    reaction = await budi.send(ayu.jid, Reaction(target=theirs, emoji="\N{THUMBS UP SIGN}"))
    heard = (await ayu.until_message(reaction.whatsapp_id)).content
    assert heard == Reaction(
        target=MessageKey(chat=budi.lid, whatsapp_id=sent.whatsapp_id, from_me=True), emoji="\N{THUMBS UP SIGN}"
    )
    edit = await ayu.send(budi.jid, Edit(target=ours, text="Lunch at 1"))
    assert (await budi.until_message(edit.whatsapp_id)).content == Edit(target=theirs, text="Lunch at 1")
    revocation = await ayu.send(budi.jid, Revoke(target=ours))
    assert (await budi.until_message(revocation.whatsapp_id)).content == Revoke(target=theirs)


async def test_a_phone_gets_edits_and_revocations_as_whatsapp_makes_them(whatsapp: EmulatorClient, ayu: Person) -> None:
    sent = await ayu.send(VERA_JID, "Lunch at 12")
    ours = MessageKey(chat=VERA_JID, whatsapp_id=sent.whatsapp_id, from_me=True)
    edit = await whatsapp.until_read(VERA, (await ayu.send(VERA_JID, Edit(target=ours, text="at 1"))).whatsapp_id)
    protocol = edit["editedMessage"]["message"]["protocolMessage"]
    assert (protocol["type"], protocol["key"]["ID"]) == ("MESSAGE_EDIT", sent.whatsapp_id)
    revoke = await whatsapp.until_read(VERA, (await ayu.send(VERA_JID, Revoke(target=ours))).whatsapp_id)
    assert revoke["protocolMessage"]["key"]["ID"] == sent.whatsapp_id


async def test_a_phones_edit_and_revocation_are_received(whatsapp: EmulatorClient, ayu: Person) -> None:
    question = await ayu.until_message(await whatsapp.say(VERA, ayu.phone, "Lunch at 12?"))
    key = MessageKey(chat=question.chat.jid, whatsapp_id=question.whatsapp_id)
    edit = await whatsapp.say(VERA, ayu.phone, edit={"id": question.whatsapp_id, "text": "At 1?"})
    assert (await ayu.until_message(edit)).content == Edit(target=key, text="At 1?")
    revocation = await whatsapp.say(VERA, ayu.phone, revoke=question.whatsapp_id)
    assert (await ayu.until_message(revocation)).content == Revoke(target=key)


async def test_what_the_own_phone_writes_is_received_as_ours(whatsapp: EmulatorClient, ayu: Person) -> None:
    written = await whatsapp.say(ayu.phone, VERA, "from my phone")
    received = await ayu.until_message(written)
    assert received.from_me
    assert received.content == Text(text="from my phone")
    assert received.chat.pn == VERA_JID


def size_of(picture: bytes) -> tuple[int, int]:
    return Picture.open(BytesIO(picture)).size
