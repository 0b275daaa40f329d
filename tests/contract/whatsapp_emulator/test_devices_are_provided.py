"""Devices that were given to the emulator instead of being linked do what linked ones do."""

from pathlib import Path

import pytest

from tests.contract.whatsapp_emulator.people import VERA
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients
from tests.support.whatsapp_emulator.provisioned_store import StoreTemplate

pytestmark = pytest.mark.asyncio(loop_scope="session")

CITRA, DEWI = "628444000001", "628444000002"


async def test_provided_devices_log_in_and_write_to_each_other_and_to_phones(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, tmp_path: Path
) -> None:
    mark = await whatsapp.mark()
    template = StoreTemplate(clients.file(ayu), tmp_path)
    for client, phone in (("citra", CITRA), ("dewi", DEWI)):
        provided = await template.write(clients.file(client), whatsapp, phone, name=client.title())
        assert provided.device == f"{phone}:1"
        await clients.open(client)
    sent = await clients.do("citra", "send_text", to=VERA, text="to a phone")
    assert (await whatsapp.until_read(VERA, sent["id"]))["extendedTextMessage"]["text"] == "to a phone"
    await whatsapp.say(VERA, CITRA, "to a device")
    await clients.until_text("citra", "to a device")
    await clients.do("citra", "send_text", to=DEWI, text="to each other")
    await clients.until_text("dewi", "to each other")
    await clients.do("dewi", "send_text", to=CITRA, text="and back")
    await clients.until_text("citra", "and back")
    assert not await whatsapp.journal("stanza.malformed", "iq.malformed", after=mark)
