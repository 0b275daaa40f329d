"""What an outcome means for a message, decided without a broker."""

import msgspec
import pytest

from kurir.runtime.broker import BacklogFull, BrokerUnavailable, PublishRefused
from kurir.runtime.settlement import (
    MAX_DELIVERIES,
    Again,
    Done,
    GivenUp,
    Rejected,
    Retry,
    dead_subject,
    delay_after,
    fate_of,
)


def test_a_handler_that_returns_is_done() -> None:
    assert fate_of(None, 1) == Done()


def test_a_retry_is_never_given_up() -> None:
    assert fate_of(Retry(7.5, "busy"), 1_000) == Again(7.5, "busy")


def test_a_broker_that_is_away_is_no_fault_of_the_message() -> None:
    assert isinstance(fate_of(BrokerUnavailable("away", outcome_unknown=True), 1_000), Again)


def test_a_rejected_message_is_given_up_at_once() -> None:
    fate = fate_of(Rejected("INVALID_RECIPIENT", "no digits"), 1)
    assert isinstance(fate, GivenUp)
    assert fate.rejected.code == "INVALID_RECIPIENT"


@pytest.mark.parametrize("data", [b"{}", b"no json", b'{"n": "x"}'])
def test_a_message_that_cannot_be_decoded_is_given_up_at_once(data: bytes) -> None:
    class Body(msgspec.Struct):
        n: int

    with pytest.raises(msgspec.DecodeError) as failed:
        msgspec.json.decode(data, type=Body)
    fate = fate_of(failed.value, 1)
    assert isinstance(fate, GivenUp)
    assert fate.rejected.code == "VALIDATION_ERROR"


@pytest.mark.parametrize("error", [KeyError("bug"), PublishRefused(1, "x"), BacklogFull(10077, "x")])
def test_an_unexplained_error_is_tried_later_and_later_and_then_given_up(error: Exception) -> None:
    fates = [fate_of(error, attempt) for attempt in range(1, MAX_DELIVERIES + 1)]
    delays = [fate.delay_s for fate in fates[:-1] if isinstance(fate, Again)]
    assert len(delays) == MAX_DELIVERIES - 1
    assert delays == sorted(delays)
    assert isinstance(fates[-1], GivenUp)


def test_delays_grow_to_a_minute_and_no_further() -> None:
    assert [delay_after(n) for n in (1, 2, 3, 8, 100_000)] == [0.5, 1, 2, 60, 60]


@pytest.mark.parametrize(
    ("subject", "data", "expected"),
    [
        ("kurir.cmd.3.t1.d1.send", b"", "kurir.dead.s.t1.d1"),
        ("kurir.evt.t1.d1.messages.upsert", b"", "kurir.dead.s.t1.d1"),
        ("kurir.aud.t1.key.rotated", b"", "kurir.dead.s.t1.rotated"),
        ("kurir.dlv.3.e1", b'{"tenant":"t1"}', "kurir.dead.s.t1.e1"),
        ("kurir.dlv.3.e1", b'{"tenant":"no token"}', "kurir.dead.s.unknown.e1"),
        ("kurir.due.send", b"\xff", "kurir.dead.s.unknown.send"),
    ],
)
def test_the_dead_are_filed_by_tenant(subject: str, data: bytes, expected: str) -> None:
    assert dead_subject("S", subject, data) == expected
