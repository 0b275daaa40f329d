"""One emulator and one process of neonize clients for the whole folder; two devices are linked once and used again."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.contract.whatsapp_emulator.people import AYU, BUDI, VERA
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients
from tests.support.whatsapp_emulator.process import EmulatorProcess


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("whatsapp")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clients(
    emulator_process: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[NeonizeClients]:
    """A process that has nobody but the emulator to talk to."""
    started = NeonizeClients(emulator_process, tmp_path_factory.mktemp("neonize"))
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def whatsapp(emulator_process: EmulatorProcess) -> AsyncIterator[EmulatorClient]:
    """The emulator, without faults and with one virtual contact, Vera, who does nothing unasked but to receive."""
    client = emulator_process.client
    await client.reset_faults()
    await client.contact(VERA, name="Vera", read=False, reply=None, echo=False, delivered=True)
    yield client
    await client.reset_faults()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def linked(clients: NeonizeClients) -> None:
    """Ayu and Budi have linked a device each."""
    await clients.pair("ayu", AYU, name="Ayu")
    await clients.pair("budi", BUDI, name="Budi")


@pytest_asyncio.fixture(loop_scope="session")
async def ayu(linked: None, whatsapp: EmulatorClient) -> str:
    """Name of the client that speaks for Ayu; it is connected."""
    await whatsapp.until_online(AYU)
    return "ayu"


@pytest_asyncio.fixture(loop_scope="session")
async def budi(linked: None, whatsapp: EmulatorClient) -> str:
    """Name of the client that speaks for Budi; it is connected."""
    await whatsapp.until_online(BUDI)
    return "budi"
