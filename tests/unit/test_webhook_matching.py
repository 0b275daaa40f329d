"""Which endpoints want an event."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.contracts.records import Endpoint
from kurir.webhook_dispatcher.matching import interested, wants_type

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


def test_only_active_endpoints_of_the_device_hear_of_it() -> None:
    every_device, this_one, another, inactive = (
        an_endpoint(id="all"),
        an_endpoint(id="this", device="d1"),
        an_endpoint(id="other", device="d2"),
        an_endpoint(id="off", active=False),
    )
    found = interested([every_device, this_one, another, inactive], "d1", "messages.upsert")
    assert [endpoint.id for endpoint in found] == ["all", "this"]
