"""Webhooks in the words of each gateway, byte for byte as recorded; and of whatever happens, bodies that are taken."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kurir.contracts import events, states
from kurir.contracts.content import (
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    Location,
    Media,
    MessageKey,
    Poll,
    Reaction,
    Revoke,
    Text,
    Unsupported,
)
from kurir.contracts.records import PayloadOptions
from kurir.contracts.records import PayloadShape as ShapeName
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload
from kurir.dialects.event_patterns import is_event_pattern, names_wanted, tellings
from kurir.dialects.shapes import SHAPES
from tests.contract.dialects.test_payloads_survive_javascript import through_node

EXAMPLES = Path(__file__).parents[2] / "examples" / "dialects"
RECORDED = [
    pytest.param(path.parent.name, path, id=f"{path.parent.name}/{path.stem}")
    for path in sorted(EXAMPLES.glob("*/webhook-*.json"))
]
WITH_WORDS: list[ShapeName] = [name for name, shape in SHAPES.items() if shape.names is not None]
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def media_url(media: Media) -> str | None:
    return "https://kurir.example/media/" + media.object.partition("/")[2] if media.object else None


class Example(msgspec.Struct, frozen=True):
    """A native event, who is told of it, and what the dialect says."""

    type: str
    event: msgspec.Raw
    context: dict[str, Any]
    told_as: str
    body: msgspec.Raw

    def told(self, shape: ShapeName) -> Payload:
        given = self.context | {"options": msgspec.convert(self.context["options"], PayloadOptions)}
        context = Context(media_url=media_url, **given)
        return SHAPES[shape].payload(self.type, self.event, context, self.told_as)


def example(path: Path) -> Example:
    return msgspec.json.decode(path.read_bytes(), type=Example)


@pytest.mark.parametrize(("shape", "path"), RECORDED)
def test_a_body_is_what_was_recorded(shape: ShapeName, path: Path) -> None:
    recorded = example(path)
    told = recorded.told(shape)
    assert told.event == recorded.told_as
    assert told.body.decode() == json.dumps(
        msgspec.json.decode(recorded.body), ensure_ascii=False, separators=(",", ":")
    )
    assert recorded.told(shape) == told
    assert recorded.told_as in SHAPES[shape].told_as(recorded.type, recorded.event)


@pytest.mark.parametrize("shape", WITH_WORDS)
def test_there_is_a_recorded_body_of_every_name(shape: ShapeName) -> None:
    names = {name for group in (SHAPES[shape].names or {}).values() for name in group}
    recorded = [example(path).told_as for path in sorted((EXAMPLES / shape).glob("webhook-*.json"))]
    assert set(recorded) == names


def test_the_statuses_of_the_document_are_told_with_the_id_of_the_message() -> None:
    said = {
        word: msgspec.json.decode(example(EXAMPLES / "evolution" / f"webhook-send.message.status-{word}.json").body)[
            "data"
        ]
        for word in ("sent", "failed", "retry")
    }
    assert {word: data["status"] for word, data in said.items()} == {word: word for word in said}
    assert said["failed"]["error"]["code"] == "NUMBER_NOT_ON_WHATSAPP"
    assert len({data["messageId"] for data in said.values()}) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("baileys_gateway/webhook-message_status", "2026-03-02 12:00:00"),
        ("rk_connect/webhook-message.status-delivered", "2026-03-02T12:00:00+00:00"),
    ],
)
def test_times_are_those_of_the_tenant_s_zone(name: str, told: str) -> None:
    recorded = example(EXAMPLES / f"{name}.json")
    context = Context(media_url=media_url, zone=UTC)
    shape: Any = name.partition("/")[0]
    said = SHAPES[shape].payload(recorded.type, recorded.event, context, recorded.told_as)
    assert told in said.body.decode()


# --- who asks for what


@pytest.mark.parametrize(
    ("shape", "patterns", "type_", "names"),
    [
        ("evolution", ("MESSAGES_UPSERT",), "messages.upsert", ("messages.upsert",)),
        ("evolution", ("SEND_MESSAGE",), "send.message.status", ("send.message",)),
        ("evolution", ("SEND_MESSAGE_STATUS",), "send.message.status", ("send.message.status",)),
        ("evolution", ("GROUP_UPDATE",), "groups.update", ("groups.update",)),
        ("evolution", ("GROUPS_*",), "groups.update", ("groups.update",)),
        ("evolution", ("CONNECTION_UPDATE",), "messages.upsert", ()),
        ("evolution", (), "presence.update", ("presence.update",)),
        ("evolution", ("*",), "call.update", ("call",)),
        ("evolution", (), "endpoint.failing", ()),
        ("evolution", (), "send.message.queued", ()),
        ("evolution", ("call.update",), "call.update", ("call",)),
        ("fonnte", ("incoming",), "messages.upsert", ("incoming",)),
        ("fonnte", ("incoming",), "send.message.status", ()),
        ("fonnte", ("message.received",), "messages.upsert", ("incoming",)),
        ("baileys_gateway", (), "groups.update", ()),
        ("rk_connect", ("message.status",), "send.message.status", ("message.status",)),
        ("native", ("*",), "groups.update", (None,)),
        ("native", (), "groups.update", ()),
        ("device_gateway", ("message.received",), "messages.upsert", (None,)),
    ],
)
def test_events_are_asked_for_in_the_words_of_the_dialect(
    shape: ShapeName, patterns: tuple[str, ...], type_: str, names: tuple[str | None, ...]
) -> None:
    assert names_wanted(shape, patterns, type_) == names


def test_a_word_of_another_dialect_is_no_event() -> None:
    assert is_event_pattern("MESSAGES_UPSERT", "evolution")
    assert is_event_pattern("GROUP_UPDATE", "evolution")
    assert not is_event_pattern("MESSAGES_UPSERT", "fonnte")
    assert not is_event_pattern("MESSAGES_UPSERT")
    assert is_event_pattern("incoming", "fonnte")
    assert not is_event_pattern("incoming")
    assert all(is_event_pattern("messages.upsert", shape) for shape in SHAPES)


# --- whatever happens

SHORT = st.text(min_size=1, max_size=40)
TEXTS = SHORT | st.characters(codec="utf-8").map(lambda character: character * 65_000)
JIDS = st.from_regex(r"[0-9]{8,15}(:[0-9])?@(s\.whatsapp\.net|lid|g\.us)", fullmatch=True)
ADDRESSES = st.builds(Address, jid=JIDS, pn=st.none() | JIDS, lid=st.none() | JIDS)
KEYS = st.builds(MessageKey, chat=JIDS, whatsapp_id=st.text(max_size=20), participant=st.none() | JIDS)
SIZES = st.integers(0, 2**31)
MEDIA = st.builds(
    Media, object=st.sampled_from(["", "t1/m1"]), mimetype=TEXTS, size=SIZES, sha256=TEXTS, file_name=TEXTS
)
DEGREES = st.floats(-90, 90)
CARDS = st.builds(ContactCard, name=TEXTS, phones=st.lists(st.text(max_size=15), max_size=3).map(tuple), email=TEXTS)
CONTENTS: st.SearchStrategy[Content] = st.one_of(
    st.builds(Text, text=TEXTS),
    st.builds(Image, media=MEDIA, caption=st.none() | TEXTS),
    st.builds(Audio, media=MEDIA),
    st.builds(Document, media=MEDIA, caption=TEXTS),
    st.builds(Location, latitude=DEGREES, longitude=DEGREES, name=st.none() | TEXTS),
    st.builds(Contact, contacts=st.lists(CARDS, min_size=1, max_size=4).map(tuple)),
    st.builds(Poll, question=SHORT, options=st.lists(TEXTS, min_size=2, max_size=12).map(tuple)),
    st.builds(Reaction, target=KEYS, emoji=TEXTS),
    st.builds(Edit, target=KEYS, text=TEXTS),
    st.builds(Revoke, target=KEYS),
    st.builds(Unsupported, whatsapp_type=st.text(min_size=1, max_size=30)),
)
HEAD: dict[str, Any] = {"id": st.just("e1"), "tenant": st.just("t1"), "device": st.just("d1")}
HEAD["at"] = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
REASONS = st.none() | st.sampled_from(sorted(states.SENTENCES))
EVENTS = st.one_of(
    st.builds(
        events.MessageUpserted,
        **HEAD,
        message_id=st.sampled_from(["m1", "in" + "0f" * 16]),
        whatsapp_id=st.text(max_size=24),
        chat=ADDRESSES,
        sender=ADDRESSES,
        content=CONTENTS,
        sent_at=HEAD["at"],
        from_me=st.booleans(),
        is_group=st.booleans(),
        push_name=st.none() | TEXTS,
        mentions=st.lists(JIDS, max_size=3).map(tuple),
    ),
    st.builds(
        events.MessageStatusChanged,
        **HEAD,
        message_id=st.just("m1"),
        to=JIDS,
        status=st.sampled_from(sorted(states.FINAL_STATUSES | {"sent", "undelivered", "retrying"})),
        whatsapp_id=st.none() | st.text(max_size=24),
        reason=REASONS,
        detail=st.none() | TEXTS,
        recipient=st.none() | ADDRESSES,
        content=st.none() | CONTENTS,
    ),
    st.builds(
        events.ConnectionUpdate,
        **HEAD,
        state=st.sampled_from(["disconnected", "connecting", "qr", "pairing_code", "connected", "logged_out"]),
        reason=REASONS,
        qr=st.none() | st.just("2@abc"),
        push_name=st.none() | TEXTS,
        jid=st.none() | JIDS,
    ),
    st.builds(events.GroupUpdated, **HEAD, chat=ADDRESSES, subject=st.none() | TEXTS, description=st.none() | TEXTS),
    st.builds(events.PresenceUpdated, **HEAD, chat=ADDRESSES, sender=ADDRESSES, presence=st.just("composing")),
)


def told(shape: ShapeName, event: events.Event, version: Any = "v1") -> list[Payload]:
    type_, body = events.type_of(event), events.encode(event)
    context = Context(media_url=media_url, destination="https://hook.example", options=PayloadOptions(version=version))
    return [SHAPES[shape].payload(type_, body, context, name) for name in tellings(shape, (type_,), type_, body)]


@settings(
    max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(EVENTS, st.sampled_from(sorted(SHAPES)), st.sampled_from(["v1", "v2"]))
def test_any_event_gives_bodies_that_receivers_take(event: events.Event, shape: ShapeName, version: str) -> None:
    for payload in told(shape, event, version):
        assert len(payload.body) <= MAX_BODY_BYTES
        assert isinstance(json.loads(payload.body), dict)
    assert told(shape, event, version) == told(shape, event, version)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENTS, min_size=20, max_size=40))
def test_any_body_of_the_device_api_comes_out_of_javascript_as_it_went_in(happened: list[events.Event]) -> None:
    bodies = [payload.body for event in happened for payload in told("device_gateway", event)]
    assert through_node(bodies) == bodies


def test_a_file_in_the_body_is_beyond_the_bound_and_is_never_cut() -> None:
    file = "QUJD" * 100_000
    event = events.MessageUpserted(
        id="e1",
        tenant="t1",
        device="d1",
        at=AT,
        message_id="m1",
        whatsapp_id="3EB0",
        chat=Address(jid="628@s.whatsapp.net"),
        sender=Address(jid="628@s.whatsapp.net"),
        content=Image(media=Media(object="t1/m1", mimetype="image/png", size=9, sha256=""), caption="é" * 120_000),
        sent_at=AT,
    )
    context = Context(media_url=media_url, file=file)
    body = SHAPES["evolution"].payload("messages.upsert", events.encode(event), context, "messages.upsert").body
    said = json.loads(body)
    assert said["data"]["message"]["base64"] == file
    assert said["truncated"] is True
    assert len(body) <= MAX_BODY_BYTES + len(file)
