"""A server that accepts everything and answers nothing: the device is told of as disconnected, and connected anew.

Two lines of defence, on the real library: its own keepalives, and the shard's question to a session that tells nothing.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.contracts.events import ConnectionUpdate
from kurir.runtime.broker import Bus
from tests.support.conditions import until
from tests.support.emulated_nodes import EmulatedNodes
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import Gateway, a_message
from tests.support.whatsapp_emulator.process import EmulatorProcess

NOTICED_WITHIN_S = 100.0  # keepalives: 40 s at most; questions: twice the 30 s that one may take
OPENED_WITHIN_S = 100.0  # 30 s of patience with the library, and a login
FRIEND = "628777000901@s.whatsapp.net"


@pytest.fixture
async def nodes(
    bus: Bus, nats_server: NatsServer, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[EmulatedNodes]:
    nodes = EmulatedNodes(emulator, await Gateway.open(bus, nats_server.url), tmp_path)
    yield nodes
    await emulator.client.reset_faults()
    await nodes.end()


async def changes(nodes: EmulatedNodes, device: str) -> list[tuple[str, str | None]]:
    events = [event for event in await nodes.gateway.events(device) if isinstance(event, ConnectionUpdate)]
    return [(event.state, event.detail) for event in events]


@pytest.mark.timeout(360)
async def test_a_server_that_answers_no_keepalives_is_left_and_joined_again_though_it_still_answers_none(
    nodes: EmulatedNodes,
) -> None:
    await nodes.start()
    await nodes.link("d1", "628777000100")
    before = len(await changes(nodes, "d1"))
    await nodes.whatsapp.set_faults(silent_iqs=["w:p:get:"], everyone_is_here=True)

    async def is_lost() -> bool:
        return ("disconnected", "no answer to keepalives") in (await changes(nodes, "d1"))[before:]

    await until("the silence is noticed", is_lost, within_s=NOTICED_WITHIN_S)

    async def is_back() -> bool:
        return [state for state, _ in (await changes(nodes, "d1"))[before:]].count("connected") > 0

    await until("it is connected anew", is_back, within_s=OPENED_WITHIN_S)
    message = a_message("d1", to=FRIEND)
    await nodes.gateway.order(message)
    await nodes.until_status(message, "sent")


@pytest.mark.timeout(360)
async def test_a_session_that_does_not_answer_when_it_is_asked_is_opened_again(nodes: EmulatedNodes) -> None:
    await nodes.start(KURIR_SILENT_AFTER_S="3")
    await nodes.link("d1", "628777000200")
    before = len(await changes(nodes, "d1"))
    await nodes.whatsapp.set_faults(silent_iqs=["passive:set:active"])

    async def is_silent() -> bool:
        return any(
            state == "disconnected" and (detail or "").startswith("silent: ")
            for state, detail in (await changes(nodes, "d1"))[before:]
        )

    await until("the session is given up", is_silent, within_s=NOTICED_WITHIN_S)
    await nodes.whatsapp.reset_faults()
    await nodes.until_state("d1", "connected", within_s=OPENED_WITHIN_S)
    settled = len(await changes(nodes, "d1"))
    message = a_message("d1", to=FRIEND)
    await nodes.whatsapp.set_faults(everyone_is_here=True)
    await nodes.gateway.order(message)
    await nodes.until_status(message, "sent")
    assert len(await changes(nodes, "d1")) == settled, "a session that answers is left alone"
