"""What to do next about a device: what is wanted against what is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kurir.contracts.records import Device
from kurir.session_node.desired import LONGEST_PAUSE_S, Standing, next_step, retry_pause_s

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_device(**known: Any) -> Device:
    facts: dict[str, Any] = {"wanted": "connected", "connect_generation": 1} | known
    return Device(id="d", tenant="t", name="n", engine="sandbox", created_at=AT, updated_at=AT, **facts)


def step(device: Device | None, now: float = 100.0, **known: Any) -> str:
    return next_step(device, Standing(**({"generation": 1} | known)), now, AT)[0]


def test_a_device_that_is_wanted_is_opened_whatever_its_last_owner_said() -> None:
    for state in ("disconnected", "connecting", "qr", "connected"):
        assert step(a_device(), state=state) == "open"


def test_what_whatsapp_ended_waits_for_the_tenant() -> None:
    for state in ("logged_out", "replaced", "outdated", "passkey_required", "banned"):
        assert step(a_device(), state=state) == "rest"
        assert step(a_device(connect_generation=2), state=state) == "open"


def test_a_qr_code_that_ran_out_is_not_replaced_by_itself() -> None:
    assert step(a_device(), state="disconnected", reason="qr_timeout") == "rest"
    assert step(a_device(connect_generation=2), state="disconnected", reason="qr_timeout") == "open"


def test_a_ban_with_an_end_is_waited_out() -> None:
    until = AT + timedelta(seconds=60)
    assert next_step(a_device(), Standing(state="banned", banned_until=until, generation=1), 0, AT) == ("rest", 60.0)
    assert step(a_device(), state="banned", banned_until=AT) == "open"


def test_a_lost_connection_is_made_anew_after_its_pause() -> None:
    lost: dict[str, Any] = {"state": "disconnected", "reason": "connection_lost", "retry_at": 130.0}
    assert next_step(a_device(), Standing(generation=1, is_open=True, **lost), 100, AT) == ("rest", 30.0)
    assert step(a_device(), now=130, is_open=True, **lost) == "reopen"
    assert step(a_device(), now=100, **lost) == "rest"
    assert step(a_device(), now=130, **lost) == "open"


def test_a_fresh_connect_does_not_cut_a_connection_that_is_there() -> None:
    assert step(a_device(connect_generation=2), is_open=True, state="connected") == "adopt"
    assert step(a_device(connect_generation=2), is_open=True, state="qr") == "reopen"


def test_a_fresh_connect_does_not_wait_for_the_pause_of_a_lost_one() -> None:
    assert step(a_device(connect_generation=2), state="disconnected", retry_at=1e9) == "open"


def test_an_unwanted_device_is_closed_once() -> None:
    unwanted = a_device(wanted="disconnected")
    assert step(unwanted, is_open=True, state="connected") == "close"
    assert step(unwanted, state="connected") == "close"  # its last owner died without saying so
    assert step(unwanted, state="disconnected", reason="requested") == "rest"
    assert step(unwanted, state="logged_out") == "rest"


def test_an_engine_session_that_is_over_is_put_away_without_changing_what_is_known() -> None:
    assert step(a_device(), is_open=True, has_ended=True, state="logged_out") == "discard"
    assert step(a_device(wanted="disconnected"), is_open=True, has_ended=True, state="logged_out") == "discard"


def test_a_device_whose_events_cannot_be_stored_stops_listening_until_they_are() -> None:
    assert step(a_device(), is_open=True, is_choked=True, state="connected") == "discard"
    assert step(a_device(), is_choked=True) == "rest"


def test_a_device_that_is_wanted_again_after_a_wanted_disconnect_is_opened() -> None:
    assert step(a_device(), state="disconnected", reason="requested") == "open"


def test_a_deleted_device_is_forgotten() -> None:
    assert step(None, is_open=True, state="connected") == "forget"


def test_pauses_grow_to_a_limit() -> None:
    pauses = [retry_pause_s(n, jitter=0.5) for n in range(1, 12)]
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S)
    assert 1.6 <= retry_pause_s(1) <= 2.4
