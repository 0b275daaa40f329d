"""Systems to break, and a summary of what the broken ones did."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.webhook_receiver import WebhookReceiver
from tests.system.live_system import LiveSystem

_counted: list[str] = []


@pytest.fixture
def counted() -> list[str]:
    """Lines for the end of the run: what a test counted, duplicates above all."""
    return _counted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _counted:
        terminalreporter.section("counted while things were killed")
        for line in _counted:
            terminalreporter.write_line(line)


@pytest.fixture
async def live_system(tmp_path: Path) -> AsyncIterator[LiveSystem]:
    """The whole system, fresh, as processes."""
    system = LiveSystem(tmp_path / "state")
    try:
        await system.start()
        yield system
    finally:
        await system.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """Where the webhooks of a test arrive."""
    async with WebhookReceiver() as receiving:
        yield receiving
