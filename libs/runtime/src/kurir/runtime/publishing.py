"""Confirmed publishing: a message counts as published when JetStream said so, and not before.

Nothing is repeated here: the caller knows whether a repeat is harmless (same message id) or not.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from kurir.runtime.bus_errors import BacklogFull, BrokerUnavailable, PublishError, PublishRefused, WrongSequence
from kurir.runtime.connection import Connection
from kurir.runtime.replies import MAX_PAYLOAD_CODE, Replies, Reply, check_subject, header_block, status_of

PIPELINE = 512  # the server's queue per stream refuses beyond 10,000; more in flight brings no more speed


class PubAck(msgspec.Struct, frozen=True, rename={"value": "val"}):
    """JetStream's confirmation. `duplicate`: the message id was known, nothing was stored again and `seq` is
    that of the first. `value`: the counter's new value, on streams of counters."""

    stream: str
    seq: int
    duplicate: bool = False
    value: int | None = None


class Outgoing(msgspec.Struct, frozen=True):
    """One message of `publish_many`."""

    subject: str
    payload: bytes
    msg_id: str | None = None
    headers: Mapping[str, str] | None = None


class ApiError(msgspec.Struct):
    """How every JetStream API answers a request it refuses."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class _ErrorReply(msgspec.Struct):
    error: ApiError


_decode_ack = msgspec.json.Decoder(PubAck, strict=False).decode  # the server writes `val` as a string
_decode_error = msgspec.json.Decoder(_ErrorReply).decode


class Publisher:
    def __init__(self, connection: Connection, replies: Replies) -> None:
        self._connection = connection
        self._ask = replies.ask

    async def publish(
        self, subject: str, payload: bytes, msg_id: str | None, headers: Mapping[str, str] | None, timeout_s: float
    ) -> PubAck:
        return confirmed(await self._send(subject, payload, msg_id, headers, timeout_s))

    async def publish_many(self, items: Sequence[Outgoing], timeout_s: float) -> list[PubAck | PublishError]:
        results: list[PubAck | PublishError] = []
        in_flight: deque[asyncio.Future[Reply] | PublishError] = deque()
        try:
            for item in items:
                if len(in_flight) >= PIPELINE:
                    results.append(await _outcome(in_flight.popleft()))
                try:
                    in_flight.append(self._send(item.subject, item.payload, item.msg_id, item.headers, timeout_s))
                except PublishError as error:
                    in_flight.append(error)
            while in_flight:
                results.append(await _outcome(in_flight.popleft()))
        finally:
            for answer in in_flight:
                if isinstance(answer, asyncio.Future):
                    answer.cancel()
        return results

    def _send(
        self, subject: str, payload: bytes, msg_id: str | None, headers: Mapping[str, str] | None, timeout_s: float
    ) -> asyncio.Future[Reply]:
        check_subject(subject)
        block = header_block(msg_id, headers)
        limit = self._connection.max_payload
        if len(payload) + len(block) > limit:
            # Sent all the same, the server would close the connection.
            raise PublishRefused(MAX_PAYLOAD_CODE, f"message is larger than {limit} bytes")
        return self._ask(subject, payload, block, timeout_s)


async def _outcome(answer: asyncio.Future[Reply] | PublishError) -> PubAck | PublishError:
    if isinstance(answer, PublishError):
        return answer
    try:
        return confirmed(await answer)
    except PublishError as error:
        return error


def confirmed(reply: Reply) -> PubAck:
    """The confirmation in a reply to a publish. Raises the PublishError the reply amounts to."""
    headers, data = reply
    if headers:
        code, description = status_of(headers)
        if code:  # 503: no stream takes this subject, or JetStream is not there
            raise BrokerUnavailable(description or "no stream answers for this subject", outcome_unknown=False)
    if b'"error":' not in data:
        return _decode_ack(data)
    error = _decode_error(data).error
    if error.err_code in (10071, 10164):
        raise WrongSequence(error.err_code, error.description)
    if error.err_code == 10077 and "maximum" in error.description:
        raise BacklogFull(error.err_code, error.description)
    if error.code in (429, 503):
        raise BrokerUnavailable(f"{error.description} ({error.err_code})", outcome_unknown=False)
    raise PublishRefused(error.err_code, error.description)
