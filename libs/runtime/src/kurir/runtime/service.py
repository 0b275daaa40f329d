"""How a process lives: start its parts in order, work until told to stop, stop them in reverse.

Guarantees: SIGTERM and SIGINT stop all parts in reverse order within the grace period, also while still starting; a
second signal ends the process at once. A background task that crashes ends the process with a log line and a
non-zero exit code, for whoever restarts it. Does not: restart anything itself.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NoReturn, Protocol, TypeVar

from kurir.runtime import logs, tracing
from kurir.runtime.clock import Clock, SystemClock
from kurir.runtime.health import Health, HealthServer
from kurir.runtime.metrics import Metrics
from kurir.runtime.settings import RuntimeSettings, SettingsRefused, load, summary

CLEAN: Final = 0
CRASHED: Final = 1
MISCONFIGURED: Final = 2
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

# Python looks for cycles after every 700 new objects by default. With thousands of messages in work nearly all of those
# live, and looking took a fifth of a busy process. 20,000 objects are about 5 MB, should all of them be cycles.
_COLLECT_AFTER: Final = (20_000, 20, 20)

S = TypeVar("S", bound=RuntimeSettings)
T = TypeVar("T")
Start = Callable[["Lifetime", S], Awaitable[None]]
log = logs.get("kurir.service")


def run(service: str, settings_type: type[S], start: Start[S], **overrides: Any) -> NoReturn:
    """Run a service until it is told to stop, then exit: 0 clean, 1 crashed, 2 misconfigured.

    `start(life, settings)` builds and starts every part and returns; from then on the service is ready. It is the
    composition root: read it and you know everything that exists. `overrides` are settings by field name.
    """
    try:
        settings = load(settings_type, **overrides)
    except SettingsRefused as refused:
        print(f"kurir {service} cannot start:\n{refused}", file=sys.stderr)  # noqa: T201 - no logs yet
        sys.exit(MISCONFIGURED)
    logs.configure(service, settings.node_name, level=settings.log_level, form=settings.log_format)

    async def start_and_settle(life: Lifetime, settings: S) -> None:
        await start(life, settings)
        _collect_less()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(live(service, settings, start_and_settle))
    sys.exit(code)


async def live(service: str, settings: S, start: Start[S]) -> int:
    """The life of a service on the running loop; returns its exit code. Takes over SIGTERM and SIGINT."""
    life = Lifetime(service, settings)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_stray_error)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, life._stop_on_signal, number)
    try:
        return await life._run(lambda: start(life, settings))
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


class Part(Protocol):
    """What a service is made of. A `start` that fails or is cancelled leaves nothing behind."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Lifetime:
    """Owns the parts of one process. Parts are stopped in the reverse of the order they were handed over."""

    def __init__(self, service: str, settings: RuntimeSettings) -> None:
        self.service = service
        self.clock: Clock = SystemClock()
        self.metrics = Metrics()
        self.health = Health(self.metrics)
        self.health_url = ""
        """Where the health page is; the real port, from before `start` is called."""
        self._settings = settings
        self._stopping = asyncio.Event()
        self._crashed = False
        self._parts: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def on_stop(self, name: str, stop: Callable[[], Awaitable[object]]) -> None:
        """Call `stop` once at the end. Hand it over right after the part has started."""
        self._parts.append((name, stop))

    async def start(self, name: str, part: "Part") -> None:
        """Start `part` now and stop it at the end."""
        await part.start()
        self.on_stop(name, part.stop)

    async def enter(self, name: str, part: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager now and leave it at the end."""
        entered = await part.__aenter__()
        self.on_stop(name, lambda: part.__aexit__(None, None, None))
        return entered

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background; it is cancelled at the end. If it raises, the process stops with code 1."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._check_task)
        self.on_stop(name, lambda: _cancelled(task))
        return task

    def stop(self) -> None:
        """Begin the orderly stop, as SIGTERM does."""
        self.health.stopping()
        self._stopping.set()

    def crash(self, reason: str, error: BaseException | None = None) -> None:
        """Begin the orderly stop because of a fault; the process exits with code 1."""
        log.critical("service.crashed", reason=reason, exc_info=error)
        self._crashed = True
        self.stop()

    def end_now(self, reason: str) -> NoReturn:
        """End the process at once, with code 1 and nothing stopped.

        For faults after which this loop may never run again, such as a broker connection that closed for good.
        """
        log.critical("service.ended", reason=reason)
        sys.stdout.flush()
        os._exit(CRASHED)

    async def _run(self, start: Callable[[], Awaitable[None]]) -> int:
        end_tracing = tracing.configure(
            self.service, self._settings.node_name, endpoint=self._settings.otel_exporter_otlp_endpoint
        )
        self.on_stop("tracing", lambda: asyncio.to_thread(end_tracing))
        began = time.monotonic()
        try:
            health_server = HealthServer(self.health, self._settings.health_host, self._settings.health_port)
            await health_server.start()
            self.on_stop("health", health_server.stop)
            self.health_url = health_server.url
            log.info("service.starting", health_url=health_server.url, settings=summary(self._settings))
            if await self._finished_before_stop(start()):
                self.health.started()
                log.info("service.started", took_s=round(time.monotonic() - began, 3))
                await self._stopping.wait()
        except Exception as error:
            self.crash("the start failed", error)
        in_time = await self._stop_parts()
        log.info("service.stopped", in_time=in_time, crashed=self._crashed)
        return CRASHED if self._crashed or not in_time else CLEAN

    async def _finished_before_stop(self, start: Awaitable[None]) -> bool:
        """Whether `start` came to its end; a stop cancels it, since it may wait for a broker that never comes."""
        starting = asyncio.ensure_future(start)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not starting.done():
            await _cancelled(starting)
            return False
        await starting
        return not self._stopping.is_set()

    async def _stop_parts(self) -> bool:
        """Stop all in reverse; a part that fails is logged and the next one stopped. False if time ran out."""
        self.stop()
        name = ""
        try:
            async with asyncio.timeout(self._settings.shutdown_grace_s):
                while self._parts:
                    name, stop = self._parts.pop()
                    try:
                        await stop()
                    except Exception:
                        log.exception("service.part_failed_to_stop", part=name)
        except TimeoutError:
            left = [name, *(part for part, _ in reversed(self._parts))]
            log.error("service.stop_timed_out", grace_s=self._settings.shutdown_grace_s, not_stopped=left)
            return False
        return True

    def _stop_on_signal(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process, even if this loop hangs
        log.info("service.stopping", signal=number.name)
        self.stop()

    def _check_task(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(f"background task {task.get_name()}", error)


async def _cancelled(task: asyncio.Future[None]) -> None:
    """Cancel `task` and wait for its end; what it raised was or will be reported by its owner."""
    task.cancel()
    await asyncio.wait((task,))  # unlike `await task`, this cannot swallow a cancellation meant for us


def _collect_less() -> None:
    """Let the garbage collector skip what the start has made, which stays, and come less often for the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _log_stray_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("service.stray_error", message=context.get("message"), exc_info=context.get("exception"))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # no wheel for Windows; asyncio's own loop does there
        return None
    return uvloop.new_event_loop
