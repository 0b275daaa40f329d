"""Makes the server agree with contracts.streams: streams, consumers, KV and object buckets.

Services never declare anything by themselves: a client library that does resets limits behind one's back.
Idempotent, and safe while everything runs. Settings that contracts.streams does not speak of (replicas,
placement, limits in bytes) are left as they are. What a server cannot change on an existing stream is reported
as a conflict and left alone; nothing is ever deleted.
"""

from typing import Any, Final

import msgspec

from kurir.contracts.streams import (
    CONSUMERS,
    KV_BUCKETS,
    OBJECT_BUCKETS,
    STREAMS,
    BucketSpec,
    ConsumerSpec,
    ObjectBucketSpec,
    StreamSpec,
)
from kurir.runtime.broker import Bus, PublishRefused

API_TIMEOUT_S: Final = 10.0
NOT_FOUND: Final = (10059, 10014)  # stream, consumer
DEFAULT_DUPLICATE_WINDOW_S: Final = 120
MISSING: Final = "missing"

# The server refuses to change these on a stream that exists (or refuses to take them back).
_FIXED: Final = {"retention", "storage", "max_consumers", "allow_msg_counter", "deny_delete"}
_ONLY_ON: Final = {"allow_msg_schedules", "allow_msg_ttl"}

Config = dict[str, Any]


class Change(msgspec.Struct, frozen=True):
    """One difference between server and code. A conflict was not applied: it needs a person."""

    what: str
    text: str
    is_conflict: bool = False

    def __str__(self) -> str:
        return f"{'CONFLICT ' if self.is_conflict else ''}{self.what}: {self.text}"


async def apply(bus: Bus) -> list[Change]:
    """Create or update everything; returns what was changed and what could not be, nothing if all agreed.

    Raises PublishRefused when the server refuses a change, Unreachable when JetStream is not there.
    """
    changes: list[Change] = []
    for config in _stream_configs():
        changes += await _apply_stream(bus, config)
    for spec in CONSUMERS:
        changes += await _apply_consumer(bus, spec)
    return changes


async def differences(bus: Bus) -> list[Change]:
    """What `apply` would change or could not; nothing is touched. Raises as `apply` does."""
    found: list[Change] = []
    for config in _stream_configs():
        info = await stream_info(bus, config["name"])
        found += [change for change, _ in _stream_changes(config, info)]
    for spec in CONSUMERS:
        found += _consumer_changes(spec, await consumer_info(bus, spec.stream, spec.name))
    return found


async def stream_info(bus: Bus, name: str) -> Config | None:
    """What the server says of a stream, as the JetStream API spells it; None when there is none."""
    info: Config | None = await _ask(bus, f"STREAM.INFO.{name}", or_none=True)
    return info


async def consumer_info(bus: Bus, stream: str, name: str) -> Config | None:
    """What the server says of a consumer; None when there is none."""
    info: Config | None = await _ask(bus, f"CONSUMER.INFO.{stream}.{name}", or_none=True)
    return info


async def account_info(bus: Bus) -> Config:
    """What the server says of our account: what is stored, and its limits."""
    info: Config = await _ask(bus, "INFO")
    return info


async def show(bus: Bus) -> list[str]:
    """One line for each stream, bucket and consumer the code knows, with what it holds or that it is missing."""
    lines = []
    for config in _stream_configs():
        info = await stream_info(bus, config["name"])
        if info is None:
            lines.append(f"{config['name']}: missing")
            continue
        state = info["state"]
        lines.append(
            f"{config['name']}: {info['config']['retention']}, {state['messages']} messages,"
            f" {state['bytes']} bytes, {state['consumer_count']} consumers"
        )
    for spec in CONSUMERS:
        info = await consumer_info(bus, spec.stream, spec.name)
        held = "missing"
        if info is not None:
            held = (
                f"{info['num_pending']} waiting, {info['num_ack_pending']} in work,"
                f" {info['num_redelivered']} again, {info['num_waiting']} pulls"
            )
        lines.append(f"{spec.stream}/{spec.name}: {held}")
    return lines


def _stream_configs() -> list[Config]:
    return (
        [stream_config(spec) for spec in STREAMS]
        + [bucket_config(bucket) for bucket in KV_BUCKETS]
        + [object_bucket_config(bucket) for bucket in OBJECT_BUCKETS]
    )


def stream_config(spec: StreamSpec) -> Config:
    """The part of a stream's configuration that is ours to say, as the JetStream API spells it."""
    return {
        "name": spec.name,
        "description": spec.description,
        "subjects": list(spec.subjects),
        "retention": spec.retention,
        "storage": "file",
        "max_age": _nanoseconds(spec.max_age_s),
        "max_msgs_per_subject": spec.max_msgs_per_subject or -1,
        "max_consumers": spec.max_consumers or -1,
        "discard": "new" if spec.discard_new_per_subject else "old",
        "discard_new_per_subject": spec.discard_new_per_subject,
        "duplicate_window": _nanoseconds(spec.duplicate_window_s),
        "allow_direct": spec.allow_direct,
        "allow_msg_schedules": spec.allow_schedules,
        "allow_msg_counter": spec.allow_counters,
    }


def bucket_config(spec: BucketSpec) -> Config:
    """The stream behind a KV bucket, as ADR-8 wants it, with a history of one.

    One, because an expired newer revision would let an older one rise again.
    """
    window_s = min(DEFAULT_DUPLICATE_WINDOW_S, spec.ttl_s or DEFAULT_DUPLICATE_WINDOW_S)
    return {
        "name": f"KV_{spec.name}",
        "description": f"{spec.description}; written by {spec.writer}",
        "subjects": [f"$KV.{spec.name}.>"],
        "retention": "limits",
        "storage": "file",
        "max_age": _nanoseconds(spec.ttl_s),
        "max_msgs_per_subject": 1,
        "discard": "new",
        "duplicate_window": _nanoseconds(window_s),
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": spec.entry_ttl,
        "deny_delete": True,
    }


def object_bucket_config(spec: ObjectBucketSpec) -> Config:
    """The stream behind an object bucket, as ADR-20 wants it."""
    return {
        "name": f"OBJ_{spec.name}",
        "description": spec.description,
        "subjects": [f"$O.{spec.name}.C.>", f"$O.{spec.name}.M.>"],
        "retention": "limits",
        "storage": "file",
        "max_age": _nanoseconds(spec.ttl_s),
        "discard": "new",
        "duplicate_window": _nanoseconds(DEFAULT_DUPLICATE_WINDOW_S),
        "allow_direct": True,
        "allow_rollup_hdrs": True,
    }


def consumer_config(spec: ConsumerSpec) -> Config:
    """A durable pull consumer that redelivers without end: attempts are counted, and given up, by us."""
    return {
        "durable_name": spec.name,
        "name": spec.name,
        "description": spec.description,
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "filter_subject": spec.filter_subject,
        "ack_wait": _nanoseconds(spec.ack_wait_s),
        "max_ack_pending": spec.max_ack_pending,
        "max_deliver": -1,
    }


async def _apply_stream(bus: Bus, wanted: Config) -> list[Change]:
    name = wanted["name"]
    info = await stream_info(bus, name)
    if info is None:
        await _ask(bus, f"STREAM.CREATE.{name}", wanted)
        return [Change(name, "created")]
    changes = _stream_changes(wanted, info)
    applied = {key: wanted[key] for change, key in changes if not change.is_conflict}
    if applied:
        await _ask(bus, f"STREAM.UPDATE.{name}", info["config"] | applied)
    return [change for change, _ in changes]


def _stream_changes(wanted: Config, info: Config | None) -> list[tuple[Change, str]]:
    """What differs, each with the name of the setting; conflicts first."""
    name = wanted["name"]
    if info is None:
        return [(Change(name, MISSING), "")]
    existing = info["config"]
    differing = {key: value for key, value in wanted.items() if not _same(existing.get(key), value)}
    conflicts = {key for key in differing if key in _FIXED or (key in _ONLY_ON and not differing[key])}
    changes = []
    for key in (*sorted(conflicts), *(key for key in differing if key not in conflicts)):
        text = _difference(key, existing.get(key), differing[key])
        if key in conflicts:
            changes.append((Change(name, f"{text}, which cannot be changed", True), key))
        else:
            changes.append((Change(name, text), key))
    return changes


async def _apply_consumer(bus: Bus, spec: ConsumerSpec) -> list[Change]:
    info = await consumer_info(bus, spec.stream, spec.name)
    changes = _consumer_changes(spec, info)
    if not changes:
        return []
    config = (info["config"] if info else {}) | consumer_config(spec)
    await _ask(bus, f"CONSUMER.CREATE.{spec.stream}.{spec.name}", {"stream_name": spec.stream, "config": config})
    return changes if info else [Change(changes[0].what, "created")]


def _consumer_changes(spec: ConsumerSpec, info: Config | None) -> list[Change]:
    what = f"{spec.stream}/{spec.name}"
    if info is None:
        return [Change(what, MISSING)]
    existing = info["config"]
    return [
        Change(what, _difference(key, existing.get(key), value))
        for key, value in consumer_config(spec).items()
        if not _same(existing.get(key), value)
    ]


def _same(existing: Any, wanted: Any) -> bool:
    # The server leaves out what is zero, false or empty.
    return existing == wanted or (existing is None and not wanted)


def _difference(key: str, existing: Any, wanted: Any) -> str:
    return f"{key} {existing} -> {wanted}"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


async def _ask(bus: Bus, what: str, body: Config | None = None, *, or_none: bool = False) -> Any:
    """One JetStream API request; with `or_none`, None when there is no such stream or consumer."""
    payload = msgspec.json.encode(body) if body is not None else b""
    answer = msgspec.json.decode(await bus.request(f"$JS.API.{what}", payload, API_TIMEOUT_S))
    error = answer.get("error")
    if error is None:
        return answer
    if or_none and error.get("err_code") in NOT_FOUND:
        return None
    raise PublishRefused(error.get("err_code", 0), f"{what}: {error.get('description', '')}")
