"""What a caller is told to do about a device that is not connected."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.api.devices.offline import not_connected
from kurir.contracts.records import Session
from kurir.contracts.states import ConnectionState

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "known", "says"),
    [
        ("disconnected", {"reason": "requested"}, "; connect it first."),
        ("disconnected", {"reason": "qr_timeout"}, "connect again for a new one."),
        ("disconnected", {"reason": "connection_lost"}, "it is being restored."),
        ("connecting", {}, "ask again when it is CONNECTED."),
        ("qr", {}, "scan its QR code first."),
        ("logged_out", {"reason": "requested"}, "pair it again by QR or phone code."),
        ("logged_out", {"reason": "device_logged_out"}, "pair it again by QR or phone code."),
        ("banned", {"reason": "device_banned"}, "have the ban lifted, then connect it again."),
        (
            "banned",
            {"reason": "device_banned", "banned_until": NOW},
            "until 2026-11-20T09:30:00+00:00; it connects again",
        ),
        ("outdated", {"reason": "client_outdated"}, "the gateway has to be updated."),
    ],
)
def test_each_state_has_its_remedy(state: ConnectionState, known: dict[str, Any], says: str) -> None:
    problem = not_connected(Session(device="d1", tenant="t1", state=state, at=NOW, **known))
    assert (problem.status, problem.code, problem.reason) == (409, "DEVICE_NOT_CONNECTED", known.get("reason"))
    assert problem.message.startswith("The device is not connected")
    assert says in problem.message


def test_a_device_that_nobody_has_spoken_of_has_to_be_connected() -> None:
    assert not_connected(None).message == "The device is not connected; connect it first."
