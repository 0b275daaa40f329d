"""One client of the library, from opening to stopping: opened once, stopped once, its name never used again.

It guarantees that what the client reports arrives on the event loop in order, that no call meets a client that was
stopped (some end the process then), and that every wait ends. It does not reconnect; whatsmeow does that for drops,
and who owns the link opens another one for everything else.
"""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from kurir.session_node.engines.engine import NotConnected
from kurir.session_node.engines.neonize.gate import Gate
from kurir.session_node.engines.neonize.library import DEVICE, MESSAGE, RECEIPT, Library, Opening
from kurir.session_node.engines.neonize.workers import Workers

Answer = TypeVar("Answer")

OPEN_HOLD_S = 1.0  # opening writes the maps within some 100 ms; a dial that hangs must not hold back all others
LAST_WORDS_S = 0.05  # what the client had received is decrypted within milliseconds, and gone for good if not heard
LAST_WORDS_WITHIN_S = 1.0
EVENTS_IN_FLIGHT = 1000  # behind them the client's own queue of 100 fills, and then its socket


class Link:
    """`hear` is called on the loop with each event's number and serialized protobuf."""

    def __init__(
        self, library: Library, workers: Workers, gate: Gate, opening: Opening, hear: Callable[[int, bytes], None]
    ) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the client returned: "" when it was stopped."""
        self._name = uuid.uuid4().hex.encode()
        self._library = library
        self._workers = workers
        self._gate = gate
        self._opening = opening
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._registered = asyncio.Event()
        self._room = threading.Semaphore(EVENTS_IN_FLIGHT)
        self._opened = False
        self._stopped = False
        self._is_deaf = False
        self._heard = 0
        self._leaving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to connect, alone in the library until the client has registered itself there."""
        async with self._gate.write():
            self._opened = True
            # The call lasts as long as the connection: a thread of its own, which cannot keep the process alive.
            threading.Thread(target=self._run, name="neonize-client", daemon=True).start()
            # Not wait_for, which swallows a cancellation that comes together with what it waits for (before 3.12).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPEN_HOLD_S):
                    await self._registered.wait()

    async def call(
        self, function: Callable[..., Answer], *args: object, timeout_s: float, workers: Workers | None = None
    ) -> Answer:
        """Call a function of the library for this client, in a thread of `workers` when given.

        Raises NotConnected when the client was stopped, TimeoutError after `timeout_s`: the call then goes on in its
        thread, and what it does is not known.
        """

        def guarded() -> Answer:
            if self._stopped:
                raise NotConnected
            return function(self._name, *args)

        async with asyncio.timeout(timeout_s):
            return await self._gate.read(guarded, workers)

    async def stop(self, within_s: float) -> None:
        """Disconnect and take the client out of the library. Idempotent.

        Messages and receipts that it had received are still heard. Returns after `within_s` even if the client still
        hangs in a dial; `gone` says when it has left.
        """
        self._stopped = True
        if self._opened and self._leaving is None:
            self._leaving = self._loop.create_task(self._leave())
        await self.gone(within_s)

    async def gone(self, timeout_s: float) -> bool:
        """True when the library has forgotten the client, at the latest after `timeout_s`."""
        if self._leaving is None:
            return True
        done, _ = await asyncio.wait({self._leaving}, timeout=timeout_s)
        return bool(done)

    def abandon(self) -> None:
        """Wait no longer for the client to leave: the process is about to end."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _leave(self) -> None:
        # Stopped before it has registered itself, the client would connect afterwards with nobody to stop it. And a
        # stop waits for a dial that hangs, which must not happen while the maps are held.
        await self._registered.wait()
        await self._gate.read(lambda: self._library.disconnect(self._name))
        await self._last_words()
        async with self._gate.write():
            await self._workers.run(lambda: self._library.stop_client(self._name))

    async def _last_words(self) -> None:
        """Hear what the client decrypts and hands on after it was disconnected: WhatsApp's server may never repeat it,
        and the keys to read it again are used up.
        """
        ends_at, heard = self._loop.time() + LAST_WORDS_WITHIN_S, -1
        while self._heard != heard and self._loop.time() < ends_at:
            heard = self._heard
            await asyncio.sleep(LAST_WORDS_S)
        self._is_deaf = True

    # --- called in Go's threads ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            why = self._library.run_client(self._name, self._opening, self)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        self._tell(self._end, why)

    def on_event(self, kind: int, data: bytes) -> None:
        if kind == DEVICE:
            self._tell(self._registered.set)  # also when stopped: only now can the client leave
        while not self._is_deaf:
            if self._room.acquire(timeout=1.0):
                self._tell(self._deliver, kind, data)
                return

    def on_qr(self, text: str) -> None:
        """The library asks to pair because the device's keys are gone: the login has failed."""
        self._tell(self._end, "the device's keys are gone")

    def on_pairing_status(self, status: str) -> None:
        self._tell(self._end, status)

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(call, *args)

    # --- called on the loop -------------------------------------------------------------------------------------------

    def _deliver(self, kind: int, data: bytes) -> None:
        self._room.release()
        if not self._is_deaf and (not self._stopped or kind in (MESSAGE, RECEIPT)):
            self._heard += 1
            self._hear(kind, data)

    def _end(self, why: str) -> None:
        self._registered.set()
        if not self.ended.done():
            self.ended.set_result(why)
