"""What only the sandbox does: its QR codes, its groups, its memory, and scenarios that no other engine can stage."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kurir.contracts.content import STATUS, Document, List, ListReply, ListRow, ListSection, Poll, PollVote, Text
from kurir.session_node.engines.engine import (
    NotConnected,
    NotPairing,
    OutcomeUnknown,
    ReceiptSeen,
    SendFailed,
    SendOrder,
    SessionSpec,
)
from kurir.session_node.engines.observations import CallSeen, PresenceSeen
from kurir.session_node.engines.sandbox.client import Pace, SandboxEngine, SandboxSession
from kurir.session_node.engines.sandbox.contacts import GROUP_MEMBERS
from tests.contract.engine.worlds import Kept, Watched, a_spec
from tests.support.conditions import until

SOON = (0.001, 0.002)
FAST = Pace(
    login_s=0.001, ack_s=SOON, delivered_s=SOON, read_s=SOON, reply_s=SOON, slow_s=0.02, reconnect_s=0.02, tick_s=0.001
)
PAIRED = a_spec(jid="628111222333@s.whatsapp.net")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SandboxEngine]:
    engine = SandboxEngine(tmp_path, pace=FAST)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def connected(engine: SandboxEngine, watched: Watched, spec: SessionSpec = PAIRED) -> SandboxSession:
    session = await engine.open(spec, watched)
    await watched.until_state("connected")
    return session


def text(ending: str = "34567", words: str = "hi", server: str = "s.whatsapp.net") -> SendOrder:
    return SendOrder(message_id="m1", to=f"62812{ending}@{server}", content=Text(text=words))


async def test_qr_codes_change_and_then_run_out(watched: Watched) -> None:
    engine = SandboxEngine(pace=Pace(qr_first_s=0.03, qr_next_s=0.01, qr_codes=3))
    await engine.start()
    session = await engine.open(a_spec(), watched)
    ended = await watched.until_state("disconnected")
    assert ended.reason == "qr_timeout"
    assert watched.states() == ["connecting", "qr", "qr", "qr", "disconnected"]
    assert len({seen.qr for seen in watched.seen if seen is not ended and hasattr(seen, "qr")}) == 4  # one has none
    with pytest.raises(NotPairing):
        await session.scan(None)
    await engine.stop()


async def test_a_scan_without_a_number_makes_one_up_that_stays_the_same(engine: SandboxEngine) -> None:
    phones = []
    for _ in range(2):
        watched = Watched()
        session = await engine.open(a_spec(), watched)
        await watched.until_state("qr")
        await session.scan(None)
        phones.append((await watched.until_state("connected")).phone)
        with pytest.raises(NotPairing):
            await session.scan(None)
        await session.logout()
    assert phones[0] == phones[1]
    assert phones[0] is not None
    assert phones[0].isdigit()


async def test_a_connected_device_says_who_it_is(engine: SandboxEngine, watched: Watched) -> None:
    await connected(engine, watched)
    me = watched.last("connected")
    assert (me.jid, me.phone, me.push_name) == ("628111222333@s.whatsapp.net", "628111222333", "Sandbox 2333")
    assert me.lid == "100628111222333@lid"


async def test_every_member_of_a_group_sends_receipts(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    sent = await session.send(text(ending="036302", server="g.us"))
    await until("six receipts", lambda: len(watched.receipts(sent.whatsapp_id)) == 6)
    readers = [seen.sender for seen in watched.seen if isinstance(seen, ReceiptSeen) and seen.status == "read"]
    assert sorted(reader.jid for reader in readers) == [member.jid for member in GROUP_MEMBERS]


async def test_a_slow_contact_is_waited_for(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    assert await session.send(text("5550103"))


async def test_the_second_try_of_a_message_that_came_too_fast_succeeds(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    with pytest.raises(SendFailed) as failed:
        await session.send(text("5550113"))
    assert (failed.value.reason, failed.value.retry_after_s) == ("rate_overlimit", 1.0)
    assert await session.send(text("5550113"))


async def test_a_connection_lost_while_sending_leaves_the_outcome_unknown(
    engine: SandboxEngine, watched: Watched
) -> None:
    session = await connected(engine, watched)
    with pytest.raises(OutcomeUnknown):
        await session.send(text("5550109"))
    await watched.until_state("connected", times=2)


async def test_receipts_wait_for_a_connection_that_is_lost(tmp_path: Path, watched: Watched) -> None:
    engine = SandboxEngine(tmp_path, pace=msgspec.structs.replace(FAST, reconnect_s=1.0))  # time to look meanwhile
    await engine.start()
    session = await connected(engine, watched)
    sent = await session.send(text("5550108"))
    await watched.until_state("disconnected")
    with pytest.raises(NotConnected):
        await session.send(text())
    assert watched.receipts(sent.whatsapp_id) == []
    await watched.until_state("connected", times=2)
    await watched.until_receipts(sent.whatsapp_id, "delivered", "read")
    await engine.stop()


async def test_a_session_that_is_closed_while_sending_leaves_the_outcome_unknown(
    engine: SandboxEngine, watched: Watched
) -> None:
    session = await connected(engine, watched)
    sending = asyncio.ensure_future(session.send(text("5550104")))
    await asyncio.sleep(0)
    await session.close()
    with pytest.raises(OutcomeUnknown):
        await sending


@pytest.mark.parametrize(("ending", "state"), [("5550115", "replaced"), ("5550107", "banned")])
async def test_some_contacts_end_the_session(engine: SandboxEngine, watched: Watched, ending: str, state: str) -> None:
    session = await connected(engine, watched)
    await asyncio.gather(session.send(text(ending)), return_exceptions=True)
    await until(f"state {state}", lambda: state in watched.states())


async def test_a_number_with_a_passkey_cannot_be_scanned(engine: SandboxEngine, watched: Watched) -> None:
    session = await engine.open(SessionSpec(tenant="t1", device="d9", name="Test"), watched)
    await watched.until_state("qr")
    with pytest.raises(NotPairing):
        await session.scan("628125550124")
    assert watched.last("passkey_required").reason == "passkey_required"


async def test_what_a_contact_does_afterwards_is_not_seen_by_a_session_that_is_over(
    engine: SandboxEngine, watched: Watched
) -> None:
    session = await connected(engine, watched)
    await session.send(text("5550118"))
    await session.close()
    other = await connected(engine, later := Watched())
    await other.send(text("5550119"))
    await until("the call was missed", lambda: any(isinstance(s, CallSeen) and s.state == "missed" for s in later.seen))
    assert not any(isinstance(seen, PresenceSeen) for seen in (*watched.seen, *later.seen))


async def test_a_banned_number_stays_banned_when_it_connects_again(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    with pytest.raises(SendFailed):
        await session.send(text("5550107"))
    until_then = (await watched.until_state("banned")).banned_until
    again = Watched()
    await engine.open(PAIRED, again)
    assert (await again.until_state("banned")).banned_until == until_then


async def test_media_with_an_echo_caption_comes_back_with_its_bytes(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    kept = Kept(b"x" * 2500, "application/pdf", "bill.pdf")
    content = Document(media=kept.media, caption="echo your bill")
    await session.send(SendOrder(message_id="m1", to="62812@s.whatsapp.net", content=content, media=kept))
    await until("an answer", lambda: len(watched.received()) == 1)
    answer = watched.received()[0]
    assert isinstance(answer.content, Document)
    assert (answer.content.caption, answer.content.media.object) == ("your bill", "")
    assert answer.attachment is not None
    assert (answer.attachment.size, answer.attachment.file_name) == (2500, "bill.pdf")
    assert b"".join([chunk async for chunk in answer.attachment.chunks()]) == b"x" * 2500


async def test_of_a_list_the_first_row_is_chosen(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    rows = tuple(ListRow(id=name.lower(), title=name) for name in ("Soto", "Sate"))
    menu = List(button="Menu", sections=(ListSection(rows=rows),))
    sent = await session.send(SendOrder(message_id="m1", to="628125550114@s.whatsapp.net", content=menu))
    await until("an answer", lambda: len(watched.received()) == 1)
    answer = watched.received()[0]
    assert answer.content == ListReply(row_id="soto", title="Soto")
    assert answer.quote is not None
    assert answer.quote.key.whatsapp_id == sent.whatsapp_id


async def test_in_a_poll_the_first_option_is_chosen(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    poll = Poll(question="Lunch?", options=("yes", "no"))
    sent = await session.send(SendOrder(message_id="m1", to="628125550114@s.whatsapp.net", content=poll))
    await until("a vote", lambda: len(watched.received()) == 1)
    vote = watched.received()[0]
    assert isinstance(vote.content, PollVote)
    assert vote.content.hashes == (hashlib.sha256(b"yes").hexdigest(),)
    assert (vote.content.target.whatsapp_id, vote.content.target.from_me) == (sent.whatsapp_id, True)
    assert vote.quote is None


async def test_a_status_is_seen_by_its_audience(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    viewer = "6281234567@s.whatsapp.net"
    status = SendOrder(message_id="m1", to=STATUS, content=Text(text="echo hi"), audience=(viewer,))
    sent = await session.send(status)
    await watched.until_receipts(sent.whatsapp_id, "delivered", "read")
    receipts = [seen for seen in watched.seen if isinstance(seen, ReceiptSeen)]
    assert {(seen.chat.jid, seen.sender.jid) for seen in receipts} == {(STATUS, viewer)}
    assert watched.received() == []


async def test_media_of_another_size_than_said_is_refused(engine: SandboxEngine, watched: Watched) -> None:
    session = await connected(engine, watched)
    said, given = Kept(b"xx", "application/pdf"), Kept(b"xx", "application/pdf")
    given._data = b"x"
    with pytest.raises(SendFailed) as failed:
        await session.send(
            SendOrder(message_id="m1", to="628@s.whatsapp.net", content=Document(media=said.media), media=given)
        )
    assert failed.value.reason == "media_refused"


async def test_receipts_and_replies_outlive_the_process_that_sent(tmp_path: Path) -> None:
    slow = Pace(login_s=0.001, ack_s=SOON, delivered_s=(2.0, 2.0), read_s=SOON, reply_s=SOON, tick_s=0.001)
    first = SandboxEngine(tmp_path, pace=slow)
    await first.start()
    sent = await (await connected(first, Watched())).send(text(words="echo still there?"))
    # The first engine is left as a killed process leaves it: open, and never stopped before the second one starts.
    second = SandboxEngine(tmp_path, pace=slow)
    await second.start()
    heard = Watched()
    await second.open(PAIRED, heard)
    await heard.until_receipts(sent.whatsapp_id, "delivered", "read")
    await until("the reply", lambda: [seen.content for seen in heard.received()] == [Text(text="still there?")])
    await second.stop()
    await first.stop()
    third = SandboxEngine(tmp_path, pace=slow)
    await third.start()
    assert third.store.waiting("t1", "d1") == []
    await third.stop()


async def test_logging_out_forgets_what_was_still_to_come(tmp_path: Path) -> None:
    engine = SandboxEngine(tmp_path, pace=Pace(login_s=0.001, ack_s=SOON, tick_s=0.001))
    await engine.start()
    session = await connected(engine, Watched())
    await session.send(text())
    assert engine.store.waiting("t1", "d1")
    await session.logout()
    assert engine.store.waiting("t1", "d1") == []
    await engine.stop()


@pytest.mark.parametrize(("ending", "presence"), [("34567", "available"), ("5550105", "unavailable")])
async def test_whoever_is_watched_is_told_of(
    engine: SandboxEngine, watched: Watched, ending: str, presence: str
) -> None:
    session = await connected(engine, watched)
    await session.watch_presence(f"62812{ending}@s.whatsapp.net")
    await until("presence is told", lambda: any(isinstance(seen, PresenceSeen) for seen in watched.seen))
    (seen,) = (seen for seen in watched.seen if isinstance(seen, PresenceSeen))
    assert (seen.presence, seen.sender.jid) == (presence, f"62812{ending}@s.whatsapp.net")
    assert (seen.last_seen is None) == (presence == "available")
