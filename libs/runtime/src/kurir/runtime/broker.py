"""The message bus as services see it: one connection, confirmed publishing, pulls, reads and requests.

Guarantees: a publish returns only when JetStream has stored the message; one that failed because there was
no connection is never sent later; the connection is never given up silently (a process whose connection
closes for good ends). Not guaranteed: that a publish which timed out was not stored.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from kurir.runtime.bus_errors import (
    BacklogFull,
    BrokerUnavailable,
    PublishError,
    PublishRefused,
    Unreachable,
    WrongSequence,
)
from kurir.runtime.connection import Connection
from kurir.runtime.direct_get import DirectGet, Stored
from kurir.runtime.incoming import Incoming
from kurir.runtime.logs import get
from kurir.runtime.publishing import Outgoing, PubAck, Publisher
from kurir.runtime.pulling import ConsumerGone, OneShot, Pull
from kurir.runtime.replies import Replies, check_subject, status_of

__all__ = [
    "BacklogFull",
    "BrokerUnavailable",
    "Bus",
    "ConsumerGone",
    "Incoming",
    "Outgoing",
    "PubAck",
    "PublishError",
    "PublishRefused",
    "Pull",
    "Stored",
    "Unreachable",
    "WrongSequence",
]

log = get("kurir.broker")

API_TIMEOUT_S = 5.0
CONNECTION_CLOSED_EXIT = 70  # EX_SOFTWARE; the supervisor starts the process again


class Bus:
    """`nc` is the nats-py client and `js` its JetStream context, for KV, object store and management."""

    def __init__(self, connection: Connection, on_closed: Callable[[], None] | None) -> None:
        self.nc = connection
        self.js: JetStreamContext = connection.jetstream(timeout=API_TIMEOUT_S)
        self._connection = connection
        self._on_closed = on_closed
        self._is_ours_to_close = False
        self._replies = Replies(connection)
        self._publisher = Publisher(connection, self._replies)
        self._direct_get = DirectGet(connection, self._replies)
        self._one_shots: dict[tuple[str, str], OneShot] = {}
        self._pulls: set[Pull] = set()

    @classmethod
    async def connect(
        cls, url: str, *, name: str, creds: str | None = None, on_closed: Callable[[], None] | None = None
    ) -> Self:
        """Connect to `url` (several servers split by commas), waiting for one as long as it takes.

        `name` is shown in the server's monitoring, `creds` the path of a credentials file. Should the
        connection close for good by itself, e.g. because the credentials were revoked, `on_closed` is called;
        without it the process ends at once: a service that cannot hear must not look alive.
        """
        bus = cls(Connection(), on_closed)
        await bus._connection.open(url, name=name, creds=creds, closed=bus._closed)
        await bus._replies.start()
        return bus

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance right now."""
        return self._connection.is_usable

    def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        msg_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
    ) -> Coroutine[Any, Any, PubAck]:
        """Publish and return JetStream's confirmation. Nothing is repeated.

        Raises BrokerUnavailable (not connected, no answer in time, no stream for the subject), BacklogFull,
        WrongSequence or PublishRefused; all are PublishError. ValueError for what is no subject or header.
        """
        return self._publisher.publish(subject, payload, msg_id, headers, timeout_s)

    async def publish_many(self, items: Sequence[Outgoing], timeout_s: float = 5.0) -> list[PubAck | PublishError]:
        """Publish in order, many in flight; the answer holds a confirmation or an error for each, in order.

        One refused message does not stop the ones behind it.
        """
        return await self._publisher.publish_many(items, timeout_s)

    async def pull(self, stream: str, consumer: str, *, batch: int, expires_s: float) -> list[Incoming]:
        """What the consumer has now, up to `batch`, or the first that comes within `expires_s`; else [].

        Nothing is prefetched, so nothing waits out ack_wait when the caller stops. An outage of the server
        is waited out within `expires_s`. Raises BrokerUnavailable when there is no such consumer.
        """
        one_shot = self._one_shots.get((stream, consumer))
        if one_shot is None:
            one_shot = OneShot(self._connection, self._replies, stream, consumer)
            self._one_shots[stream, consumer] = one_shot
        return await one_shot.pull(batch, expires_s)

    async def open_pull(
        self,
        stream: str,
        consumer: str,
        *,
        max_outstanding: int = 256,
        room: Callable[[], int] | None = None,
    ) -> Pull:
        """A lasting pull: `async for batch in pull`. Close it with `close_pull`, which gives back what waits.

        At most `max_outstanding` messages are prefetched; `room()` says how many more the holder can take.
        """
        pull = Pull(self._connection, self._replies, stream, consumer, max_outstanding=max_outstanding, room=room)
        await pull.open()
        self._pulls.add(pull)
        return pull

    async def close_pull(self, pull: Pull) -> None:
        self._pulls.discard(pull)
        await pull.close()

    def incoming(self, subject: str, reply: str, headers: Mapping[str, str], data: bytes) -> Incoming:
        """A message that came over another connection, to be settled over this one."""
        message = Incoming(self._connection, self._replies, subject.encode(), reply.encode(), b"", data)
        message._headers = dict(headers)
        return message

    async def last_by_subject(self, stream: str, subject: str, *, timeout_s: float = API_TIMEOUT_S) -> Stored | None:
        """The newest message of one subject, or None. Raises BrokerUnavailable."""
        return await self._direct_get.last_by_subject(stream, subject, timeout_s)

    async def last_by_subjects(self, stream: str, subjects: str, *, timeout_s: float = API_TIMEOUT_S) -> list[Stored]:
        """The newest message of every subject matching `subjects` (wildcards), by sequence.

        Raises BrokerUnavailable.
        """
        return await self._direct_get.last_by_subjects(stream, subjects, timeout_s)

    async def first_from(
        self, stream: str, subject: str, seq: int, *, timeout_s: float = API_TIMEOUT_S
    ) -> Stored | None:
        """The first message of `subject` (wildcards) from sequence `seq` on, or None.

        Costs the server little when there is one near `seq`, however many there are: `read_from` counts those behind it
        too, which takes 0.4 s of a stream with a million subjects. Raises BrokerUnavailable.
        """
        return await self._direct_get.first_from(stream, subject, seq, timeout_s)

    async def read_from(
        self,
        stream: str,
        subject: str,
        seq: int,
        limit: int,
        *,
        since: float | None = None,
        timeout_s: float = API_TIMEOUT_S,
    ) -> list[Stored]:
        """Up to `limit` messages of `subject` (wildcards), from sequence `seq` on, without a consumer.

        With `since` (seconds since the epoch) those stored from then on, and `seq` plays no role.
        Raises BrokerUnavailable.
        """
        return await self._direct_get.read_from(stream, subject, seq, limit, timeout_s, since)

    async def count(self, stream: str, subject: str, *, timeout_s: float = API_TIMEOUT_S) -> int:
        """How many messages of `subject` (wildcards) are stored. The server reads their subjects: 5 ms for 100,000.

        Raises BrokerUnavailable.
        """
        first = await self._direct_get.read_from(stream, subject, 1, 1, timeout_s)
        return 1 + first[0].behind if first else 0

    async def subjects(self, stream: str, subjects: str, *, timeout_s: float = API_TIMEOUT_S) -> dict[str, int]:
        """Every stored subject matching `subjects` (wildcards) and its number of messages."""
        return await self._direct_get.subjects(stream, subjects, timeout_s)

    async def delete_message(self, stream: str, seq: int) -> None:
        """Delete one stored message, whether it is still there or not. Raises BrokerUnavailable."""
        try:
            await self.js.delete_msg(stream, seq)
        except APIError:
            return  # it is gone already
        except NatsError as error:
            raise BrokerUnavailable(str(error) or repr(error), outcome_unknown=True) from error

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Ask whoever listens on `subject` and return the answer's payload.

        Raises Unreachable when nobody listens or no answer came in time, BrokerUnavailable while disconnected.
        """
        check_subject(subject)
        asked = self._replies.ask(subject, payload, b"", timeout_s)
        try:
            headers, data = await asked
        except BrokerUnavailable as error:
            raise Unreachable(str(error), outcome_unknown=True) from error
        if headers and not data and status_of(headers)[0] == 503:
            raise Unreachable(f"nobody answers {subject}", outcome_unknown=False)
        return data

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call `callback` after each reconnect; calling the answer unregisters it."""
        return self._connection.on_restored(callback)

    async def close(self) -> None:
        """Give back what nobody took, send what is queued and close. Harmless when repeated."""
        self._is_ours_to_close = True
        if self.connected:
            await asyncio.gather(*(pull.close() for pull in self._pulls))
            for one_shot in self._one_shots.values():
                one_shot.give_back()
        self._pulls.clear()
        await self._connection.close()

    async def _closed(self) -> None:
        if self._is_ours_to_close:
            return
        log.critical("broker.closed", error=repr(self._connection.last_error))
        if self._on_closed is not None:
            self._on_closed()
        else:
            # Not sys.exit: a loop that lost its broker cannot be trusted to run a shutdown.
            os._exit(CONNECTION_CLOSED_EXIT)
