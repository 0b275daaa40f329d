"""Reading stored messages without a consumer: by subject, by many subjects, or onwards from a sequence.

Uses JetStream's direct get (ADR-31); batches need nats-server 2.11. The stream must allow direct access.
What is read is what the server that answers has stored: on a cluster a replica may lag behind the leader.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from kurir.runtime.bus_errors import BrokerUnavailable, PublishRefused
from kurir.runtime.connection import Connection
from kurir.runtime.publishing import ApiError
from kurir.runtime.replies import Replies, Reply, command, parse_headers, status_of

NOT_FOUND, END_OF_BATCH, TOO_MANY = 404, 204, 413
MAX_BATCH = 1000  # the server's own ceiling per request
MAX_SUBJECTS = 1024  # the server refuses multi_last beyond this


class Stored(msgspec.Struct, frozen=True):
    """A message as it is stored. `published_at` is in seconds since the epoch. A counter's value is in `data`.

    `behind`: how many that match are stored behind it, when it was read onwards from a sequence.
    """

    subject: str
    seq: int
    data: bytes
    headers: Mapping[str, str]
    published_at: float
    behind: int = 0


class _Batch(msgspec.Struct, omit_defaults=True):
    batch: int
    seq: int = 0
    start_time: str = ""
    next_by_subj: str = ""
    multi_last: list[str] = []


class _Next(msgspec.Struct):
    seq: int
    next_by_subj: str


class _State(msgspec.Struct):
    subjects: dict[str, int] = {}


class _SubjectsAnswer(msgspec.Struct):
    """The part of a stream's info that names its subjects, 100,000 to a page."""

    state: _State = msgspec.field(default_factory=_State)
    total: int = 0
    error: ApiError | None = None


_decode_subjects = msgspec.json.Decoder(_SubjectsAnswer).decode


class DirectGet:
    def __init__(self, connection: Connection, replies: Replies) -> None:
        self._connection, self._replies = connection, replies
        self._loop = asyncio.get_running_loop()

    async def last_by_subject(self, stream: str, subject: str, timeout_s: float) -> Stored | None:
        reply = await self._replies.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", b"", timeout_s)
        code, description = status_of(reply[0])
        if code == NOT_FOUND:
            return None
        _raise_if_refused(code, description)
        return _stored(reply)

    async def first_from(self, stream: str, subject: str, seq: int, timeout_s: float) -> Stored | None:
        question = msgspec.json.encode(_Next(max(seq, 1), subject))
        reply = await self._replies.ask(f"$JS.API.DIRECT.GET.{stream}", question, b"", timeout_s)
        code, description = status_of(reply[0])
        if code == NOT_FOUND:
            return None
        _raise_if_refused(code, description)
        return _stored(reply)

    async def last_by_subjects(self, stream: str, subjects: str, timeout_s: float) -> list[Stored]:
        try:
            return await self._batch(stream, _Batch(MAX_SUBJECTS, multi_last=[subjects]), timeout_s)
        except PublishRefused as error:
            if error.code != TOO_MANY:
                raise
        names = list(await self.subjects(stream, subjects, timeout_s))
        found: list[Stored] = []
        for start in range(0, len(names), MAX_SUBJECTS):
            part = names[start : start + MAX_SUBJECTS]
            found += await self._batch(stream, _Batch(MAX_SUBJECTS, multi_last=part), timeout_s)
        return sorted(found, key=lambda stored: stored.seq)

    async def subjects(self, stream: str, subjects: str, timeout_s: float) -> dict[str, int]:
        """Every subject matching `subjects` that has messages, and how many."""
        found: dict[str, int] = {}
        while True:
            question = msgspec.json.encode({"subjects_filter": subjects, "offset": len(found)})
            headers, data = await self._replies.ask(f"$JS.API.STREAM.INFO.{stream}", question, b"", timeout_s)
            _raise_if_refused(*status_of(headers))
            answer = _decode_subjects(data)
            if answer.error is not None:
                raise PublishRefused(answer.error.err_code, answer.error.description)
            page = answer.state.subjects
            found |= page
            if not page or len(found) >= answer.total:
                return found

    async def read_from(
        self, stream: str, subject: str, seq: int, limit: int, timeout_s: float, since: float | None = None
    ) -> list[Stored]:
        found: list[Stored] = []
        while len(found) < limit:
            wanted = min(limit - len(found), MAX_BATCH)
            request = _Batch(wanted, seq=max(seq, 1), next_by_subj=subject)
            if since is not None and not found:
                # The server takes a time or a sequence, never both.
                at = datetime.fromtimestamp(since, UTC).isoformat()
                request = _Batch(wanted, start_time=at, next_by_subj=subject)
            part = await self._batch(stream, request, timeout_s)
            found += part
            if len(part) < wanted:
                break
            seq = part[-1].seq + 1
        return found

    async def _batch(self, stream: str, request: _Batch, timeout_s: float) -> list[Stored]:
        """One request, many answers, the last of them an end marker. `timeout_s` is for each answer."""
        if not self._connection.is_usable:
            raise BrokerUnavailable("not connected to the message bus", outcome_unknown=False)
        answers: asyncio.Queue[Reply | None] = asyncio.Queue()  # bounded by the batch
        inbox, stop = self._replies.listen(
            lambda headers, data: answers.put_nowait((headers, data)), lambda: answers.put_nowait(None)
        )
        self._connection.write(command(f"$JS.API.DIRECT.GET.{stream}", inbox, b"", msgspec.json.encode(request)))
        found: list[Stored] = []
        try:
            while True:
                async with asyncio.timeout(timeout_s):
                    reply = await answers.get()
                if reply is None:
                    raise BrokerUnavailable("connection lost while reading", outcome_unknown=False)
                code, description = status_of(reply[0])
                if code in (END_OF_BATCH, NOT_FOUND):
                    return found
                _raise_if_refused(code, description)
                found.append(_stored(reply))
        except TimeoutError as error:
            raise BrokerUnavailable("no answer in time while reading", outcome_unknown=False) from error
        finally:
            stop()


def _raise_if_refused(code: int, description: str) -> None:
    if code == 503:
        raise BrokerUnavailable("no such stream, no direct access, or JetStream is not there", outcome_unknown=False)
    if code:
        raise PublishRefused(code, description)


def _stored(reply: Reply) -> Stored:
    headers = parse_headers(reply[0])
    headers.pop("Nats-Stream", None)
    headers.pop("Nats-Last-Sequence", None)
    return Stored(
        subject=headers.pop("Nats-Subject", ""),
        seq=int(headers.pop("Nats-Sequence", "0")),
        data=reply[1],
        published_at=datetime.fromisoformat(headers.pop("Nats-Time-Stamp")).timestamp(),
        behind=int(headers.pop("Nats-Num-Pending", "0")),
        headers=headers,
    )
