"""What a tenant sends by HTTP is shown by a phone, and what a phone sends comes as a signed webhook.

Everything is real but WhatsApp's server: the API, the bus, the session-node with the unmodified library, the
dispatcher. Files are compared byte for byte on both sides, after the library's encryption and ours.
"""

from typing import Any

import pytest

from tests.contract.neonize.people import a_picture, a_tone
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.system.whatsapp.people import BUDI, VERA, Number, text_of

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

PDF = b"%PDF-1.4\n1 0 obj\n<</Type /Catalog>>\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n"
PHONE_OFF, NO_BLUE_TICKS = "628999000003", "628999000004"


async def test_a_text_goes_out(ayu: Number, whatsapp: EmulatorClient) -> None:
    message = await ayu.send("text", VERA, text="Halo Vera!")
    read = await whatsapp.until_read(VERA, await ayu.until_told(message, "READ"))
    assert text_of(read) == "Halo Vera!"


async def test_a_file_goes_out(ayu: Number, whatsapp: EmulatorClient) -> None:
    picture = a_picture()
    message = await ayu.send_file(VERA, "image", "picture.png", picture, caption="Gunung")
    whatsapp_id = await ayu.until_told(message, "READ")
    shown = (await whatsapp.until_read(VERA, whatsapp_id))["imageMessage"]
    assert (shown["caption"], shown["mimetype"]) == ("Gunung", "image/png")
    assert await whatsapp.media(VERA, whatsapp_id) == picture


async def test_a_document_goes_out_under_its_name(ayu: Number, whatsapp: EmulatorClient) -> None:
    message = await ayu.send_file(VERA, "document", "x.pdf", PDF, fileName="faktur.pdf")
    whatsapp_id = await ayu.until_told(message, "READ")
    shown = await whatsapp.until_read(VERA, whatsapp_id)
    document = shown.get("documentMessage") or shown["documentWithCaptionMessage"]["message"]["documentMessage"]
    assert (document["fileName"], document["mimetype"]) == ("faktur.pdf", "application/pdf")
    assert await whatsapp.media(VERA, whatsapp_id) == PDF


async def test_a_voice_note_goes_out_in_whatsapps_form(ayu: Number, whatsapp: EmulatorClient) -> None:
    message = await ayu.send_file(VERA, "audio", "voice.wav", a_tone(), ptt="true")
    whatsapp_id = await ayu.until_told(message, "READ")
    shown = (await whatsapp.until_read(VERA, whatsapp_id))["audioMessage"]
    assert shown["PTT"] is True
    assert shown["seconds"] == 2
    assert (await whatsapp.media(VERA, whatsapp_id)).startswith(b"OggS")


async def test_a_text_comes_in(ayu: Number, whatsapp: EmulatorClient) -> None:
    data = await ayu.until_received(await whatsapp.say(VERA, ayu.phone, text="Apa kabar?"))
    assert data["deviceId"] == ayu.device
    assert data["remoteJid"] == f"{VERA}@s.whatsapp.net"
    assert (data["type"], data["content"]) == ("conversation", {"conversation": "Apa kabar?"})
    assert (data["fromMe"], data["pushName"]) == (False, "Vera")

    async def is_kept() -> bool:
        page = await ayu.tenant.call("GET", "/messages?direction=inbound")
        return ("RECEIVED", data["messageId"]) in [(one["status"], one["messageId"]) for one in page["messages"]]

    await until("the history has it", is_kept)


FILES: dict[str, tuple[str, bytes, str, dict[str, Any]]] = {
    "imageMessage": ("image", a_picture(width=64, height=48), "image/png", {"caption": "Untukmu"}),
    "audioMessage": ("audio", b"OggS" + bytes(2000), "audio/ogg; codecs=opus", {"is_voice": True}),
    "documentMessage": ("document", PDF, "application/pdf", {"file_name": "faktur.pdf"}),
}


@pytest.mark.parametrize("kind", FILES)
async def test_a_file_comes_in(kind: str, ayu: Number, whatsapp: EmulatorClient) -> None:
    sent_as, file, mimetype, details = FILES[kind]
    data = await ayu.until_received(await whatsapp.send_media(VERA, ayu.phone, sent_as, file, mimetype, **details))
    assert data["type"] == kind
    content = data["content"][kind]
    assert content["mimetype"] == mimetype
    assert content.get("caption") == details.get("caption")
    assert content.get("ptt", False) is details.get("is_voice", False)
    assert data["media"]["fileName"] == details.get("file_name")
    assert await ayu.file_of(data) == file


async def test_a_reply_names_the_message_that_it_answers(ayu: Number, whatsapp: EmulatorClient) -> None:
    asked = await ayu.until_told(await ayu.send("text", VERA, text="Jam berapa?"), "READ")
    quote = {"id": asked, "participant": ayu.jid, "text": "Jam berapa?"}
    data = await ayu.until_received(await whatsapp.say(VERA, ayu.phone, text="Tujuh.", quote=quote))
    answer = data["content"]["extendedTextMessage"]
    assert answer["text"] == "Tujuh."
    assert answer["contextInfo"]["stanzaId"] == asked
    assert answer["contextInfo"]["quotedMessage"] == {"conversation": "Jam berapa?"}


async def test_a_reaction_names_our_message_as_ours(ayu: Number, whatsapp: EmulatorClient) -> None:
    liked = await ayu.until_told(await ayu.send("text", VERA, text="Kabar baik"), "READ")
    data = await ayu.until_received(
        await whatsapp.say(VERA, ayu.phone, reaction={"id": liked, "chat": ayu.jid, "text": "👍"})
    )
    reaction = data["content"]["reactionMessage"]
    assert (reaction["text"], reaction["key"]["id"], reaction["key"]["fromMe"]) == ("👍", liked, True)


async def test_an_edit_and_a_revocation_name_the_message_that_they_change(
    ayu: Number, whatsapp: EmulatorClient
) -> None:
    said = await whatsapp.say(VERA, ayu.phone, text="Besok")
    await ayu.until_received(said)
    edit = await ayu.until_received(await whatsapp.say(VERA, ayu.phone, edit={"id": said, "text": "Lusa"}))
    protocol = edit["content"]["protocolMessage"]
    assert (protocol["type"], protocol["key"]["id"], protocol["key"]["fromMe"]) == (14, said, False)
    assert text_of(protocol["editedMessage"]) == "Lusa"
    revocation = await ayu.until_received(await whatsapp.say(VERA, ayu.phone, revoke=said))
    protocol = revocation["content"]["protocolMessage"]
    assert (protocol["type"], protocol["key"]["id"]) == (0, said)


async def test_a_sent_text_is_edited_and_deleted_for_everyone(ayu: Number, whatsapp: EmulatorClient) -> None:
    message = await ayu.send("text", VERA, text="Jam tujuh")
    sent_as = await ayu.until_told(message, "READ")
    edit = await ayu.tenant.call("PATCH", f"/messages/{message}", {"text": "Jam delapan"})
    change = protocol_message(await whatsapp.until_read(VERA, await ayu.until_told(edit["id"], "SENT")))
    assert (change["type"], change["key"]["ID"]) == ("MESSAGE_EDIT", sent_as)
    assert text_of(change["editedMessage"]) == "Jam delapan"
    revocation = await ayu.tenant.call("POST", f"/messages/{message}/revoke")
    change = protocol_message(await whatsapp.until_read(VERA, await ayu.until_told(revocation["id"], "SENT")))
    assert (change["type"], change["key"]["ID"]) == ("REVOKE", sent_as)


async def test_a_group_is_written_to_and_heard(ayu: Number, whatsapp: EmulatorClient) -> None:
    group = await whatsapp.create_group("Arisan", ayu.phone, [VERA, BUDI])
    whatsapp_id = await ayu.until_told(await ayu.send("text", group, text="Rapat?"), "READ")
    for phone in (VERA, BUDI):
        assert text_of(await whatsapp.until_read(phone, whatsapp_id)) == "Rapat?"
    data = await ayu.until_received(await whatsapp.say(BUDI, group, text="Jam tujuh."))
    assert (data["remoteJid"], data["participant"]) == (group, f"{BUDI}@s.whatsapp.net")
    assert data["content"] == {"conversation": "Jam tujuh."}


async def test_sent_is_not_delivered_and_delivered_is_not_read(ayu: Number, whatsapp: EmulatorClient) -> None:
    await whatsapp.contact(PHONE_OFF, delivered=False)
    await whatsapp.contact(NO_BLUE_TICKS, delivered=True, read=False)
    unheard = await ayu.send("text", PHONE_OFF, text="satu")
    delivered = await ayu.send("text", NO_BLUE_TICKS, text="dua")
    read = await ayu.send("text", VERA, text="tiga")
    await ayu.until_told(unheard, "SENT")
    await ayu.until_told(delivered, "DELIVERED")
    await ayu.until_told(read, "READ")
    await ayu.until_told(delivered, "SENT")  # webhooks come in any order
    for earlier in ("SENT", "DELIVERED"):
        await ayu.until_told(read, earlier)
    assert ayu.statuses(unheard) == ["SENT"]
    assert set(ayu.statuses(delivered)) == {"SENT", "DELIVERED"}
    assert set(ayu.statuses(read)) == {"SENT", "DELIVERED", "READ"}
    for message, status in ((unheard, "SENT"), (delivered, "DELIVERED"), (read, "READ")):

        async def is_told(message: str = message, status: str = status) -> bool:
            return str((await ayu.tenant.call("GET", f"/messages/{message}"))["status"]) == status

        await until(f"the history says {status}", is_told)


def protocol_message(content: dict[str, Any]) -> dict[str, Any]:
    """A change of another message, also where it is wrapped."""
    wrapped: dict[str, Any] = content.get("editedMessage", {}).get("message", content)
    change: dict[str, Any] = wrapped["protocolMessage"]
    return change
