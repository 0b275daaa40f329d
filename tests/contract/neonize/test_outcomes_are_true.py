"""What is said of a message is true: sent, unknown, asked for again, lost."""

import asyncio
from collections.abc import Callable

import pytest

from kurir.session_node.engines.engine import OutcomeUnknown
from tests.contract.neonize.people import VERA, VERA_JID, Person
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

BURSTS = 100
SILENT, SILENT_JID = "628999000009", "628999000009@s.whatsapp.net"


async def test_a_message_without_acknowledgement_is_unknown_and_holds_up_the_next_no_longer(
    whatsapp: EmulatorClient, ayu: Person
) -> None:
    await whatsapp.contact(SILENT)
    await whatsapp.set_faults(drop_acks=[SILENT])
    connections, mark = ayu.watched.states().count("connected"), await whatsapp.mark()
    unknown = asyncio.create_task(ayu.send(SILENT_JID, "was it sent?"))
    (sent,) = await whatsapp.until_journal("message.sent", after=mark, to=SILENT)
    with pytest.raises(OutcomeUnknown) as failed:
        await unknown
    assert failed.value.reason == "send_timeout"
    await ayu.watched.until_state("connected", times=connections + 1)
    await ayu.send(VERA_JID, "next")
    # Of a message that is called unknown nothing leaves any more.
    again = [entry for entry in await whatsapp.journal("message.sent", after=mark) if entry["id"] == sent["id"]]
    assert len(again) == 1


async def test_a_message_in_flight_over_a_dropped_connection_is_sent_once(
    whatsapp: EmulatorClient, ayu: Person
) -> None:
    await whatsapp.set_faults(lose_messages=[VERA])
    mark = await whatsapp.mark()
    sending = asyncio.create_task(ayu.send(VERA_JID, "through the tunnel"))
    (lost,) = await whatsapp.until_journal("message.sent", after=mark, is_lost=True)
    await whatsapp.reset_faults()
    await whatsapp.drop(ayu.device)
    sent = await sending
    assert sent.whatsapp_id == lost["id"]
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    read = [e for e in await whatsapp.journal("message.read", after=mark) if e["phone"] == VERA]
    assert [entry["id"] for entry in read] == [sent.whatsapp_id]


async def test_a_message_that_the_phone_cannot_read_is_sent_again_when_it_asks(
    whatsapp: EmulatorClient, ayu: Person
) -> None:
    await whatsapp.contact(VERA, unreadable=1)
    mark = await whatsapp.mark()
    sent = await ayu.send(VERA_JID, "read me at the second try")
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    assert await whatsapp.journal("message.unreadable", after=mark)
    attempts = await whatsapp.journal("message.sent", after=mark)
    assert [(e["id"], e["is_sent_again"]) for e in attempts] == [(sent.whatsapp_id, False), (sent.whatsapp_id, True)]
    await ayu.watched.until_receipts(sent.whatsapp_id, "delivered", "read")


async def test_a_message_that_cannot_be_read_at_first_is_received_once_when_it_comes_again(
    whatsapp: EmulatorClient, ayu: Person
) -> None:
    mark = await whatsapp.mark()
    damaged = await whatsapp.say(VERA, ayu.phone, "damaged on the way", is_damaged=True)
    assert await ayu.until_message(damaged)
    assert await whatsapp.journal("message.sent_again", after=mark)
    assert len([r for r in ayu.watched.received() if r.whatsapp_id == damaged]) == 1


async def test_what_is_lost_while_both_sides_write_is_never_called_delivered(
    whatsapp: EmulatorClient, ayu: Person, record_property: Callable[[str, object], None]
) -> None:
    """whatsmeow loses messages when it encrypts and decrypts for one peer at once. This measures how many; a phone that
    asks for nothing again is the worst there is.
    """
    await whatsapp.contact(VERA, retry=False)
    mark, sent, heard = await whatsapp.mark(), list[str](), list[str]()
    is_over = asyncio.Event()

    async def write_back() -> None:
        for burst in range(BURSTS):
            before = len(sent)
            heard.extend(await whatsapp.say_many(VERA, ayu.phone, f"burst {burst}, {{n}}", count=5))
            await until("some are sent between two bursts", lambda: len(sent) > before)  # noqa: B023
        is_over.set()

    writing = asyncio.create_task(write_back())
    try:
        while not is_over.is_set() or len(sent) < 100:
            sent.append((await ayu.send(VERA_JID, f"text {len(sent)}")).whatsapp_id)
        await writing
        await ayu.until_text(f"burst {BURSTS - 1}, 4")

        async def what_happened() -> tuple[set[str], set[str]]:
            entries = await whatsapp.journal("message.read", "message.unreadable", after=mark)
            of_vera = [e for e in entries if e["phone"] == VERA]
            read = {e["id"] for e in of_vera if e["kind"] == "message.read"}
            return read, {e["id"] for e in of_vera if e["kind"] == "message.unreadable"}

        async def all_have_come() -> bool:
            read, unreadable = await what_happened()
            return set(sent) <= read | unreadable

        await until("every message reached the phone", all_have_come)
        read, lost = await what_happened()
        assert len(heard) == 5 * BURSTS
        amid = await sends_among(whatsapp, set(heard), after=mark)
        assert amid >= BURSTS - 1, "both sides wrote at the same time"
        record_property("bursts", BURSTS)
        record_property("sent amid bursts", amid)
        record_property("sent", len(sent))
        record_property("lost", len(lost))
        await until("receipts", lambda: all("read" in ayu.watched.receipts(one) for one in sent if one in read))
        assert [one for one in lost if ayu.watched.receipts(one)] == []
        assert len(lost) <= BURSTS / 20, "without the pauses of quiet.py it is about 1 in 14 bursts"
    finally:
        await whatsapp.contact(VERA, retry=True)


async def sends_among(whatsapp: EmulatorClient, heard: set[str], *, after: int) -> int:
    """How many messages the device sent between the first and the last that it got of these."""
    entries = await whatsapp.journal("message.sent", "message.delivered", after=after)
    arrivals = [at for at, entry in enumerate(entries) if entry["kind"] == "message.delivered" and entry["id"] in heard]
    assert len(arrivals) == len(heard)
    return sum(entry["kind"] == "message.sent" for entry in entries[arrivals[0] : arrivals[-1]])
