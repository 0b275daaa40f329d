"""One reply inbox for the process: who waits for the answer to what.

A question is one published message with a reply subject of its own under one wildcard subscription; its
answer resolves a future. Deadlines are checked by one sweep, not by a timer each, so an answer that does
not come is reported up to `SWEEP_S` late. When the connection is lost every open question fails at once.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping

from kurir.runtime.bus_errors import BrokerUnavailable
from kurir.runtime.connection import Connection

SWEEP_S = 0.1
MAX_OPEN_QUESTIONS = 100_000  # far above what a healthy server leaves open; a bound for an unhealthy one
MAX_PAYLOAD_CODE = 10054  # the err_code JetStream itself uses for a message that is too large
_BLANKS = " \t\v\f"

Reply = tuple[bytes, bytes]
"""Header block (empty without headers; begins with the status line) and payload."""

Listener = Callable[[bytes, bytes], None]
"""Called with the two parts of each reply."""


def header_block(msg_id: str | None, headers: Mapping[str, str] | None) -> bytes:
    """The bytes of a header block, or b"" when there is nothing to say.

    Raises ValueError for a name or value that would break out of its line.
    """
    if headers is None:
        if msg_id is None:
            return b""
        block, lines = f"NATS/1.0\r\nNats-Msg-Id: {msg_id}\r\n\r\n", 3
    else:
        text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        lines = len(headers) + 2
        if msg_id is not None:
            text = f"Nats-Msg-Id: {msg_id}\r\n{text}"
            lines += 1
        block = f"NATS/1.0\r\n{text}\r\n"
    if block.count("\n") != lines or block.count("\r") != lines:
        raise ValueError("a header name or value contains a line break")
    return block.encode()


def check_subject(subject: str) -> None:
    """Raise ValueError for a subject that would break the protocol line."""
    if not subject or " " in subject or not subject.isprintable():
        raise ValueError(f"not a subject: {subject!r}")


def command(subject: str, reply: str, headers: bytes, payload: bytes) -> bytes:
    """The bytes of one PUB or HPUB."""
    if headers:
        total = len(headers) + len(payload)
        line = f"HPUB {subject} {reply} {len(headers)} {total}\r\n".encode()
        return b"".join((line, headers, payload, b"\r\n"))
    return b"".join((f"PUB {subject} {reply} {len(payload)}\r\n".encode(), payload, b"\r\n"))


def parse_headers(block: bytes) -> dict[str, str]:
    """Names and values of a header block; the status line is left out, stray line breaks become spaces."""
    lines = block.count(b"\r\n")
    if block.count(b"\n") != lines or block.count(b"\r") != lines:
        block = b"\r\n".join(b" ".join(line.splitlines()) for line in block.split(b"\r\n"))
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip(_BLANKS)] = value.strip(_BLANKS)
    return headers


def status_of(block: bytes) -> tuple[int, str]:
    """Status code and description of a header block's first line; (0, "") when it carries none."""
    line = block[8 : block.find(b"\r\n")].strip()
    code, _, description = line.partition(b" ")
    return (int(code), description.decode("utf-8", "replace")) if code.isdigit() else (0, "")


class Replies:
    """Open questions of one connection. `start` once after connecting."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._prefix = f"_INBOX.{uuid.uuid4().hex}."
        self._prefix_size = len(self._prefix)
        self._number = 0
        self._open: dict[bytes, tuple[asyncio.Future[Reply], float]] = {}
        self._listeners: dict[bytes, tuple[Listener, Callable[[], None]]] = {}
        self._sweep_is_due = False

    async def start(self) -> None:
        await self._connection.receive(self._prefix + "*", self._receive)
        self._connection.on_lost(self._fail_all)

    def ask(self, subject: str, payload: bytes, headers: bytes, timeout_s: float) -> asyncio.Future[Reply]:
        """Publish with a reply subject; the future holds the answer, or BrokerUnavailable.

        Raises BrokerUnavailable at once, with nothing sent, while disconnected.
        """
        if not self._connection.is_usable:
            raise BrokerUnavailable("not connected to the message bus", outcome_unknown=False)
        if len(self._open) >= MAX_OPEN_QUESTIONS:
            raise BrokerUnavailable("too many unanswered messages", outcome_unknown=False)
        self._number += 1
        token = str(self._number)
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._open[token.encode()] = (answer, self._loop.time() + timeout_s)
        self._connection.write(command(subject, self._prefix + token, headers, payload))
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._loop.call_later(SWEEP_S, self._sweep)
        return answer

    def listen(self, listener: Listener, lost: Callable[[], None]) -> tuple[str, Callable[[], None]]:
        """A reply subject that may get many answers, and the call that ends listening.

        `lost` is called when the connection is lost: no more answers will come then.
        """
        self._number += 1
        token = str(self._number).encode()
        self._listeners[token] = (listener, lost)

        def stop() -> None:
            self._listeners.pop(token, None)

        return self._prefix + token.decode(), stop

    def _receive(self, subject: bytes, _reply: bytes, headers: bytes, data: bytes) -> None:
        token = subject[self._prefix_size :]
        question = self._open.pop(token, None)
        if question is not None:
            if not question[0].done():
                question[0].set_result((headers, data))
        elif (listener := self._listeners.get(token)) is not None:
            listener[0](headers, data)

    def _sweep(self) -> None:
        now = self._loop.time()
        overdue = [token for token, (answer, deadline) in self._open.items() if deadline <= now or answer.done()]
        for token in overdue:
            answer, _ = self._open.pop(token)
            if not answer.done():
                answer.set_exception(BrokerUnavailable("no answer in time", outcome_unknown=True))
        self._sweep_is_due = bool(self._open)
        if self._sweep_is_due:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _fail_all(self) -> None:
        questions, self._open = self._open, {}
        for answer, _ in questions.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("connection lost before the answer", outcome_unknown=True))
        for _, lost in list(self._listeners.values()):
            lost()
