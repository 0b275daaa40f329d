"""Every fault knob, as the real neonize library sees it."""

import asyncio
from pathlib import Path

import pytest

from tests.contract.whatsapp_emulator.people import AYU, VERA, a_png
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.journal import overlaps, ownerships
from tests.support.whatsapp_emulator.neonize_clients import CallFailed, NeonizeClients

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("fault", ["drop", "close"])
async def test_a_client_comes_back_after_its_connection_was_lost(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, fault: str
) -> None:
    before, mark = len(clients.events), await whatsapp.mark()
    await getattr(whatsapp, fault)(AYU)
    await clients.until(ayu, "DisconnectedEv", after=before)
    await clients.until(ayu, "ConnectedEv", after=before)
    (ended,) = await whatsapp.until_journal("connection.ended", after=mark, device=f"{AYU}:1")
    assert ended["cause"] == ("dropped" if fault == "drop" else "closed")
    sent = await clients.do(ayu, "send_text", to=VERA, text=f"back after {fault}")
    await whatsapp.until_read(VERA, sent["id"])


async def test_a_stream_error_makes_the_client_connect_again(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before = len(clients.events)
    await whatsapp.stream_error(AYU, "503")
    await clients.until(ayu, "ConnectedEv", after=before)


async def test_a_server_that_is_down_lets_nobody_in_until_it_is_up(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before = len(clients.events)
    await whatsapp.set_faults(is_down=True)
    await clients.until(ayu, "DisconnectedEv", after=before)
    await whatsapp.until_offline(AYU)
    with pytest.raises(CallFailed, match="websocket not connected"):
        await clients.do(ayu, "send_text", to=VERA, text="nobody takes this")
    await whatsapp.set_faults(is_down=False)
    await clients.until(ayu, "ConnectedEv", after=before, within_s=30)


async def test_a_conflict_ends_the_session_without_a_new_connection(
    whatsapp: EmulatorClient, clients: NeonizeClients
) -> None:
    device = await clients.pair("conflict", "628333000001")
    before = len(clients.events)
    await whatsapp.conflict(device)
    await clients.until("conflict", "StreamReplacedEv", after=before)
    await whatsapp.until_journal("connection.ended", device=device, cause="conflict")
    await whatsapp.until_offline(device)


async def test_two_owners_of_one_device_are_seen_in_the_journal(
    whatsapp: EmulatorClient, clients: NeonizeClients
) -> None:
    device = await clients.pair("owner", "628333000002")
    alone = await whatsapp.journal()
    assert [owner.until for owner in ownerships(alone) if owner.device == device] == [None]
    assert not [pair for pair in overlaps(alone) if pair[0].device == device]
    before = len(clients.events)
    await clients.do("intruder", "open", database=clients.database("owner"))
    await clients.until("intruder", "ConnectedEv")
    await clients.until("owner", "StreamReplacedEv", after=before)
    await whatsapp.until_journal("connection.ended", device=device, cause="replaced")
    (pair,) = [pair for pair in overlaps(await whatsapp.journal()) if pair[0].device == device]
    assert pair[0].until is not None
    assert pair[0].until > pair[1].since


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        ({"reason": "402", "code": "101", "expire": "3600"}, "TemporaryBanEv"),
        ({"reason": "403"}, "LoggedOutEv"),
        ({"reason": "405"}, "ClientOutdatedEv"),
        ({"reason": "409"}, "ConnectFailureEv"),
    ],
)
async def test_a_login_fails_with_the_reason_that_is_set(
    whatsapp: EmulatorClient, clients: NeonizeClients, failure: dict[str, str], event: str
) -> None:
    reason = failure["reason"]
    phone, client = f"628333001{reason}", f"refused-{reason}"
    device = await clients.pair(client, phone)
    await clients.do(client, "stop")
    await whatsapp.until_offline(device)
    await whatsapp.set_faults(login_failure={phone: failure})
    before = len(clients.events)
    await clients.do(client, "open", database=clients.database(client))
    await clients.until(client, event, after=before)
    await whatsapp.until_journal("connection.refused", device=device, reason=reason)


async def test_a_login_that_fails_for_a_while_succeeds_later(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    before, mark = len(clients.events), await whatsapp.mark()
    await whatsapp.set_faults(login_failure={AYU: {"reason": "503"}})
    await whatsapp.drop(AYU)
    await whatsapp.until_journal("connection.refused", after=mark, reason="503")
    await whatsapp.reset_faults()
    await clients.until(ayu, "ConnectedEv", after=before, within_s=30)


async def test_an_acknowledgement_carries_the_error_that_is_set(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.set_faults(ack_error={VERA: "463"})
    mark = await whatsapp.mark()
    with pytest.raises(CallFailed, match="463"):
        await clients.do(ayu, "send_text", to=VERA, text="refused")
    (sent,) = await whatsapp.until_journal("message.sent", after=mark, to=VERA)
    assert sent["error"] == "463"
    assert not await whatsapp.journal("message.read", after=mark)


async def test_a_message_without_acknowledgement_is_relayed_all_the_same(
    whatsapp: EmulatorClient, clients: NeonizeClients
) -> None:
    await clients.pair("unacked", "628333000003")
    await whatsapp.set_faults(drop_acks=[VERA])
    mark = await whatsapp.mark()
    sending = asyncio.create_task(clients.do("unacked", "send_text", to=VERA, text="was it sent?"))
    (read,) = await whatsapp.until_journal("message.read", after=mark, phone=VERA)
    assert read["content"]["extendedTextMessage"]["text"] == "was it sent?"
    assert not sending.done()
    sending.cancel()


async def test_a_message_can_be_lost_and_comes_again_after_a_new_connection(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.set_faults(lose_messages=[VERA])
    before, mark = len(clients.events), await whatsapp.mark()
    sending = asyncio.create_task(clients.do(ayu, "send_text", to=VERA, text="lost once"))
    (lost,) = await whatsapp.until_journal("message.sent", after=mark, is_lost=True)
    await whatsapp.reset_faults()
    await whatsapp.drop(AYU)
    await clients.until(ayu, "ConnectedEv", after=before)
    sent = await sending
    assert sent["id"] == lost["id"]
    await whatsapp.until_read(VERA, sent["id"])


async def test_a_message_that_comes_again_because_its_acknowledgement_was_lost_is_read_once(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.set_faults(drop_acks=[VERA])
    before, mark = len(clients.events), await whatsapp.mark()
    sending = asyncio.create_task(clients.do(ayu, "send_text", to=VERA, text="sent twice"))
    (read,) = await whatsapp.until_journal("message.read", after=mark, phone=VERA)
    await whatsapp.reset_faults()
    await whatsapp.drop(AYU)
    await clients.until(ayu, "ConnectedEv", after=before)
    assert (await sending)["id"] == read["id"]
    await whatsapp.until_journal("message.repeated", phone=VERA, id=read["id"])
    assert len([entry for entry in await whatsapp.journal("message.read", after=mark) if entry["phone"] == VERA]) == 1


async def test_a_question_that_is_not_answered_holds_up_nothing_else(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.set_faults(silent_iqs=["w:g2:get:participating"])
    before, mark = len(clients.events), await whatsapp.mark()
    asking = asyncio.create_task(clients.do(ayu, "groups"))
    await whatsapp.until_journal("iq.left_unanswered", after=mark, iq="w:g2:get:participating")
    await whatsapp.say(VERA, AYU, "still here")
    await clients.until_text(ayu, "still here", after=before)
    assert not asking.done()
    asking.cancel()


async def test_a_question_can_be_answered_by_an_error(
    whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str
) -> None:
    await whatsapp.set_faults(iq_errors={"w:g2:get:participating": ["429", "rate-overlimit"]})
    with pytest.raises(CallFailed, match="429"):
        await clients.do(ayu, "groups")


async def test_uploads_can_fail(whatsapp: EmulatorClient, clients: NeonizeClients, ayu: str, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(a_png(side=20))
    await whatsapp.set_faults(upload_status=415)
    with pytest.raises(CallFailed, match="415"):
        await clients.do(ayu, "send_image", to=VERA, path=str(image), caption="")
