"""The one NATS connection of a process: nats-py's client with a faster way in and a stricter way out.

The only file that knows nats-py's inside (hence the upper bound on its version). Guarantees:
* `write` puts protocol bytes into nats-py's own pending buffer; all writes of one turn of the event loop
  leave in one system call, in order with what nats-py itself sends;
* nothing that was written or published before a loss of the connection is sent after it, except message
  settlements (acks), which are harmless late and save a redelivery;
* the connection is never given up: when nats-py closes it all the same, `closed` is called.
It knows nothing of JetStream: see publishing, pulling and direct_get.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.errors import Error, ProtocolError
from nats.protocol.parser import Parser

from kurir.runtime.logs import get

log = get("kurir.broker")

Receive = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with subject, reply, header block (empty without headers) and payload. Must not block or raise."""

RECONNECT_PAUSE_S = 0.5  # a restarted server is found again within a second
PING_INTERVAL_S = 10  # a frozen server or a cut cable is noticed after three of them
MAX_KEPT_SETTLEMENTS = 20_000  # more than all messages a process may hold unsettled
_SETTLEMENT = b"PUB $JS.ACK."
_CRLF = b"\r\n"


class _FastParser(Parser):
    """nats-py's parser with a short way for messages: no regular expression, one copy of the payload.

    Everything that is not a complete `MSG` or `HMSG` at the head of the buffer goes to nats-py's own.
    """

    nc: "Connection"
    buf: bytearray
    _expected: int = 0  # bytes the incomplete message at the head of the buffer needs in all

    def reset(self) -> None:
        super().reset()
        self._expected = 0

    async def parse(self, data: bytes = b"") -> None:
        if self.buf:
            self.buf.extend(data)
            if len(self.buf) < self._expected:
                return
            data = bytes(self.buf)
            self.buf.clear()
        self._expected = 0
        receivers = self.nc.receivers
        at, end = 0, len(data)
        while at < end:
            line_end = data.find(_CRLF, at)
            if line_end < 0:
                break
            if data.startswith(b"MSG ", at):
                fields = data[at + 4 : line_end].split()
                size, header_size = int(fields[-1]), 0
                reply = fields[2] if len(fields) == 4 else b""
            elif data.startswith(b"HMSG ", at):
                fields = data[at + 5 : line_end].split()
                size, header_size = int(fields[-1]), int(fields[-2])
                reply = fields[2] if len(fields) == 5 else b""
            else:
                self.buf.extend(data[at : line_end + 2])
                await super().parse(b"")
                if self.buf:
                    raise ProtocolError("nats: unknown protocol")
                at = line_end + 2
                continue
            body = line_end + 2
            if body + size + 2 > end:
                self._expected = body + size + 2 - at
                break
            payload_at = body + header_size
            sid = int(fields[1])
            receive = receivers.get(sid)
            if receive is not None:
                receive(fields[0], reply, data[body:payload_at], data[payload_at : body + size])
            else:
                await self.nc._process_msg(sid, fields[0], reply, data[payload_at : body + size], data[body:payload_at])
            at = body + size + 2
        if at < end:
            self.buf.extend(data[at:])


class Connection(Client):
    """A nats-py client (KV, object store and management work as usual) with `write` and `receive`."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _FastParser(self)
        self.receivers: dict[int, Receive] = {}
        self._loop = asyncio.get_running_loop()
        self._flush_is_due = False
        self._lost_callbacks: list[Callable[[], None]] = []
        self._restored_callbacks: list[Callable[[], Awaitable[None]]] = []
        self._restoring: asyncio.Task[None] | None = None

    async def open(self, url: str, *, name: str, creds: str | None, closed: Callable[[], Awaitable[None]]) -> None:
        """Connect, waiting for the server as long as it takes. `url` may name several, split by commas."""
        options: dict[str, Any] = {"reconnect_time_wait": RECONNECT_PAUSE_S}
        if creds:
            options["user_credentials"] = creds
        await self.connect(
            [part.strip() for part in url.split(",")],
            name=name,
            max_reconnect_attempts=-1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=2,
            # Nothing is buffered while disconnected: nats-py refuses at once instead of sending it later.
            pending_size=0,
            error_cb=self._noted,
            disconnected_cb=self._lost,
            reconnected_cb=self._restored,
            closed_cb=closed,
            **options,
        )

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call back, in order of registration, as soon as the connection is found lost."""
        self._lost_callbacks.append(callback)

    def on_restored(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call back after each reconnect, one after the other; the answer of this call unregisters."""
        self._restored_callbacks.append(callback)
        return lambda: self._restored_callbacks.remove(callback)

    @property
    def is_usable(self) -> bool:
        return bool(self._status == Client.CONNECTED)

    async def receive(self, subject: str, receive: Receive) -> int:
        """Subscribe; messages are handed over undecoded, inside the read loop. Returns the subscription's id.

        The subscription survives reconnects.
        """
        subscription = await self.subscribe(subject)
        sid = int(subscription._id)
        self.receivers[sid] = receive
        return sid

    async def stop_receiving(self, sid: int, timeout_s: float) -> None:
        """Unsubscribe; what the server sent before it knew is still handed over, then no more."""
        subscription = self._subs.get(sid)
        try:
            if subscription is not None and self.is_usable:
                self.write(f"UNSUB {sid}\r\n".encode())
                self._flush_now()
                await self.flush(timeout_s)  # type: ignore[arg-type]  # seconds may be fractions
        except Error:
            log.info("broker.unsubscribed_without_answer", sid=sid)
        finally:
            self.receivers.pop(sid, None)
            self._remove_sub(sid)
            if subscription is not None:
                subscription._stop_processing()

    def write(self, command: bytes) -> None:
        """Queue the bytes of one complete protocol command for the end of this turn of the loop.

        While disconnected only settlements may be written; they are kept, up to a bound, for the reconnect.
        """
        if self._status != Client.CONNECTED and len(self._pending) >= MAX_KEPT_SETTLEMENTS:
            return
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_is_due = False
        if self._pending and self.is_usable and self._transport is not None:
            commands, self._pending, self._pending_data_size = self._pending, [], 0
            try:
                self._transport.writelines(commands)
            except RuntimeError:
                # uvloop's for a socket that is closed already, of which the read loop is about to hear.
                self._pending, self._pending_data_size = commands, sum(map(len, commands))

    async def close(self) -> None:
        """Send what is queued and close. The closed callback is called as well."""
        self._flush_now()
        if self._restoring is not None:
            self._restoring.cancel()
        await super().close()

    async def _process_pong(self) -> None:
        """Also of a ping that nobody waits for any more: nats-py ends its read loop then, and never hears of anything
        again, its own reconnect included.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = self._loop.create_future()
        await super()._process_pong()

    async def _read_loop(self) -> None:
        await super()._read_loop()
        task = asyncio.current_task()
        if self.is_usable and task is not None and not task.cancelling():
            # By an error that nats-py only logs. A connection that is not read is none.
            await self._process_op_err(Error("nats: the read loop has ended"))

    async def _lost(self) -> None:
        kept = [command for command in self._pending if command.startswith(_SETTLEMENT)]
        self._pending = kept[-MAX_KEPT_SETTLEMENTS:]
        self._pending_data_size = sum(map(len, self._pending))
        if self._restoring is not None:
            self._restoring.cancel()
        if not self.is_closed:
            log.warning("broker.lost", pending_settlements=len(self._pending))
        for callback in self._lost_callbacks:
            callback()

    async def _restored(self) -> None:
        # nats-py awaits this inside its reconnect task, where a slow callback would delay the next reconnect.
        self._restoring = self._loop.create_task(self._call_restored())

    async def _call_restored(self) -> None:
        log.info("broker.restored")
        for callback in list(self._restored_callbacks):
            try:
                await callback()
            except Exception:
                log.exception("broker.restored_callback_failed")

    async def _noted(self, error: Exception) -> None:
        log.warning("broker.error", error=repr(error))
