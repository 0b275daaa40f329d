"""Session nodes on the real library: one emulator for all, a broker and nodes for each test or module."""

from collections.abc import Iterator

import pytest

from tests.support.whatsapp_emulator.process import EmulatorProcess


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("whatsapp")) as started:
        yield started
