"""Entries of a KV bucket, written by revision over the confirmed publish.

NATS keeps bucket `b` as stream `KV_b` with a subject `$KV.b.<key>` for each key (ADR-8); the revision of an entry is
its stream sequence, and a deleted key is a marker: an empty message with a header. nats-py's own `KeyValue` is not
used: its `update` silently makes an entry with a TTL eternal, and its writes would not share our errors.
"""

import re
from collections.abc import Mapping

import msgspec

from kurir.contracts import headers
from kurir.runtime.broker import BrokerUnavailable, Bus, Stored, Unreachable, WrongSequence
from kurir.runtime.publishing import ApiError

TIMEOUT_S = 5.0  # a write that took longer has an unknown outcome

_TOKEN = r"[A-Za-z0-9_-]+"  # noqa: S105
_KEY = re.compile(rf"{_TOKEN}(\.{_TOKEN})*")
_OPERATION = "KV-Operation"
_MARKER_REASON = "Nats-Marker-Reason"  # set by the server, on expiry, in buckets with limit markers


class KeyExists(Exception):
    """`create` found an entry under this key."""


class RevisionConflict(Exception):
    """The entry is no longer at the expected revision: somebody else wrote it, or it expired."""


def key_of(*tokens: str) -> str:
    """Join tokens to a key, e.g. tenant and device. Raises ValueError for a token that is not [A-Za-z0-9_-]+."""
    return _checked(".".join(tokens), len(tokens))


def stream_of(bucket: str) -> str:
    return f"KV_{bucket}"


def subject_of(bucket: str, key: str) -> str:
    """The subject of one entry. Raises ValueError for a key that could match other subjects."""
    return f"$KV.{bucket}.{_checked(key)}"


def subjects_of(bucket: str) -> str:
    """The subjects of all entries, with a wildcard."""
    return f"$KV.{bucket}.>"


def key_in(bucket: str, subject: str) -> str:
    return subject[len(f"$KV.{bucket}.") :]


def is_marker(message_headers: Mapping[str, str]) -> bool:
    """True when a message with these headers says that its key is gone."""
    return message_headers.get(_OPERATION) in ("DEL", "PURGE") or _MARKER_REASON in message_headers


def ttl_of(message_headers: Mapping[str, str]) -> int | None:
    """Seconds after which the server removes the message, as `put` writes them; other notations are left to it."""
    ttl = message_headers.get(headers.TTL, "")
    return int(ttl) if ttl.isdecimal() else None


async def put(
    bus: Bus,
    bucket: str,
    key: str,
    value: bytes,
    *,
    revision: int | None = None,
    ttl_s: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Write an entry and return its revision; with `revision`, only if that is still the last one (0: none).

    `ttl_s`: whole seconds until the server removes the entry; a write without it makes the entry eternal again.
    Raises RevisionConflict, or PublishError (after BrokerUnavailable the write may still have happened).
    """
    sent: dict[str, str] = {}
    if revision is not None:
        sent[headers.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(revision)
    if ttl_s is not None:
        sent[headers.TTL] = str(ttl_s)
    try:
        ack = await bus.publish(subject_of(bucket, key), value, headers=sent or None, timeout_s=timeout_s)
    except WrongSequence as conflict:
        raise RevisionConflict(key) from conflict
    return ack.seq


async def create(
    bus: Bus, bucket: str, key: str, value: bytes, *, ttl_s: int | None = None, timeout_s: float = TIMEOUT_S
) -> int:
    """Write an entry that does not exist and return its revision. Raises KeyExists or PublishError."""
    try:
        return await put(bus, bucket, key, value, revision=0, ttl_s=ttl_s, timeout_s=timeout_s)
    except RevisionConflict:
        last = await bus.last_by_subject(stream_of(bucket), subject_of(bucket, key))
    if last is not None and not is_marker(last.headers):
        raise KeyExists(key)
    gone_since = last.seq if last is not None else 0
    try:
        return await put(bus, bucket, key, value, revision=gone_since, ttl_s=ttl_s, timeout_s=timeout_s)
    except RevisionConflict as conflict:
        raise KeyExists(key) from conflict


async def delete(bus: Bus, bucket: str, key: str, *, revision: int | None = None, timeout_s: float = TIMEOUT_S) -> int:
    """Mark a key as deleted and return the marker's revision; raises like `put`."""
    sent = {_OPERATION: "DEL"}
    if revision is not None:
        sent[headers.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(revision)
    try:
        ack = await bus.publish(subject_of(bucket, key), b"", headers=sent, timeout_s=timeout_s)
    except WrongSequence as conflict:
        raise RevisionConflict(key) from conflict
    return ack.seq


class _State(msgspec.Struct):
    last_seq: int


class _StreamInfo(msgspec.Struct):
    state: _State | None = None
    error: ApiError | None = None


_info_decoder = msgspec.json.Decoder(_StreamInfo)


async def last_revision(bus: Bus, bucket: str, timeout_s: float = TIMEOUT_S) -> int:
    """The newest revision of the whole bucket as its leader has it, gone or not; 0 when nothing was ever written.

    Raises BrokerUnavailable, also when there is no such bucket.
    """
    try:
        info = _info_decoder.decode(await bus.request(f"$JS.API.STREAM.INFO.{stream_of(bucket)}", b"", timeout_s))
    except Unreachable as error:
        raise BrokerUnavailable(str(error), outcome_unknown=False) from error
    if info.state is None:
        reason = info.error.description if info.error is not None else "no state"
        raise BrokerUnavailable(f"{stream_of(bucket)}: {reason}", outcome_unknown=False)
    return info.state.last_seq


async def read(bus: Bus, bucket: str, key: str) -> Stored | None:
    """The last message of a key as the server has it, a deletion marker included; None when there is none."""
    return await bus.last_by_subject(stream_of(bucket), subject_of(bucket, key))


def _checked(key: str, tokens: int | None = None) -> str:
    if _KEY.fullmatch(key) is None or (tokens is not None and key.count(".") + 1 != tokens):
        raise ValueError(f"not a key: {key!r}")
    return key
