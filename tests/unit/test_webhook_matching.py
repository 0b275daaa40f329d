"""Which endpoints want an event."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kurir.contracts import events, subjects
from kurir.contracts.content import Address, Media, Text
from kurir.contracts.events import EVENT_TYPES
from kurir.contracts.records import Endpoint, EventFilter
from kurir.dialects.event_patterns import is_event_pattern, wants_type
from kurir.webhook_dispatcher.matching import hears, interested

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def an_endpoint(**fields: Any) -> Endpoint:
    return Endpoint(
        **{"id": "we1", "tenant": "t1", "url": "https://a.example/", "created_at": NOW, "updated_at": NOW, **fields}
    )


@pytest.mark.parametrize(
    ("patterns", "type_"),
    [
        (("messages.upsert",), "messages.upsert"),
        (("message.received",), "messages.upsert"),
        (("message.status",), "send.message.status"),
        (("device.status",), "connection.update"),
        (("send.message.*",), "send.message.status"),
        (("messages.*", "connection.*"), "connection.update"),
        (("*",), "messages.upsert"),
        (("*",), "a.type.that.is.new"),
        (("*.update",), "connection.update"),
        (("message.*",), "messages.upsert"),
    ],
)
def test_a_pattern_asks_for_a_type(patterns: tuple[str, ...], type_: str) -> None:
    assert wants_type(patterns, type_)


@pytest.mark.parametrize(
    ("patterns", "type_"),
    [
        ((), "messages.upsert"),
        (("messages",), "messages.upsert"),
        (("messages.upsert",), "messages.upsert.more"),
        (("message.status",), "messages.upsert"),
        (("messages.upser?", "messages.upser[t]"), "messages.upsert"),
        (("MESSAGES.UPSERT",), "messages.upsert"),
    ],
)
def test_and_for_no_other(patterns: tuple[str, ...], type_: str) -> None:
    assert not wants_type(patterns, type_)


@pytest.mark.parametrize("type_", ["send.message.queued", "send.message.sending"])
def test_that_a_message_is_under_way_is_told_only_to_those_who_ask_by_name(type_: str) -> None:
    assert wants_type((type_,), type_)
    assert wants_type(("send.message.*",), type_)
    assert not wants_type(("*", "message.status", "send.*", "send.message.status"), type_)


def test_presence_is_told_only_to_those_who_ask_by_name() -> None:
    assert wants_type(("presence.update",), "presence.update")
    assert wants_type(("presence.*",), "presence.update")
    assert not wants_type(("*", "*.update", "connection.update"), "presence.update")


def test_every_event_type_can_be_asked_for_by_name() -> None:
    assert all(is_event_pattern(type_) and wants_type((type_,), type_) for type_ in EVENT_TYPES)


def test_only_active_endpoints_of_the_device_hear_of_it() -> None:
    every_device, this_one, another, inactive = (
        an_endpoint(id="all"),
        an_endpoint(id="this", device="d1"),
        an_endpoint(id="other", device="d2"),
        an_endpoint(id="off", active=False),
    )
    found = interested([every_device, this_one, another, inactive], "d1", "messages.upsert")
    assert [endpoint.id for endpoint in found] == ["all", "this"]


def test_a_filter_names_devices() -> None:
    two, none = an_endpoint(id="two", filter=EventFilter(devices=("d1", "d2"))), an_endpoint(id="none")
    assert interested([two, none], "d2", "messages.upsert") == [two, none]
    assert interested([two, none], "d3", "messages.upsert") == [none]
    assert interested([two, none], subjects.NO_DEVICE, "endpoint.failing") == [two, none]


ALICE = Address(jid="123@lid", pn="628111@s.whatsapp.net", lid="123@lid")
SAID: dict[str, Any] = {"id": "e1", "tenant": "t1", "device": "d1", "at": NOW, "message_id": "m1"}
RECEIVED = events.MessageUpserted(
    **SAID, whatsapp_id="3EB0", chat=ALICE, sender=ALICE, content=Text(text="Halo"), sent_at=NOW
)
WRITTEN_ON_THE_PHONE = msgspec.structs.replace(RECEIVED, from_me=True)
FILE_MISSING = events.MediaFailed(
    **SAID,
    whatsapp_id="3EB0",
    chat=ALICE,
    sender=ALICE,
    media=Media(object="", mimetype="image/png", size=1, sha256=""),
    reason="expired",
)
STATUS = events.MessageStatusChanged(**SAID, status="sent", to="628111@s.whatsapp.net")
CONNECTED = events.ConnectionUpdate(id="e2", tenant="t1", device="d1", at=NOW, state="connected")
ALL = {
    "received": RECEIVED,
    "written": WRITTEN_ON_THE_PHONE,
    "missing": FILE_MISSING,
    "status": STATUS,
    "connected": CONNECTED,
}


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (EventFilter(direction="in"), {"received", "missing", "connected"}),
        (EventFilter(direction="out"), {"written", "status", "connected"}),
        (EventFilter(from_me=True), {"written", "missing", "status", "connected"}),
        (EventFilter(from_me=False), {"received", "missing", "status", "connected"}),
        (EventFilter(chats=("628111@s.whatsapp.net",)), set(ALL)),
        (EventFilter(chats=("123@lid", "9@g.us")), {"received", "written", "missing", "connected"}),
        (EventFilter(chats=("628112@s.whatsapp.net",)), {"connected"}),
        (EventFilter(groups=False), set(ALL)),
        (EventFilter(groups=True), {"connected"}),
        (
            EventFilter(chats=("628111@s.whatsapp.net",), direction="in", from_me=False),
            {"received", "missing", "connected"},
        ),
    ],
)
def test_a_filter_looks_at_chat_direction_and_writer(filter: EventFilter, expected: set[str]) -> None:
    endpoint = an_endpoint(filter=filter)
    assert {
        name for name, event in ALL.items() if hears(endpoint, events.type_of(event), events.encode(event))
    } == expected


def test_a_filter_keeps_groups_away_or_hears_of_them_alone() -> None:
    office = Address(jid="120363025246125486@g.us")
    in_group = msgspec.structs.replace(RECEIVED, chat=office)
    for wanted in (True, False):
        endpoint = an_endpoint(filter=EventFilter(groups=wanted))
        assert hears(endpoint, "messages.upsert", events.encode(in_group)) is wanted
        assert hears(endpoint, "messages.upsert", events.encode(RECEIVED)) is not wanted


def test_an_endpoint_hears_of_others_and_never_of_itself() -> None:
    event = events.EndpointRecovered(
        id="a-recovered-1", tenant="t1", device=subjects.NO_DEVICE, at=NOW, endpoint="a", host="example.com"
    )
    heard = [one for one in ("a", "b") if hears(an_endpoint(id=one), "endpoint.recovered", events.encode(event))]
    assert heard == ["b"]


def test_an_event_that_cannot_be_read_is_rather_sent_than_lost() -> None:
    endpoint = an_endpoint(filter=EventFilter(chats=("1@g.us",)))
    assert hears(endpoint, "a.type.that.is.new", b'{"chat":"of another form"}')
    assert hears(endpoint, "endpoint.failing", b'{"endpoint":{"of":"another form"}}')
