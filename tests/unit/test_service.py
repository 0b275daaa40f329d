"""How the parts of a service start, end and fail together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from structlog.testing import capture_logs

from kurir.runtime.service import CLEAN, CRASHED, Lifetime, live
from kurir.runtime.settings import RuntimeSettings, load
from tests.support.conditions import until

Start = Callable[[Lifetime, RuntimeSettings], Awaitable[None]]


class Diary:
    """A part that writes down what happens to it; several share one list."""

    def __init__(self, written: list[str], name: str) -> None:
        self._written = written
        self._name = name

    async def start(self) -> None:
        self._written.append(f"start {self._name}")

    async def stop(self) -> None:
        self._written.append(f"stop {self._name}")


async def lived(start: Start, *, shutdown_grace_s: float = 10) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code of a service made of `start`, and the last log line for each of its words."""
    settings = load(RuntimeSettings, health_port=0, shutdown_grace_s=shutdown_grace_s)
    with capture_logs() as lines:
        code = await asyncio.wait_for(live("demo", settings, start), 20)
    return code, {line["event"]: dict(line) for line in lines}


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_parts_stop_in_the_reverse_of_their_hand_over() -> None:
    written: list[str] = []

    @asynccontextmanager
    async def connection() -> AsyncIterator[str]:
        written.append("open")
        yield "it"
        written.append("close")

    async def work() -> None:
        try:
            await for_ever()
        finally:
            written.append("work ends")

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        assert await life.enter("connection", connection()) == "it"
        life.spawn("work", work())
        await life.start("last", Diary(written, "last"))
        await asyncio.sleep(0)
        life.stop()

    code, _ = await lived(start)
    assert code == CLEAN
    assert written == ["open", "start last", "stop last", "work ends", "close"]


async def test_a_crashed_background_task_ends_everything_in_order_and_is_logged() -> None:
    written: list[str] = []

    async def fails() -> None:
        raise RuntimeError("a bug")

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        await life.start("first", Diary(written, "first"))
        life.spawn("fan-out", fails())

    code, logged = await lived(start)
    assert code == CRASHED
    assert written == ["start first", "stop first"]
    assert "fan-out" in logged["service.crashed"]["reason"]
    assert str(logged["service.crashed"]["exc_info"]) == "a bug"


async def test_background_work_may_come_to_its_end() -> None:
    finished = asyncio.Event()

    async def short() -> None:
        finished.set()

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        life.spawn("short", short())
        await finished.wait()
        life.stop()

    assert (await lived(start))[0] == CLEAN


async def test_a_start_that_fails_stops_what_had_started() -> None:
    written: list[str] = []

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        await life.start("first", Diary(written, "first"))
        raise ConnectionError("wrong credentials")

    code, logged = await lived(start)
    assert code == CRASHED
    assert written == ["start first", "stop first"]
    assert str(logged["service.crashed"]["exc_info"]) == "wrong credentials"


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_from_it() -> None:
    written: list[str] = []

    async def broken() -> None:
        raise OSError("already closed")

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        await life.start("first", Diary(written, "first"))
        life.on_stop("second", broken)
        life.stop()

    code, logged = await lived(start)
    assert code == CLEAN
    assert written == ["start first", "stop first"]
    assert logged["service.part_failed_to_stop"]["part"] == "second"


async def test_a_part_that_hangs_is_given_up_on_after_the_grace_period() -> None:
    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        await life.start("first", Diary([], "first"))
        life.on_stop("second", for_ever)
        life.stop()

    code, logged = await lived(start, shutdown_grace_s=0.1)
    assert code == CRASHED
    assert logged["service.stop_timed_out"]["not_stopped"][:2] == ["second", "first"]


async def test_a_task_that_ignores_its_cancellation_is_given_up_on_too() -> None:
    released = asyncio.Event()
    ignored = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                ignored.set()

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        life.spawn("stubborn", stubborn())
        await asyncio.sleep(0)
        life.stop()

    code, logged = await lived(start, shutdown_grace_s=0.1)
    assert ignored.is_set()
    assert code == CRASHED
    assert logged["service.stop_timed_out"]["not_stopped"][0] == "stubborn"
    released.set()


async def test_a_stop_during_the_start_cancels_it() -> None:
    written: list[str] = []

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        await life.start("first", Diary(written, "first"))
        asyncio.get_running_loop().call_soon(life.stop)
        await for_ever()

    code, logged = await lived(start)
    assert code == CLEAN
    assert written == ["start first", "stop first"]
    assert "service.started" not in logged


async def test_readiness_follows_the_life() -> None:
    failing: list[list[str]] = []

    async def watch(life: Lifetime) -> None:
        await until("it is ready", lambda: _is_ready(life))
        failing.append(await life.health.failing())
        life.stop()
        failing.append(await life.health.failing())

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        failing.append(await life.health.failing())
        life.spawn("watch", watch(life))

    assert (await lived(start))[0] == CLEAN
    assert failing == [["starting"], [], ["stopping"]]


async def test_a_health_port_that_is_taken_is_named() -> None:
    blocker = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    taken = blocker.sockets[0].getsockname()[1]

    async def start(life: Lifetime, settings: RuntimeSettings) -> None:
        raise AssertionError("must not start")

    settings = load(RuntimeSettings, health_port=taken)
    with capture_logs() as lines:
        assert await live("demo", settings, start) == CRASHED
    crash = next(line for line in lines if line["event"] == "service.crashed")
    assert f"127.0.0.1:{taken}" in str(crash["exc_info"])
    blocker.close()


async def _is_ready(life: Lifetime) -> bool:
    return not await life.health.failing()
