"""What keeps calls into the library apart: its threads, its gate, and its links, with a library that only notes."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kurir.session_node.engines.engine import NotConnected
from kurir.session_node.engines.neonize.gate import Gate
from kurir.session_node.engines.neonize.library import CONNECTED, DEVICE, Listener, Opening
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.workers import Workers
from tests.support.conditions import until

OPENING = Opening(database="x", jid=b"j", device_props=b"", proxy=None)


@pytest.fixture
def workers() -> Workers:
    return Workers(8)


async def test_calls_that_block_run_side_by_side_in_reused_daemon_threads(workers: Workers) -> None:
    met = threading.Barrier(4, timeout=5)

    def meet() -> threading.Thread:
        met.wait()
        return threading.current_thread()

    threads = await asyncio.gather(*(workers.run(meet) for _ in range(4)))
    assert all(thread.daemon for thread in threads)
    again = await workers.run(threading.current_thread)
    assert again in threads


async def test_a_call_that_raises_raises_where_it_is_awaited(workers: Workers) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await workers.run(fail)


async def test_more_calls_than_threads_wait_for_one() -> None:
    workers = Workers(1)
    go_on = threading.Event()
    first = asyncio.ensure_future(workers.run(go_on.wait))
    second = asyncio.ensure_future(workers.run(lambda: "second"))
    go_on.set()
    assert await asyncio.wait_for(second, 5) == "second"
    assert await first


async def test_a_writer_waits_until_readers_have_read_and_keeps_new_ones_out(workers: Workers) -> None:
    gate = Gate(workers, read_s=0.02)
    order: list[str] = []
    release = threading.Event()

    def slow_read() -> None:
        order.append("read begins")
        release.wait(5)
        order.append("slow read ends")

    slow = asyncio.ensure_future(gate.read(slow_read))
    await until("the reader is inside", lambda: order == ["read begins"])

    async def write() -> None:
        async with gate.write():
            order.append("write")
            await asyncio.sleep(0.02)
            order.append("write ends")

    writing = asyncio.ensure_future(write())
    await until("the writer writes although the reader still waits for an answer", lambda: "write" in order)
    late = asyncio.ensure_future(gate.read(lambda: order.append("late read")))
    await writing
    await late
    release.set()
    await slow
    assert order == ["read begins", "write", "write ends", "late read", "slow read ends"]


async def test_writers_are_alone(workers: Workers) -> None:
    gate = Gate(workers)
    inside = 0

    async def write() -> None:
        nonlocal inside
        async with gate.write():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(write() for _ in range(20)))


async def test_a_reader_that_was_cancelled_is_a_reader_until_it_has_read(workers: Workers) -> None:
    gate = Gate(workers, read_s=60)
    release = threading.Event()
    reading = asyncio.ensure_future(gate.read(lambda: release.wait(5)))
    await asyncio.sleep(0)
    reading.cancel()
    written = asyncio.ensure_future(_write(gate))
    await asyncio.wait({written}, timeout=0.05)
    assert not written.done()
    release.set()
    await asyncio.wait_for(written, 5)


async def _write(gate: Gate) -> None:
    async with gate.write():
        pass


class Noting:
    """A library that notes its calls and does what the test sets."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.inside = threading.Lock()
        self.listeners: dict[bytes, Listener] = {}
        self.stopped: dict[bytes, threading.Event] = {}
        self.on_open: Callable[[Listener], None] = lambda listener: listener.on_event(DEVICE, b"")
        self.answer: Callable[[], Any] = lambda: b""

    def run_client(self, client: bytes, opening: Opening, listener: Listener) -> str:
        self.calls.append("open")
        self.listeners[client] = listener
        self.stopped[client] = threading.Event()
        self.on_open(listener)
        self.stopped[client].wait(10)
        return ""

    def disconnect(self, client: bytes) -> None:
        self.calls.append("disconnect")

    def stop_client(self, client: bytes) -> None:
        self.calls.append("stop")
        self.stopped[client].set()

    def send_message(self, client: bytes, to: bytes, message: bytes) -> bytes:
        self.calls.append("send")
        answer: bytes = self.answer()
        return answer

    def upload(self, client: bytes, data: bytes, media_type: int) -> bytes:
        return self.send_message(client, data, b"")

    def download(self, client: bytes, message: bytes) -> bytes:
        return self.send_message(client, message, b"")

    def ask(self, client: bytes, function: str, arguments: tuple[bytes | int, ...]) -> bytes:
        return self.send_message(client, function.encode(), b"")

    def pair_phone(self, client: bytes, params: bytes) -> bytes:
        return self.send_message(client, params, b"")

    def logout(self, client: bytes) -> str:
        return self.send_message(client, b"", b"").decode()

    def send_chat_presence(self, client: bytes, to: bytes, state: int, media: int) -> str:
        return self.send_message(client, to, b"").decode()


def a_link(library: Any, workers: Workers, heard: list[tuple[int, bytes]]) -> Link:
    return Link(library, workers, Gate(workers), OPENING, lambda kind, data: heard.append((kind, data)))


async def test_events_arrive_on_the_loop_in_order(workers: Workers) -> None:
    library, heard = Noting(), list[tuple[int, bytes]]()

    def on_open(listener: Listener) -> None:
        listener.on_event(DEVICE, b"")
        for number in range(3000):  # more than may be under way at once
            listener.on_event(CONNECTED, str(number).encode())

    library.on_open = on_open
    link = a_link(library, workers, heard)
    await link.open()
    await until("all events", lambda: len(heard) == 3001)
    assert [int(data) for _, data in heard[1:]] == list(range(3000))
    await link.stop(5)


async def test_a_stopped_link_is_heard_no_more_and_called_no_more(workers: Workers) -> None:
    library, heard = Noting(), list[tuple[int, bytes]]()
    link = a_link(library, workers, heard)
    await link.open()
    await link.stop(5)
    await link.stop(5)
    assert await asyncio.wait_for(link.ended, 5) == ""
    for listener in library.listeners.values():
        listener.on_event(CONNECTED, b"late")
    with pytest.raises(NotConnected):
        await link.call(library.send_message, b"", b"", timeout_s=1)
    assert (CONNECTED, b"late") not in heard
    assert library.calls == ["open", "disconnect", "stop"]


async def test_a_link_that_was_never_opened_does_not_touch_the_library(workers: Workers) -> None:
    library = Noting()
    await a_link(library, workers, []).stop(5)
    assert library.calls == []


async def test_a_call_without_an_answer_ends_in_time(workers: Workers) -> None:
    library = Noting()
    release = threading.Event()
    library.answer = lambda: release.wait(5) and b""
    link = a_link(library, workers, [])
    await link.open()
    with pytest.raises(TimeoutError):
        await link.call(library.send_message, b"", b"", timeout_s=0.05)
    release.set()
    await link.stop(5)


async def test_a_client_that_hangs_in_its_dial_is_stopped_only_when_the_dial_is_over(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir.session_node.engines.neonize.link.OPEN_HOLD_S", 0.02)
    library = Noting()
    dialled = threading.Event()

    def hang(listener: Listener) -> None:
        dialled.wait(10)
        listener.on_event(DEVICE, b"")

    library.on_open = hang
    link = a_link(library, workers, [])
    await link.open()
    await link.stop(0.02)
    assert not await link.gone(0)
    assert library.calls == ["open"]
    dialled.set()
    assert await link.gone(5)
    assert library.calls == ["open", "disconnect", "stop"]


async def test_openings_and_stops_of_many_links_never_overlap(workers: Workers) -> None:
    library = Noting()
    touched: list[float] = []

    def alone(*_: object) -> None:
        assert library.inside.acquire(blocking=False), "two writers at once"
        time.sleep(0.001)
        touched.append(time.monotonic())
        library.inside.release()

    def on_open(listener: Listener) -> None:
        alone()
        listener.on_event(DEVICE, b"")

    library.on_open = on_open
    stop = library.stop_client
    library.stop_client = lambda client: (alone(), stop(client))[1]  # type: ignore[method-assign,func-returns-value]
    gate = Gate(workers)

    async def live() -> None:
        link = Link(library, workers, gate, OPENING, lambda kind, data: None)
        await link.open()
        await link.call(library.send_message, b"", b"", timeout_s=5)
        await link.stop(5)
        assert await link.gone(5)
        assert await link.ended == ""

    await asyncio.gather(*(live() for _ in range(30)))
    assert len(touched) == 60
