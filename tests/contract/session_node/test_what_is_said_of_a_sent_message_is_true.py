"""An acknowledgement is `sent`, only a receipt is `delivered`, and what nobody knows is `unknown` or sent again.

On the real library, from the command to the event, over deaths of the process at the worst moments.
"""

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kurir.contracts.commands import SendMessage
from kurir.contracts.states import furthest
from kurir.runtime.broker import Bus
from tests.support.conditions import until
from tests.support.emulated_nodes import DONE_WITHIN_S, SEND_TIMEOUT_S, EmulatedNodes
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import LEASE_TTL_S, Gateway, a_message
from tests.support.whatsapp_emulator.process import EmulatorProcess

AYU = "628444000001"
MOVED_WITHIN_S = LEASE_TTL_S + 60.0
READER, READER_JID = "628999000010", "628999000010@s.whatsapp.net"
OTHER, OTHER_JID = "628999000011", "628999000011@s.whatsapp.net"


@pytest.fixture
async def nodes(
    emulator: EmulatorProcess, bus: Bus, nats_server: NatsServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[EmulatedNodes]:
    """A node, and two people who read what they get. The parameter is how long it waits for an acknowledgement."""
    nodes = EmulatedNodes(emulator, await Gateway.open(bus, nats_server.url), tmp_path)
    await nodes.whatsapp.reset_faults()
    for phone in (READER, OTHER):
        await a_person(nodes, phone)
    try:
        await nodes.start(send_timeout_s=getattr(request, "param", SEND_TIMEOUT_S))
        yield nodes
    finally:
        await nodes.end()
        await nodes.whatsapp.reset_faults()


async def a_person(nodes: EmulatedNodes, phone: str, **policy: Any) -> None:
    """A phone that reads, unless its policy says otherwise."""
    usual = {"delivered": True, "delivered_after_s": 0.0, "read": True, "unreadable": 0, "retry": True}
    await nodes.whatsapp.contact(phone, **(usual | {"retry_after_s": 0.0} | policy))


async def sent_by_the_device(nodes: EmulatedNodes, phone: str, after: int) -> list[dict[str, Any]]:
    """What the device put on the wire for that person."""
    return [dict(entry) for entry in await nodes.whatsapp.journal("message.sent", after=after) if entry["to"] == phone]


async def until_on_the_wire(nodes: EmulatedNodes, phone: str, after: int) -> dict[str, Any]:
    (entry,) = await nodes.whatsapp.until_journal("message.sent", after=after, to=phone, within_s=DONE_WITHIN_S)
    return dict(entry)


async def has_marked(nodes: EmulatedNodes, message: SendMessage) -> bool:
    return await nodes.statuses(message) == ["sending"]


# --- no acknowledgement ----------------------------------------------------------------------------------------------


async def test_a_message_without_acknowledgement_is_unknown_and_the_next_one_goes(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU)
    await nodes.whatsapp.set_faults(drop_acks=[READER])
    mark = await nodes.whatsapp.mark()
    lost, following = a_message("d1", to=READER_JID), a_message("d1", to=OTHER_JID)
    await nodes.gateway.order(lost, following)
    assert (await nodes.until_status(lost, "unknown")).reason == "send_timeout"
    await nodes.until_status(following, "read")
    assert await nodes.statuses(lost) == ["sending", "unknown"]
    assert len(await sent_by_the_device(nodes, READER, mark)) == 1
    assert nodes.complaints() == []


async def test_a_tenant_that_wants_it_gets_an_unknown_message_sent_again_once_connected(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU)
    await nodes.whatsapp.set_faults(lose_messages=[READER])
    mark = await nodes.whatsapp.mark()
    message = a_message("d1", to=READER_JID, on_unknown="resend")
    await nodes.gateway.order(message)
    assert (await nodes.until_status(message, "retrying")).reason == "send_timeout"
    await nodes.whatsapp.reset_faults()
    sent = await nodes.until_status(message, "sent")
    await nodes.until_status(message, "read")
    assert sent.attempt > 1
    ids = {entry["id"] for entry in await sent_by_the_device(nodes, READER, mark)}
    assert len(ids) == sent.attempt, "each attempt is a message of its own at WhatsApp, all of them one of ours"
    read = [e["id"] for e in await nodes.whatsapp.journal("message.read", after=mark) if e["phone"] == READER]
    assert read == [sent.whatsapp_id]
    said = await nodes.statuses(message)
    assert said.count("sent") == 1
    assert said[-2:] == ["delivered", "read"]


# --- death between the mark and the acknowledgement -------------------------------------------------------------------


@pytest.mark.parametrize("on_unknown", ["report", "resend"])
async def test_a_shard_killed_before_the_acknowledgement_leaves_what_the_tenant_chose(
    nodes: EmulatedNodes, on_unknown: str
) -> None:
    await nodes.link("d1", AYU)
    await nodes.whatsapp.set_faults(drop_acks=[READER])
    mark = await nodes.whatsapp.mark()
    message = a_message("d1", to=READER_JID, on_unknown=on_unknown)
    await nodes.gateway.order(message)
    first_try = await until_on_the_wire(nodes, READER, mark)
    assert await has_marked(nodes, message)
    nodes.nodes[0].kill()
    await nodes.whatsapp.reset_faults()
    await nodes.start("second")
    if on_unknown == "report":
        unknown = await nodes.until_status(message, "unknown", within_s=MOVED_WITHIN_S)
        assert unknown.reason == "outcome_unknown"
        following = a_message("d1", to=READER_JID)
        await nodes.gateway.order(following)
        await nodes.until_status(following, "read", within_s=MOVED_WITHIN_S)
        assert await nodes.statuses(message) == ["sending", "unknown"]
        assert len(await sent_by_the_device(nodes, READER, mark)) == 2
    else:
        sent = await nodes.until_status(message, "sent", within_s=MOVED_WITHIN_S)
        assert sent.attempt == 2
        assert sent.whatsapp_id != first_try["id"]
        await nodes.until_status(message, "read")
        assert await nodes.statuses(message) == ["sending", "retrying", "sending", "sent", "delivered", "read"]


@pytest.mark.parametrize("nodes", [60.0], indirect=True, ids=["patient"])
async def test_a_late_acknowledgement_of_a_former_owner_is_better_than_unknown(nodes: EmulatedNodes) -> None:
    """The first shard is stopped in its tracks while its message is on the way, and wakes when another owns the device
    and has called the outcome unknown; the acknowledgement was waiting for it.
    """
    await nodes.link("d1", AYU)
    await a_person(nodes, READER, delivered_after_s=3.0)
    await nodes.whatsapp.set_faults(ack_delay_s=3.0)  # it is frozen long before
    mark = await nodes.whatsapp.mark()
    message = a_message("d1", to=READER_JID)
    await nodes.gateway.order(message)
    await until_on_the_wire(nodes, READER, mark)
    frozen = nodes.nodes[0].process.pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert await has_marked(nodes, message)
        await nodes.whatsapp.reset_faults()
        await nodes.start("second")
        await nodes.until_status(message, "unknown", within_s=MOVED_WITHIN_S)
    finally:
        os.kill(frozen, signal.SIGCONT)
    late = await nodes.until_status(message, "sent")
    unknown = await nodes.until_status(message, "unknown")
    assert late.epoch < unknown.epoch
    assert furthest([late.status, unknown.status]) == "sent"


# --- receipts, and none ----------------------------------------------------------------------------------------------


async def test_a_message_is_called_delivered_by_a_receipt_alone(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU)
    await a_person(nodes, READER, delivered=False, read=False)
    silent, friendly = a_message("d1", to=READER_JID), a_message("d1", to=OTHER_JID)
    await nodes.gateway.order(silent, friendly)
    await nodes.until_status(friendly, "read")
    sent = await nodes.until_status(silent, "sent")
    await nodes.whatsapp.until_read(READER, sent.whatsapp_id or "")
    assert await nodes.statuses(silent) == ["sending", "sent"]


async def test_a_message_that_no_phone_confirms_is_undelivered(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU, undelivered_after_s=2)
    await a_person(nodes, READER, delivered=False, read=False)
    silent, friendly = a_message("d1", to=READER_JID), a_message("d1", to=OTHER_JID)
    await nodes.gateway.order(silent, friendly)
    told = await nodes.until_status(silent, "undelivered")
    await nodes.until_status(friendly, "read")
    assert told.reason == "no_receipt"
    assert told.whatsapp_id == (await nodes.until_status(silent, "sent")).whatsapp_id
    assert await nodes.statuses(friendly) == ["sending", "sent", "delivered", "read"]


async def test_a_message_is_undelivered_also_when_its_shard_was_killed_before_the_time(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU, undelivered_after_s=15)
    await a_person(nodes, READER, delivered=False, read=False)
    silent, friendly = a_message("d1", to=READER_JID), a_message("d1", to=OTHER_JID)
    await nodes.gateway.order(silent, friendly)
    await nodes.until_status(friendly, "read")
    nodes.nodes[0].kill()
    assert await nodes.statuses(silent) == ["sending", "sent"]
    await nodes.start("second")
    assert (await nodes.until_status(silent, "undelivered", within_s=MOVED_WITHIN_S)).reason == "no_receipt"
    assert await nodes.statuses(friendly) == ["sending", "sent", "delivered", "read"]


async def test_receipts_that_wait_at_whatsapp_count_before_a_message_is_judged(nodes: EmulatedNodes) -> None:
    patience_s = 8  # the device is away before, and before the late receipt too, on a busy machine as well
    device = await nodes.link("d1", AYU, undelivered_after_s=patience_s)
    await a_person(nodes, READER, delivered_after_s=4.0)
    await a_person(nodes, OTHER, delivered=False, read=False)
    late, silent = a_message("d1", to=READER_JID), a_message("d1", to=OTHER_JID)
    await nodes.gateway.order(silent, late)
    await nodes.until_status(late, "sent")
    away = msgspec.structs.replace(device, wanted="disconnected")
    await nodes.gateway.put_device(away)
    await nodes.until_state("d1", "disconnected")
    assert "delivered" not in await nodes.statuses(late)
    fence = (await nodes.until_status(silent, "sent")).at.timestamp() + patience_s

    async def is_overdue() -> bool:
        return time.time() > fence + 1.0

    await until("the time is over", is_overdue)
    assert "undelivered" not in await nodes.statuses(silent)
    await nodes.gateway.put_device(msgspec.structs.replace(away, wanted="connected", connect_generation=2))
    await nodes.until_status(silent, "undelivered")
    await nodes.until_status(late, "read")
    assert await nodes.statuses(late) == ["sending", "sent", "delivered", "read"]


# --- a phone that cannot read -----------------------------------------------------------------------------------------


async def test_a_phone_that_asks_again_gets_the_message_while_the_library_remembers_it(nodes: EmulatedNodes) -> None:
    await nodes.link("d1", AYU)
    await a_person(nodes, READER, unreadable=1, retry_after_s=0.5)
    message = a_message("d1", to=READER_JID)
    await nodes.gateway.order(message)
    await nodes.until_status(message, "read")
    assert await nodes.statuses(message) == ["sending", "sent", "delivered", "read"]


async def test_a_phone_that_asks_after_a_restart_gets_nothing_and_the_message_is_undelivered(
    nodes: EmulatedNodes,
) -> None:
    """What the library has sent it keeps in memory, and cannot be given back to it."""
    await nodes.link("d1", AYU)
    await a_person(nodes, READER, unreadable=1, retry_after_s=3.0)
    mark = await nodes.whatsapp.mark()
    message = a_message("d1", to=READER_JID)
    await nodes.gateway.order(message)
    sent = await nodes.until_status(message, "sent")
    nodes.nodes[0].kill()
    await nodes.start("second")
    told = await nodes.until_status(message, "undelivered", within_s=MOVED_WITHIN_S)
    assert (told.reason, told.whatsapp_id) == ("unreadable", sent.whatsapp_id)
    assert told.recipient is not None
    following = a_message("d1", to=READER_JID)
    await nodes.gateway.order(following)
    await nodes.until_status(following, "read")
    assert [e["id"] for e in await sent_by_the_device(nodes, READER, mark)].count(sent.whatsapp_id) == 1
    read = [e["id"] for e in await nodes.whatsapp.journal("message.read", after=mark) if e["phone"] == READER]
    assert sent.whatsapp_id not in read
    assert nodes.complaints() == []
