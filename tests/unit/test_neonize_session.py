"""What a session makes of what the library says, with a library whose answers the test gives."""

import asyncio
import contextlib
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial as bound
from pathlib import Path

import pytest

from kurir.contracts.content import Image, Media, Text
from kurir.session_node.engines.engine import (
    NotConnected,
    OutcomeUnknown,
    ReceiptSeen,
    Received,
    SendFailed,
    SendOrder,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.neonize import connection, former_links, library, pairing, sending
from kurir.session_node.engines.neonize import session as sessions
from kurir.session_node.engines.neonize.engine import NeonizeEngine
from kurir.session_node.engines.neonize.library import Listener, Opening
from kurir.session_node.engines.neonize.session import NeonizeSession
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from tests.contract.engine.worlds import Kept, Watched, a_spec
from tests.support.conditions import until

library.load()

from neonize.proto import Neonize_pb2 as nz  # noqa: E402
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as WhatsAppMessage  # noqa: E402

from kurir.session_node.engines.neonize import to_whatsapp  # noqa: E402

JID = "628111222333:4@s.whatsapp.net"
SPEC = a_spec(jid=JID)
FRIEND = "62812@s.whatsapp.net"


def partial(message: object) -> bytes:
    data: bytes = message.SerializePartialToString()  # type: ignore[attr-defined]
    return data


def device() -> bytes:
    return partial(nz.Device(JID=to_whatsapp.jid(JID), LID=to_whatsapp.jid("100:4@lid"), Platform="", PushName="Toko"))


def acked(whatsapp_id: str) -> bytes:
    response = nz.SendResponse(ID=whatsapp_id, Timestamp=1_767_312_000, Chat=to_whatsapp.jid("101@lid"))
    return partial(nz.SendMessageReturnFunction(SendResponse=response))


def refused(text: str) -> bytes:
    return partial(nz.SendMessageReturnFunction(Error=text))


def read_by_friend(whatsapp_id: str) -> bytes:
    return seen_by_friend(whatsapp_id, "READ")


def seen_by_friend(whatsapp_id: str, kind: str) -> bytes:
    source = nz.MessageSource(Chat=to_whatsapp.jid("101@lid"), Sender=to_whatsapp.jid("101@lid"), IsFromMe=False)
    return partial(nz.Receipt(MessageSource=source, MessageIDs=[whatsapp_id], Timestamp=1_767_312_000, Type=kind))


class Scripted:
    """A library in which clients connect at once and every send is answered by `answer`."""

    def __init__(self) -> None:
        self.clients: list[bytes] = []
        self.openings: list[Opening] = []
        self.listener: Listener | None = None
        self.why = ""
        self.answer: Callable[[], bytes] = lambda: acked("3EB0")
        self.uploads: list[tuple[int, int]] = []
        self.last_words: list[tuple[int, bytes]] = []
        self.is_leaving, self.may_leave = threading.Event(), threading.Event()
        self.may_leave.set()
        self._stopped: dict[bytes, threading.Event] = {}

    def run_client(self, client: bytes, opening: Opening, listener: Listener) -> str:
        self.clients.append(client)
        self.openings.append(opening)
        self._stopped[client] = threading.Event()
        if self.why:
            return self.why
        self.listener = listener
        listener.on_event(library.DEVICE, device())
        listener.on_event(library.CONNECTED, b"")
        listener.on_event(library.OFFLINE_SYNC_COMPLETED, b"")
        self._stopped[client].wait(20)
        return ""

    def say(self, kind: int, data: bytes = b"") -> None:
        assert self.listener is not None
        self.listener.on_event(kind, data)

    def disconnect(self, client: bytes) -> None:
        for kind, data in self.last_words:
            self.say(kind, data)
        self.is_leaving.set()
        self.may_leave.wait(20)

    def stop_client(self, client: bytes) -> None:
        self._stopped[client].set()

    def send_message(self, client: bytes, to: bytes, message: bytes) -> bytes:
        return self.answer()

    def upload(self, client: bytes, data: bytes, media_type: int) -> bytes:
        self.uploads.append((len(data), media_type))
        response = nz.UploadResponse(url="u", DirectPath="p", MediaKey=b"k", FileEncSHA256=b"e", FileSHA256=b"f")
        return partial(nz.UploadReturnFunction(UploadResponse=response))

    def download(self, client: bytes, message: bytes) -> bytes:
        return b""

    def ask(self, client: bytes, function: str, arguments: tuple[bytes | int, ...]) -> bytes:
        return b""

    def pair_phone(self, client: bytes, params: bytes) -> bytes:
        return b""

    def logout(self, client: bytes) -> str:
        return ""


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def watched() -> Watched:
    return Watched()


@contextlib.asynccontextmanager
async def running(folder: Path, scripted: Scripted, *, ack_timeout_s: float = 40.0) -> AsyncIterator[NeonizeEngine]:
    """An engine whose store has the keys of the device d1."""
    store = SqliteStore(folder)
    engine = NeonizeEngine(store, proxy="socks5://proxy:1080", ack_timeout_s=ack_timeout_s, load=lambda: scripted)
    path = store.file("t1", "d1")
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path)
    with database:
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT)")
        database.execute("INSERT INTO whatsmeow_device VALUES (?)", (JID,))
    database.close()
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def engine(tmp_path: Path, scripted: Scripted) -> AsyncIterator[NeonizeEngine]:
    async with running(tmp_path, scripted) as engine:
        yield engine


@pytest.fixture
async def session(engine: NeonizeEngine, watched: Watched) -> NeonizeSession:
    session = await engine.open(SPEC, watched)
    await watched.until_state("connected")
    return session


def an_order(**known: object) -> SendOrder:
    return SendOrder(**{"message_id": "m1", "to": FRIEND, "content": Text(text="hi"), **known})  # type: ignore[arg-type]


async def test_a_stored_device_logs_in_through_its_proxy_and_says_who_it_is(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    me = watched.last("connected")
    assert (me.jid, me.lid, me.phone, me.push_name) == (JID, "100@lid", "628111222333", "Toko")
    assert scripted.openings[0].proxy == "socks5://proxy:1080"
    assert scripted.openings[0].jid == to_whatsapp.jid(JID).SerializeToString()


async def test_a_device_without_keys_is_logged_out_and_the_library_is_not_asked(
    engine: NeonizeEngine, watched: Watched, scripted: Scripted
) -> None:
    await engine.open(a_spec(jid="628111222333:5@s.whatsapp.net"), watched)
    assert (await watched.until_state("logged_out")).reason == "device_logged_out"
    assert scripted.clients == []


async def test_every_client_has_a_name_of_its_own(
    engine: NeonizeEngine, session: NeonizeSession, scripted: Scripted
) -> None:
    await session.close()
    again = Watched()
    await engine.open(SPEC, again)
    await again.until_state("connected")
    assert len(set(scripted.clients)) == 2


async def test_a_server_that_is_away_is_tried_again(
    engine: NeonizeEngine, watched: Watched, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FIRST_RETRY_S", 0.01)
    scripted.why = "failed to dial"
    await engine.open(SPEC, watched)
    gone = await watched.until_state("disconnected", times=2)
    assert (gone.reason, gone.detail) == ("server_unavailable", "failed to dial")
    scripted.why = ""
    await watched.until_state("connected")


async def test_nothing_is_sent_while_the_connection_is_lost(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    scripted.say(library.DISCONNECTED)
    assert (await watched.until_state("disconnected")).reason == "connection_lost"
    with pytest.raises(NotConnected):
        await session.send(an_order())
    scripted.say(library.CONNECTED)
    scripted.say(library.OFFLINE_SYNC_COMPLETED)
    await watched.until_state("connected", times=2)
    assert (await session.send(an_order())).whatsapp_id == "3EB0"


async def test_a_server_that_answers_no_keepalives_counts_as_lost(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    scripted.say(library.KEEPALIVE_TIMEOUT)
    await watched.until_state("disconnected")
    scripted.say(library.KEEPALIVE_RESTORED)
    await watched.until_state("connected", times=2)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that drops is not waited for; one that is being made is, or the new client has none either."""
    drop = connection.Connection.drop

    def drop_for_good(self: connection.Connection, *, is_silent: bool = False) -> bool:
        with monkeypatch.context() as impatient:
            impatient.setattr(connection, "PATIENCE_S", 0.01)
            return drop(self, is_silent=is_silent)

    monkeypatch.setattr(connection.Connection, "drop", drop_for_good)
    monkeypatch.setattr(sessions, "FIRST_RETRY_S", 0.01)


@pytest.mark.usefixtures("no_patience")
async def test_a_client_that_does_not_come_back_is_replaced(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    scripted.say(library.DISCONNECTED)
    await watched.until_state("connected", times=2)
    assert len(scripted.clients) == 2


@pytest.mark.parametrize(
    ("kind", "event", "state"),
    [
        (library.LOGGED_OUT, nz.LoggedOut(OnConnect=True, Reason="LOGGED_OUT"), "logged_out"),
        (library.STREAM_REPLACED, nz.StreamReplaced(), "replaced"),
        (library.CLIENT_OUTDATED, nz.ClientOutdated(), "outdated"),
        (library.TEMPORARY_BAN, nz.TemporaryBan(Code="BLOCKED_BY_USERS", Expire=60), "banned"),
    ],
)
async def test_what_ends_the_account_ends_the_session(
    session: NeonizeSession, watched: Watched, scripted: Scripted, kind: int, event: object, state: str
) -> None:
    scripted.say(kind, partial(event))
    await until(f"state {state}", lambda: watched.states()[-1] == state)
    scripted.say(library.CONNECTED)
    with pytest.raises(NotConnected):
        await session.send(an_order())
    await asyncio.sleep(0)
    assert watched.states() == ["connecting", "connected", state]


async def test_no_answer_leaves_the_outcome_unknown_and_a_new_client_goes_on(
    tmp_path: Path, watched: Watched, scripted: Scripted
) -> None:
    async with running(tmp_path, scripted, ack_timeout_s=1.0) as engine:  # the new client's too
        session = await engine.open(SPEC, watched)
        await watched.until_state("connected")
        release = threading.Event()
        scripted.answer = lambda: (release.wait(5) and acked("3EB0LATE")) or b""
        with pytest.raises(OutcomeUnknown):
            await session.send(an_order())
        release.set()
        scripted.answer = lambda: acked("3EB1")
        await watched.until_state("connected", times=2)
        assert (await session.send(an_order())).whatsapp_id == "3EB1"
        assert len(set(scripted.clients)) == 2


async def test_a_refusal_has_its_reason_and_the_next_message_goes_out(
    session: NeonizeSession, scripted: Scripted
) -> None:
    scripted.answer = lambda: refused("no LID found for 62812@s.whatsapp.net from server")
    with pytest.raises(SendFailed) as failed:
        await session.send(an_order())
    assert failed.value.reason == "not_on_whatsapp"
    scripted.answer = lambda: acked("3EB1")
    assert (await session.send(an_order())).whatsapp_id == "3EB1"


async def test_a_receipt_is_never_heard_before_its_send_has_returned(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    heard_when_answered: list[int] = []

    def answer() -> bytes:
        scripted.say(library.RECEIPT, read_by_friend("3EB0"))
        return acked("3EB0")

    scripted.answer = answer
    for _ in range(20):
        watched.seen.clear()
        await session.send(an_order())
        heard_when_answered.append(len(watched.receipts("3EB0")))
        session._sender._sent_lately.clear()
        await watched.until_receipts("3EB0", "read")
    assert heard_when_answered == [0] * 20
    seen = watched.seen[-1]
    assert isinstance(seen, ReceiptSeen)
    assert seen.sender.pn == FRIEND  # learned from the ack


async def test_receipts_of_one_message_keep_their_order_when_the_first_was_early(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    def answer() -> bytes:
        scripted.say(library.RECEIPT, seen_by_friend("3EB0", "DELIVERED"))
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(5)  # it was heard
        return acked("3EB0")

    loop = asyncio.get_running_loop()
    scripted.answer = answer
    await session.send(an_order())
    # The early one is told in the loop's next turn; this one comes before that.
    session._hear(library.RECEIPT, read_by_friend("3EB0"))
    await watched.until_receipts("3EB0", "delivered", "read")


async def test_a_message_that_the_library_can_send_again_is_not_called_unreadable(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    await session.send(an_order())
    scripted.say(library.RECEIPT, seen_by_friend("3EB0", "RETRY"))
    scripted.say(library.RECEIPT, seen_by_friend("3EB0", "DELIVERED"))
    await watched.until_receipts("3EB0", "delivered")


async def test_a_message_that_the_library_has_forgotten_is_called_unreadable_when_it_is_asked_for(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    for number in range(sending.RESENDABLE + 1):
        scripted.answer = bound(acked, f"3EB0{number}")
        await session.send(an_order())
    scripted.say(library.RECEIPT, seen_by_friend("3EB00", "RETRY"))
    scripted.say(library.RECEIPT, seen_by_friend("3EB01", "RETRY"))
    await watched.until_receipts("3EB00", "unreadable")
    assert watched.receipts("3EB01") == []


@pytest.mark.usefixtures("no_patience")
async def test_a_new_client_remembers_nothing_that_a_former_one_sent(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    await session.send(an_order())
    scripted.say(library.DISCONNECTED)
    await watched.until_state("connected", times=2)
    scripted.say(library.RECEIPT, seen_by_friend("3EB0", "RETRY"))
    await watched.until_receipts("3EB0", "unreadable")


async def test_messages_of_one_session_go_one_after_the_other(session: NeonizeSession, scripted: Scripted) -> None:
    inside = threading.Lock()
    numbers = iter(range(10))

    def answer() -> bytes:
        assert inside.acquire(blocking=False), "two sends at once"
        try:
            return acked(f"3EB{next(numbers)}")
        finally:
            inside.release()

    scripted.answer = answer
    sent = await asyncio.gather(*(session.send(an_order()) for _ in range(10)))
    assert [one.whatsapp_id for one in sent] == [f"3EB{n}" for n in range(10)]


async def test_media_is_uploaded_whole_and_bounded(
    session: NeonizeSession, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(b"x" * 2500, "image/png")
    await session.send(an_order(content=Image(media=kept.media), media=kept))
    assert scripted.uploads == [(2500, 0)]
    monkeypatch.setattr(sending, "MAX_MEDIA_BYTES", 2000)
    with pytest.raises(SendFailed) as failed:
        await session.send(an_order(content=Image(media=kept.media), media=kept))
    assert failed.value.reason == "media_refused"
    small = Media(object="t/1", mimetype="image/png", size=1, sha256="")
    kept.media = small  # says less than it has
    with pytest.raises(SendFailed):
        await session.send(an_order(content=Image(media=small), media=kept))


async def test_logging_out_forgets_the_keys(session: NeonizeSession, watched: Watched, tmp_path: Path) -> None:
    await session.logout()
    assert watched.seen[-1] == StateChanged(state="logged_out", reason="requested")
    assert not SqliteStore(tmp_path).file("t1", "d1").exists()


async def test_what_was_received_until_the_connection_is_closed_is_told_and_nothing_else(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    """The library has decrypted it by then, so nobody could ever read it again."""
    source = nz.MessageSource(Chat=to_whatsapp.jid(FRIEND), Sender=to_whatsapp.jid(FRIEND), IsFromMe=False)
    info = nz.MessageInfo(MessageSource=source, ID="3EB1", Type="text", Pushname="", Timestamp=1_767_312_000)
    message = partial(nz.Message(Info=info, Message=WhatsAppMessage(conversation="Halo")))
    scripted.last_words = [(library.DISCONNECTED, b""), (library.MESSAGE, message), (library.CONNECTED, b"")]
    told = len(watched.seen)
    await session.close()
    assert [type(one) for one in watched.seen[told:]] == [Received]
    scripted.say(library.MESSAGE, message)
    assert len(watched.seen) == told + 1


@pytest.mark.parametrize("silence", [None, library.KEEPALIVE_TIMEOUT])
async def test_a_session_is_closed_when_its_connection_is_and_no_earlier_for_whoever_asks_again(
    session: NeonizeSession,
    watched: Watched,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    silence: int | None,
) -> None:
    """The device's next owner logs in as soon as it is: a connection that does not answer is one all the same."""
    monkeypatch.setattr(former_links, "STOP_WAIT_S", 0.02)
    if silence is not None:
        scripted.say(silence)
        await watched.until_state("disconnected")
    scripted.may_leave.clear()
    closing = [asyncio.create_task(session.close())]
    await until("the client is told to disconnect", scripted.is_leaving.is_set)
    closing.append(asyncio.create_task(session.close()))
    closed, _ = await asyncio.wait(closing, timeout=0.1)
    assert not closed
    scripted.may_leave.set()
    await asyncio.wait_for(asyncio.gather(*closing), 5)


async def test_a_session_that_is_closed_when_its_device_has_just_been_paired_opens_no_connection(
    engine: NeonizeEngine, watched: Watched, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_pairing = asyncio.Event()

    async def paired_in_the_last_moment(*_: object) -> str:
        is_pairing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return JID

    monkeypatch.setattr(sessions, "pair", paired_in_the_last_moment)
    session = await engine.open(a_spec(), watched)
    await is_pairing.wait()
    await asyncio.wait_for(session.close(), 5)
    assert scripted.clients == []


async def test_a_pairing_that_is_cancelled_while_its_process_ends_is_cancelled() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    ending = asyncio.create_task(pairing._end(child))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert child.returncode is not None


async def test_an_event_that_nobody_understands_is_passed_over(
    session: NeonizeSession, watched: Watched, scripted: Scripted
) -> None:
    scripted.say(library.MESSAGE, b"\xff\xff\xff")
    scripted.say(library.RECEIPT, read_by_friend("3EB9"))
    await watched.until_receipts("3EB9", "read")


async def test_a_spec_whose_jid_is_no_jid_says_so(engine: NeonizeEngine, watched: Watched, tmp_path: Path) -> None:
    database = sqlite3.connect(SqliteStore(tmp_path).file("t1", "d1"))
    with database:
        database.execute("INSERT INTO whatsmeow_device VALUES ('nonsense')")
    database.close()
    await engine.open(SessionSpec(tenant="t1", device="d1", name="K", jid="nonsense"), watched)
    failed = await watched.until_state("disconnected")
    assert failed.reason == "engine_error"


async def test_people_whose_number_is_not_told_in_time_are_on_the_list_of_who_is_blocked(
    session: NeonizeSession, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_UP_S", 0.02)
    blocklist = partial(nz.GetBlocklistReturnFunction(Blocklist=nz.Blocklist(JIDs=[to_whatsapp.jid("101@lid")])))
    release = threading.Event()
    monkeypatch.setattr(
        scripted, "ask", lambda _, name, __: blocklist if name == "GetBlocklist" else release.wait(5) and b""
    )
    assert [one.lid for one in await session.blocked()] == ["101@lid"]
    release.set()


async def test_large_media_waits_for_room_and_small_media_does_not() -> None:
    transfers = sending.Transfers(at_once=1)
    entered = list[str]()

    async def transfer(name: str, size: int) -> None:
        async with transfers.room(size):
            entered.append(name)

    async with transfers.room(sending.LARGE_BYTES):
        waiting = asyncio.create_task(transfer("large", sending.LARGE_BYTES))
        await asyncio.wait_for(transfer("small", 1000), 5)
        assert entered == ["small"]
    await asyncio.wait_for(waiting, 5)
    assert entered == ["small", "large"]
