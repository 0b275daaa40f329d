"""What callers see of a device: its owner's last word, unless something newer is wanted of it."""

from datetime import UTC, datetime

import msgspec

from kurir.api.devices.schemas import view_of
from kurir.contracts.records import Device, Session

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DEVICE = Device(id="d1", tenant="t1", name="CS", engine="sandbox", created_at=NOW, updated_at=NOW)
GIVEN_UP = Session(
    device="d1", tenant="t1", state="disconnected", at=NOW, reason="qr_timeout", generation=1, push_name="Toko"
)


def wanted(generation: int) -> Device:
    return msgspec.structs.replace(DEVICE, wanted="connected", connect_generation=generation)


def test_why_a_device_is_as_it_is_is_told_with_the_state() -> None:
    view = view_of(wanted(1), GIVEN_UP)
    assert (view.status, view.reason) == ("DISCONNECTED", "qr_timeout")
    assert view.reason_message is not None


def test_a_device_that_is_asked_to_connect_anew_has_no_reason_of_the_last_time() -> None:
    view = view_of(wanted(2), GIVEN_UP)
    assert (view.status, view.reason, view.reason_message, view.push_name) == ("CONNECTING", None, None, "Toko")
    coded = msgspec.structs.replace(GIVEN_UP, state="pairing_code", reason=None, pairing_code="ABCD-EFGH")
    assert view_of(wanted(1), coded).pairing_code == "ABCD-EFGH"
    assert view_of(wanted(2), coded).pairing_code is None


def test_a_device_that_is_connected_stays_so_when_it_is_asked_to_connect() -> None:
    connected = msgspec.structs.replace(GIVEN_UP, state="connected", reason=None)
    assert view_of(wanted(2), connected).status == "CONNECTED"


def test_a_device_that_nobody_has_spoken_of_is_as_it_is_wanted() -> None:
    assert view_of(DEVICE, None).status == "DISCONNECTED"
    assert view_of(wanted(1), None).status == "CONNECTING"
