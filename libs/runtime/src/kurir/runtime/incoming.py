"""One message delivered by a consumer, and the five things that can be said about it to the server.

Nothing is decoded before somebody asks. Settling is a plain call: the few bytes leave with everything else
of this turn of the event loop. Settlements survive a reconnect; if one is lost all the same, the server
delivers the message again after the consumer's ack_wait.
"""

from collections.abc import Mapping

from kurir.runtime.bus_errors import BrokerUnavailable
from kurir.runtime.connection import Connection
from kurir.runtime.replies import Replies, parse_headers

_ACK = b" 4\r\n+ACK\r\n"
_IN_PROGRESS = b" 4\r\n+WPI\r\n"


class Incoming:
    """Metadata comes from the ack subject (ADR-15): `$JS.ACK.<stream>.<consumer>.<delivered>.<stream
    seq>.<consumer seq>.<ns since epoch>.<pending>`, with domain and account hash after `ACK` in newer servers."""

    __slots__ = (
        "_connection",
        "_fields",
        "_header_block",
        "_headers",
        "_replies",
        "_reply",
        "_stream_seq",
        "data",
        "is_settled",
        "subject",
    )

    def __init__(
        self, connection: Connection, replies: Replies, subject: bytes, reply: bytes, header_block: bytes, data: bytes
    ) -> None:
        self._connection = connection
        self._replies = replies
        self._reply = reply
        self._header_block = header_block
        self._headers: dict[str, str] | None = None
        self._fields: list[bytes] | None = None
        self._stream_seq = 0
        self.subject = subject.decode()
        self.data = data
        self.is_settled = False

    def __repr__(self) -> str:
        return f"<Incoming {self.subject} seq={self.stream_seq} delivered={self.delivered}>"

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = parse_headers(self._header_block) if self._header_block else {}
        return self._headers

    def header(self, name: str) -> str | None:
        """One header by its exact name; cheap when the message has no such header."""
        if self._headers is None and name.encode() not in self._header_block:
            return None
        return self.headers.get(name)

    def _field(self, index: int) -> bytes:
        if self._fields is None:
            fields = self._reply.split(b".")
            self._fields = fields[2:] if len(fields) == 9 else fields[4:]
        return self._fields[index]

    @property
    def stream(self) -> str:
        return self._field(0).decode()

    @property
    def consumer(self) -> str:
        return self._field(1).decode()

    @property
    def delivered(self) -> int:
        """How often the server has delivered this message, this time included: 1 = first."""
        return int(self._field(2))

    @property
    def stream_seq(self) -> int:
        if not self._stream_seq:
            self._stream_seq = int(self._field(3))
        return self._stream_seq

    @property
    def consumer_seq(self) -> int:
        return int(self._field(4))

    @property
    def published_at(self) -> float:
        """When the stream stored it, in seconds since the epoch."""
        return int(self._field(5)) / 1e9

    @property
    def pending(self) -> int:
        """Messages of this consumer that had not been delivered yet when this one was."""
        return int(self._field(6))

    def ack(self) -> None:
        """Done: never deliver again."""
        self.is_settled = True
        self._connection.write(b"PUB " + self._reply + _ACK)

    def nak(self, delay_s: float = 0.0) -> None:
        """Not done: deliver again, after `delay_s`. Until then it counts against max_ack_pending."""
        self.is_settled = True
        self._say(b'-NAK {"delay":%d}' % int(delay_s * 1e9) if delay_s > 0 else b"-NAK")

    def term(self, reason: str) -> None:
        """Given up: never deliver again; the reason goes into the server's advisory."""
        self.is_settled = True
        self._say(b"+TERM " + reason.replace("\r", " ").replace("\n", " ").encode())

    def in_progress(self) -> None:
        """Still at it: restart ack_wait."""
        if self._connection.is_usable:
            self._connection.write(b"PUB " + self._reply + _IN_PROGRESS)

    def _say(self, what: bytes) -> None:
        self._connection.write(b"PUB %b %d\r\n%b\r\n" % (self._reply, len(what), what))

    async def ack_confirmed(self, timeout_s: float = 2.0) -> bool:
        """Ack and wait for the server's word; True when it came. Two tries of `timeout_s` each, then False.

        False does not mean that the ack was lost: after a crash the server leaves acks of deliveries that it
        no longer knows unanswered, so asking for ever would hang. At worst the message is delivered again.
        """
        self.is_settled = True
        subject = self._reply.decode()
        for _ in range(2):
            try:
                headers, _data = await self._replies.ask(subject, b"+ACK", b"", timeout_s)
            except BrokerUnavailable:
                continue
            if not headers:
                return True
        return False
