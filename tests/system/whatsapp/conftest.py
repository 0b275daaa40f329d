"""One whole system on the real library serves all tests of this folder, with one emulator and two linked numbers."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.webhook_receiver import WebhookReceiver
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.system.live_system import LiveSystem
from tests.system.whatsapp.people import BUDI, VERA, Number


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("whatsapp")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveSystem]:
    """Every service as a process; the session-node has the emulator's WhatsApp alone."""
    started = LiveSystem(tmp_path_factory.mktemp("system"), whatsapp=emulator)
    try:
        await started.start()
        yield started
    finally:
        await started.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def inbox() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as receiving:
        yield receiving


@pytest_asyncio.fixture(loop_scope="session")
async def whatsapp(emulator: EmulatorProcess) -> EmulatorClient:
    """Without faults, and with Vera and Budi, who read what they get."""
    client = emulator.client
    await client.reset_faults()
    for phone, name in ((VERA, "Vera"), (BUDI, "Budi")):
        await client.contact(phone, name=name, delivered=True, read=True, reply=None, echo=False)
    return client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def linked(
    system: LiveSystem, emulator: EmulatorProcess, inbox: WebhookReceiver
) -> AsyncIterator[dict[str, Number]]:
    """Ayu's device was linked by a QR code, Citra's by a phone code; each belongs to a tenant of its own."""
    ayu = Number("Ayu", "628111000001", emulator.client, inbox)
    citra = Number("Citra", "628111000002", emulator.client, inbox)
    for number in (ayu, citra):
        await number.settle(system)
    await ayu.link_by_qr()
    await citra.link_by_code()
    yield {"ayu": ayu, "citra": citra}
    for number in (ayu, citra):
        await number.tenant.close()


@pytest_asyncio.fixture(loop_scope="session")
async def ayu(linked: dict[str, Number], whatsapp: EmulatorClient) -> Number:
    await linked["ayu"].until_status("CONNECTED")
    return linked["ayu"]


@pytest_asyncio.fixture(loop_scope="session")
async def citra(linked: dict[str, Number], whatsapp: EmulatorClient) -> Number:
    await linked["citra"].until_status("CONNECTED")
    return linked["citra"]
