"""The contract between services, and with everyone who subscribes."""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from kurir.contracts import asyncapi, commands, errors, events, ids, queries, states, streams, subjects
from kurir.contracts.channels import CHANNELS, Channel

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDED = [
    pytest.param(channel.message, path, id=f"{channel.name}/{path.stem}")
    for channel in CHANNELS
    for path in sorted((EXAMPLES / channel.name).glob("*.json"))
] + [
    pytest.param(channel.reply, path, id=f"{channel.name}/reply/{path.stem}")
    for channel in CHANNELS
    for path in sorted((EXAMPLES / channel.name / "reply").glob("*.json"))
]


@pytest.mark.parametrize(("type_", "path"), RECORDED)
def test_every_recorded_message_still_decodes_and_loses_nothing(type_: Any, path: Path) -> None:
    recorded = path.read_bytes()
    decoded = msgspec.json.decode(recorded, type=type_)
    assert _contains(json.loads(msgspec.json.encode(decoded)), json.loads(recorded))


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_channel_has_a_recorded_example(channel: Channel) -> None:
    assert list((EXAMPLES / channel.name).glob("*.json"))


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_channel_of_a_stream_has_a_subject_that_the_stream_keeps(channel: Channel) -> None:
    if channel.stream is not None:
        prefix = ".".join(channel.subject.split(".")[:2]) + ".>"
        assert prefix in channel.stream.subjects


@pytest.mark.parametrize("method", queries.METHODS.values(), ids=lambda method: method.name)
def test_every_recorded_answer_is_the_body_that_its_method_promises(method: queries.Method) -> None:
    folder = EXAMPLES / f"rpc.{method.name}"
    question = queries.decode_question(method.name, (folder / "01.json").read_bytes())
    recorded = (folder / "reply" / "01.json").read_bytes()
    answer = queries.decode_reply(question, recorded)
    assert isinstance(answer, method.answer)
    assert _contains(json.loads(msgspec.json.encode(answer)), json.loads(recorded)["body"])
    assert get_args(vars(method.question)["__orig_bases__"][0]) == (method.answer,)


def test_a_message_with_fields_of_a_newer_version_decodes() -> None:
    recorded = json.loads((EXAMPLES / "send.message.status" / "01.json").read_bytes())
    decoded = events.decode("send.message.status", json.dumps(recorded | {"mood": "bright"}).encode())
    assert isinstance(decoded, events.MessageStatusChanged)


def test_an_event_of_an_unknown_type_is_readable_by_its_head() -> None:
    recorded = json.loads((EXAMPLES / "send.message.status" / "01.json").read_bytes()) | {"type": "call.offer"}
    body = json.dumps(recorded).encode()
    assert events.decode("call.offer", body) is None
    assert events.decode_head(body).type == "call.offer"


def test_ids_of_one_process_grow_strictly_and_tell_their_time() -> None:
    made = [ids.uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert abs((ids.created_at_ms(made[-1]) or 0) - time.time() * 1000) < 10_000
    assert ids.created_at_ms("cmosh123abc") is None


def test_a_forked_process_makes_ids_of_its_own() -> None:
    ids.uuid7()  # so that there is something that both could go on with
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.uuid7().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 36
    assert theirs[19:] != ids.uuid7()[19:], "the random part differs"


def test_what_happened_once_has_one_id_of_its_time() -> None:
    one = ids.uuid7_of(1_795_260_000_123, "about call", "c1")
    assert one == ids.uuid7_of(1_795_260_000_123, "about call", "c1")
    assert ids.created_at_ms(one) == 1_795_260_000_123
    assert len({one, ids.uuid7_of(1_795_260_000_123, "about call", "c2"), ids.uuid7_of(1, "about call", "c1")}) == 3
    assert uuid.UUID(one).variant == uuid.RFC_4122


def test_short_ids_are_subject_tokens_and_differ() -> None:
    made = {ids.short_id("c") for _ in range(5_000)}
    assert len(made) == 5_000
    assert all(ids.is_token(one) and len(one) == 25 for one in made)


def test_the_same_fact_gets_the_same_id_and_another_reader_another() -> None:
    assert ids.status_event_id("m", "read", "1@lid") == ids.status_event_id("m", "read", "1@lid")
    assert ids.status_event_id("m", "read", "1@lid") != ids.status_event_id("m", "read", "2@lid")
    assert "." not in ids.status_event_id("m", "read", "a.b@s.whatsapp.net")


def test_a_status_reported_late_never_replaces_a_further_one() -> None:
    assert states.furthest(["queued", "sending", "read", "delivered", "sent"]) == "read"
    assert states.furthest(["queued", "sending", "unknown", "delivered"]) == "delivered"
    assert states.furthest(["queued", "sending", "failed"]) == "failed"
    assert states.furthest(["sent", "undelivered"]) == "undelivered"
    assert states.furthest(["delivered", "sent", "undelivered"]) == "delivered"


def test_every_reason_and_every_error_has_a_sentence() -> None:
    assert set(states.SENTENCES) == set(states.Reason.__args__)  # type: ignore[attr-defined]
    assert set(errors.ERRORS) == set(errors.ErrorCode.__args__)  # type: ignore[attr-defined]
    assert all(text.endswith(".") for text in states.SENTENCES.values())


def test_subjects_are_taken_apart_as_they_were_put_together() -> None:
    assert subjects.parse_event(subjects.event("t", "d", "messages.upsert")) == ("t", "d", "messages.upsert")
    assert subjects.parse_command(subjects.command(7, "t", "d", "send")) == (7, "t", "d", "send")
    assert subjects.command_key(subjects.command(7, "t", "d", "send")) == "d"
    assert subjects.command_key(subjects.command_lane(7, "d~high")) == "d~high"
    assert subjects.command_key(subjects.command(7, "t", "d", "control")) not in subjects.send_queues("d")
    assert subjects.delivery_key(subjects.delivery(3, "w")) == subjects.delivery_key(subjects.delivery_lane(3, "w"))
    with pytest.raises(ValueError, match="not an event subject"):
        subjects.parse_event("kurir.cmd.1.t.d.send")


@pytest.mark.parametrize(
    ("subject", "label"),
    [
        (subjects.command(7, "t1", "d1", "send-high"), "cmd.*.send-high"),
        (subjects.event("t1", "d1", "messages.upsert"), "evt.*.messages.upsert"),
        (subjects.delivery(1, "w1"), "dlv.*"),
        (subjects.delivery_retry("w1", "e:w1"), "dlvretry.*"),
        (subjects.counter("messages", "t1", "d1", 60), "count.*.messages"),
        (subjects.rpc(3, "groups.members.change"), "rpc.*.groups.members.change"),
        ("$KV.devices.t.d", "other"),
    ],
)
def test_a_subject_family_holds_no_ids(subject: str, label: str) -> None:
    assert subjects.family(subject) == label


def test_work_queue_consumers_of_a_stream_never_overlap() -> None:
    for stream in streams.STREAMS:
        if stream.retention == "workqueue":
            filters = [c.filter_subject for c in streams.CONSUMERS if c.stream == stream.name]
            assert len(filters) == len(set(filters))
            assert all(not f.startswith(("kurir.dlvretry", "kurir.later")) for f in filters)


def test_a_stream_with_schedules_has_no_limit_that_would_drop_one() -> None:
    for stream in streams.STREAMS:
        if stream.allow_schedules:
            assert (stream.max_age_s, stream.max_msgs_per_subject, stream.discard_new_per_subject) == (0, 0, False)


def test_a_command_goes_to_the_subject_of_its_priority() -> None:
    command = commands.decode((EXAMPLES / "command" / "11.json").read_bytes())
    assert commands.kind_of(command) == "send-high"
    assert set(commands.KINDS) >= {commands.kind_of(command)}


def test_the_asyncapi_document_refers_only_to_what_it_defines() -> None:
    document = asyncapi.document("0.0.0")
    for ref in _refs(document):
        node: Any = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _refs(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _refs(value)]
    return []


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(_contains(w, p) for w, p in zip(whole, part, strict=True))
    return bool(whole == part)
