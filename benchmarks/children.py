"""Helpers of a benchmark that run in processes of their own, so that they take no turn of the loop that is measured."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

SPEAKS_WITHIN_S = 30.0
ENDS_WITHIN_S = 5.0


class Child:
    """`hear` gets what it says through its end of the pipe, `say` tells it something."""

    def __init__(self, pid: int, pipe: Connection) -> None:
        self.pid = pid
        self._pipe = pipe

    def hear(self, within_s: float = SPEAKS_WITHIN_S) -> Any:
        """The next thing it says. Raises TimeoutError, or EOFError when it has ended."""
        if not self._pipe.poll(within_s):
            raise TimeoutError(f"a child of the benchmark said nothing for {within_s:.0f} s")
        return self._pipe.recv()

    def say(self, something: Any) -> None:
        self._pipe.send(something)


@contextlib.contextmanager
def child(target: Callable[..., None], *arguments: Any) -> Iterator[Child]:
    """Run `target(pipe, *arguments)` in a new process, which ends with the block."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(target, there, arguments), daemon=True)
    process.start()
    there.close()  # so that the end of the child is seen
    try:
        assert process.pid is not None
        yield Child(process.pid, here)
    finally:
        process.terminate()
        process.join(ENDS_WITHIN_S)
        if process.is_alive():
            process.kill()
            process.join()
        here.close()


def _run(target: Callable[..., None], there: Connection, arguments: tuple[Any, ...]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        target(there, *arguments)
