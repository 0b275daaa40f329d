"""Samples of events are what real ones are."""

from datetime import UTC, datetime

import msgspec
import pytest

from kurir.contracts import events
from kurir.contracts.events import EVENT_TYPES
from kurir.dialects import samples
from kurir.dialects.dialect import Context
from kurir.dialects.shapes import SHAPES

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(samples.NAMES))
def test_there_is_a_sample_of_every_event_and_every_dialect_can_tell_it(name: str) -> None:
    event = samples.sample(name, id="test_1", tenant="t1", device=None, at=NOW)
    type_, body = events.type_of(event), events.encode(event)
    if name != samples.PING:
        assert msgspec.json.decode(body, type=EVENT_TYPES[type_]) == event
    for shape in SHAPES.values():
        told = msgspec.json.decode(shape.payload(type_, body, Context(media_url=lambda _: None)).body)
        assert told.get("data") or told["device"]


def test_a_sample_is_of_the_device_that_is_asked_for() -> None:
    assert samples.sample("message.received", id="1", tenant="t1", device="d1", at=NOW).device == "d1"
    assert samples.sample("message.received", id="1", tenant="t1", device=None, at=NOW).device == samples.SAMPLE_DEVICE
