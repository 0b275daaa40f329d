"""One emulator, one engine process and two linked people serve all tests of this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.contract.neonize.people import VERA, Person
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

ACK_TIMEOUT_S = 5.0


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("whatsapp")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def whatsapp(emulator: EmulatorProcess) -> AsyncIterator[EmulatorClient]:
    """Without faults, and with Vera, who reads what she gets."""
    client = emulator.client
    await client.reset_faults()
    await client.contact(VERA, name="Vera", read=True, reply=None, echo=True, delivered=True, unreadable=0)
    yield client
    await client.reset_faults()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RemoteEngine]:
    started = RemoteEngine(emulator, tmp_path_factory.mktemp("engine"), ack_timeout_s=ACK_TIMEOUT_S)
    await started.start()
    try:
        yield started
    finally:
        await started.end()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def linked(engine: RemoteEngine, emulator: EmulatorProcess) -> dict[str, Person]:
    people = {"ayu": Person("ayu", "628111000001"), "budi": Person("budi", "628111000002")}
    for person in people.values():
        await person.link(engine, emulator.client)
    return people


@pytest_asyncio.fixture(loop_scope="session")
async def ayu(linked: dict[str, Person], whatsapp: EmulatorClient) -> Person:
    await whatsapp.until_online(linked["ayu"].device)
    return linked["ayu"]


@pytest_asyncio.fixture(loop_scope="session")
async def budi(linked: dict[str, Person], whatsapp: EmulatorClient) -> Person:
    await whatsapp.until_online(linked["budi"].device)
    return linked["budi"]
