"""Taking messages from a pull consumer: as they come, many at a time, on one subscription per consumer.

`Pull` keeps a request open at the server all the time, so a message that arrives is handed over in one hop,
and everything that came in the same turn of the event loop is handed over together. Idle heartbeats reveal a
request that got lost; it is made again, and so it is after a reconnect. `pull_once` is the one-shot form.
Messages that were delivered and not handed over when a pull closes are given back at once.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import msgspec

from kurir.runtime.bus_errors import BrokerUnavailable
from kurir.runtime.connection import Connection
from kurir.runtime.incoming import Incoming
from kurir.runtime.logs import get
from kurir.runtime.replies import Replies, command, parse_headers, status_of

log = get("kurir.broker")

EXPIRES_S = 30.0  # a request ends and is renewed that often
HEARTBEAT_S = 5.0  # silence of more than two of these means that the request is lost
RETRY_S = 0.25  # a consumer that is missing or restarting is asked again that often
CLOSE_WITHIN_S = 2.0
IDLE_HEARTBEAT, NO_MESSAGES, TIMED_OUT, NO_RESPONDERS = 100, 404, 408, 503


class _Request(msgspec.Struct, omit_defaults=True):
    """Body of `$JS.API.CONSUMER.MSG.NEXT`; times in nanoseconds."""

    batch: int
    expires: int
    no_wait: bool = False
    idle_heartbeat: int = 0


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


class ConsumerGone(Exception):
    """The consumer was deleted while it was being pulled from."""


class Pull:
    """A lasting pull from one consumer.

    At most `max_outstanding` messages are asked for and not handed over yet. `room` may lower that further: it
    is asked how many more messages their holder can take; call `ask_soon` when room has grown.
    """

    def __init__(
        self,
        connection: Connection,
        replies: Replies,
        stream: str,
        consumer: str,
        *,
        max_outstanding: int,
        room: Callable[[], int] | None = None,
    ) -> None:
        self.stream, self.consumer = stream, consumer
        self._connection, self._replies = connection, replies
        self._loop = asyncio.get_running_loop()
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = f"_INBOX.{uuid.uuid4().hex}"
        self._max_outstanding = max_outstanding
        self._room = room
        self._asked = 0  # asked for and neither delivered nor given up by the server
        self._will_ask = False
        self._ready: list[Incoming] = []
        self._waiter: asyncio.Future[None] | None = None
        self._heard_at = 0.0
        self._paused_until = 0.0
        self._is_complaining = False
        self._is_open = False
        self._is_gone = False
        self._sid = 0
        self._forget_restored: Callable[[], None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Subscribe and ask for the first messages."""
        self._is_open = True
        self._sid = await self._connection.receive(self._inbox, self._receive)
        self._forget_restored = self._connection.on_restored(self._start_over)
        self._heard_at = self._loop.time()
        self.ask_more()
        self._look_after()

    async def next_batch(self, timeout_s: float | None = None) -> list[Incoming]:
        """Everything that has arrived, waiting for the first; [] after `timeout_s` or when the pull was closed.

        Raises ConsumerGone when the consumer was deleted. For one caller at a time.
        """
        if not self._ready and self._is_open and not self._is_gone:
            self._waiter = self._loop.create_future()
            timer = None if timeout_s is None else self._loop.call_later(timeout_s, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        if self._is_gone and not self._ready:
            raise ConsumerGone(f"{self.stream}/{self.consumer}")
        batch, self._ready = self._ready, []
        self.ask_soon()  # by then the caller has counted what it holds
        return batch

    async def __aiter__(self) -> AsyncIterator[list[Incoming]]:
        """Batches until the pull is closed."""
        while self._is_open:
            batch = await self.next_batch()
            if batch:
                yield batch

    def wake(self) -> None:
        """Let a `next_batch` that waits return now, with what there is."""
        if self._waiter is not None:
            _wake(self._waiter)

    def ask_soon(self) -> None:
        """`ask_more` in the next turn of the loop, once for however many call this until then."""
        if not self._will_ask:
            self._will_ask = True
            self._loop.call_soon(self.ask_more)

    def ask_more(self) -> None:
        """Ask the server for as many messages as there is room for, if that is worth a request."""
        self._will_ask = False
        if not self._is_open or self._is_gone or not self._connection.is_usable:
            return
        free = self._max_outstanding - self._asked - len(self._ready)
        if self._room is not None:
            free = min(free, self._room() - self._asked - len(self._ready))
        worthwhile = max(1, self._max_outstanding // 4)
        if free <= 0 or (free < worthwhile and self._asked > 0) or self._loop.time() < self._paused_until:
            return
        self._asked += free
        self._ask(_Request(free, _nanoseconds(EXPIRES_S), idle_heartbeat=_nanoseconds(HEARTBEAT_S)))

    def _ask(self, request: _Request) -> None:
        self._connection.write(command(self._next_subject, self._inbox, b"", msgspec.json.encode(request)))

    async def close(self) -> None:
        """Stop; what was delivered and not handed over is given back. Harmless when repeated."""
        if not self._is_open:
            return
        self._is_open = False
        if self._watch is not None:
            self._watch.cancel()
        if self._forget_restored is not None:
            self._forget_restored()
        await self._connection.stop_receiving(self._sid, CLOSE_WITHIN_S)
        for message in self._ready:
            message.nak()
        self._ready.clear()
        self.wake()

    def _receive(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if not reply:
            self._take_status(headers)
            return
        if self._asked > 0:
            self._asked -= 1
        self._is_complaining = False
        self._ready.append(Incoming(self._connection, self._replies, subject, reply, headers, data))
        if self._waiter is not None:
            _wake(self._waiter)

    def _take_status(self, headers: bytes) -> None:
        code, description = status_of(headers)
        if code == IDLE_HEARTBEAT:
            return
        if code in (NO_MESSAGES, TIMED_OUT):
            unused = parse_headers(headers).get("Nats-Pending-Messages", "")
            self._asked = max(0, self._asked - int(unused)) if unused.isdigit() else 0
            self._loop.call_soon(self.ask_more)
            return
        # Anything else ends the request: no such consumer (503 from nobody), a new leader, a limit.
        if code == 409 and "Consumer Deleted" in description:
            self._is_gone = True
            self.wake()
            return
        if not self._is_complaining:
            self._is_complaining = True
            log.warning("pull.refused", stream=self.stream, consumer=self.consumer, status=code, reason=description)
        self._asked = 0
        self._paused_until = self._loop.time() + RETRY_S
        self._loop.call_later(RETRY_S * 1.01, self.ask_more)

    async def _start_over(self) -> None:
        self._asked = 0
        self._paused_until = 0.0
        self._heard_at = self._loop.time()
        self.ask_more()

    def _look_after(self) -> None:
        silence = self._loop.time() - self._heard_at
        if self._asked > 0 and silence > 2.2 * HEARTBEAT_S and self._connection.is_usable:
            log.warning("pull.lost", stream=self.stream, consumer=self.consumer, silent_s=round(silence, 1))
            self._asked = 0
            self._heard_at = self._loop.time()
        self.ask_more()
        self._watch = self._loop.call_later(HEARTBEAT_S, self._look_after)


class OneShot:
    """Single pulls from one consumer, one at a time, on one subscription. Nothing is prefetched."""

    def __init__(self, connection: Connection, replies: Replies, stream: str, consumer: str) -> None:
        self._connection, self._replies = connection, replies
        self._name = f"{stream}/{consumer}"
        self._loop = asyncio.get_running_loop()
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = f"_INBOX.{uuid.uuid4().hex}"
        self._turn = asyncio.Lock()
        self._sid: int | None = None
        self._missing = 0  # messages the request may still bring
        self._status = 0
        self._ready: list[Incoming] = []
        self._waiter: asyncio.Future[None] | None = None

    async def pull(self, batch: int, expires_s: float) -> list[Incoming]:
        """What is there now, up to `batch`, or the first that comes within `expires_s`; else [].

        An outage is waited out within `expires_s`. Raises BrokerUnavailable when there is no such consumer.
        """
        deadline = self._loop.time() + expires_s
        async with self._turn:
            if self._sid is None:
                self._sid = await self._connection.receive(self._inbox, self._receive)
                self._connection.on_restored(self._interrupted)
            while not self._ready and (left_s := deadline - self._loop.time()) > 0:
                self._missing, self._status = batch, 0
                if self._connection.is_usable:
                    # no_wait with expires: what is there, or the first that comes; then a 404 says "that was it".
                    request = _Request(batch, _nanoseconds(left_s), no_wait=True)
                    self._connection.write(command(self._next_subject, self._inbox, b"", msgspec.json.encode(request)))
                await self._wait(left_s)
                if not self._ready and self._status not in _ORDERLY_ENDS:
                    await asyncio.sleep(min(RETRY_S, max(0.0, deadline - self._loop.time())))
            messages, self._ready = self._ready, []
            if not messages and self._status not in _ORDERLY_ENDS:
                raise BrokerUnavailable(f"cannot pull from {self._name}: status {self._status}", outcome_unknown=False)
            return messages

    def give_back(self) -> None:
        """Let the server deliver again what came after the last pull had ended."""
        for message in self._ready:
            message.nak()
        self._ready.clear()

    def _receive(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        if reply:
            self._ready.append(Incoming(self._connection, self._replies, subject, reply, headers, data))
            self._missing -= 1
        else:
            self._status, _ = status_of(headers)
            self._missing = 0
        if self._missing <= 0 and self._waiter is not None:
            _wake(self._waiter)

    async def _interrupted(self) -> None:
        # The request died with the connection; what it brought is handed over, else it is made again.
        if self._waiter is not None:
            _wake(self._waiter)

    async def _wait(self, seconds: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, _wake, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None


_ORDERLY_ENDS = (0, NO_MESSAGES, TIMED_OUT)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
