"""Threads for blocking calls into Go, started as needed and reused.

They are daemons, unlike those of concurrent.futures: a Go call that never returns must not keep the process alive.
Every call that was accepted is run, also when nobody waits for its answer any more.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

_Job = Callable[[], None]


class Workers:
    """At most `limit` threads; more calls than that wait for a free one."""

    def __init__(self, limit: int, name: str = "neonize") -> None:
        self._limit = limit
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """The call's answer, or what it raises. Cancelling leaves the call running and drops its answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def job() -> None:
            try:
                result = call()
            except BaseException as error:
                _tell(loop, _fail, answer, error)
            else:
                _tell(loop, _succeed, answer, result)

        self._submit(job)
        return await answer

    def stop(self) -> None:
        """End the threads that are idle; busy ones end after their call."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
            self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._idle += 1


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *args: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle, *args)


def _succeed(answer: "asyncio.Future[Answer]", result: Answer) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Answer]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
