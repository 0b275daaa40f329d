"""Previews of links, on a real device and on a phone."""

import base64

import pytest

from kurir.contracts.content import LinkPreview, Text
from kurir.session_node.web_pages import small
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_picture
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOWN = Text(
    text="see https://shop.example/1 today",
    preview=LinkPreview(url="https://shop.example/1", title="A thing", description="It is blue"),
)


async def test_the_contact_s_phone_shows_the_page_s_words_and_picture(whatsapp: EmulatorClient, ayu: Person) -> None:
    thumbnail = small(a_picture())
    assert thumbnail is not None
    sent = await ayu.send(VERA_JID, SHOWN, thumbnail=thumbnail)
    read = (await whatsapp.until_read(VERA, sent.whatsapp_id))["extendedTextMessage"]
    assert (read["text"], read["matchedText"]) == (SHOWN.text, "https://shop.example/1")
    assert (read["title"], read["description"]) == ("A thing", "It is blue")
    assert base64.b64decode(read["JPEGThumbnail"]) == thumbnail


async def test_a_preview_arrives_at_another_device_in_words(ayu: Person, budi: Person) -> None:
    sent = await ayu.send(budi.jid, SHOWN)
    assert (await budi.until_message(sent.whatsapp_id)).content == SHOWN
