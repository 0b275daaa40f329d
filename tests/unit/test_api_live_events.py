from datetime import UTC, datetime
from typing import Any, cast

from kurir.api.live.events import frames
from kurir.api.live.feed import DeviceFeed
from kurir.contracts.records import Device
from kurir.dialects.qr import qr_data_url

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DEVICE = Device(id="d1", tenant="t1", name="CS", engine="sandbox", created_at=NOW, updated_at=NOW)


class Memory:
    """As much of a registry as a feed asks for."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def get(self, key: str) -> Any:
        return self._values.get(key.replace(".", "_"))

    def entry(self, _key: str) -> None:
        return None

    def on_change(self, _callback: object) -> Any:
        return lambda: None


def feed() -> DeviceFeed:
    return DeviceFeed(cast("Any", Memory(t1_d1=DEVICE)), cast("Any", Memory()))


async def test_a_quiet_stream_shows_that_it_lives_until_its_reader_is_not_welcome_any_more() -> None:
    welcome = [True, True, False]
    lines = [
        frame
        async for frame in frames(feed(), DEVICE, last_seen=None, is_welcome=lambda: welcome.pop(0), heartbeat_s=0.01)
    ]
    assert lines[0].startswith(b"retry: ")
    assert lines[1] == b'event: status\nid: 0\ndata: {"deviceId":"d1","status":"DISCONNECTED"}\n\n'
    assert lines[2:] == [b": still here\n\n"] * 2


async def test_a_stream_that_is_left_is_forgotten() -> None:
    watched = feed()
    stream = frames(watched, DEVICE, last_seen=None, is_welcome=lambda: True)
    await anext(stream)
    assert len(watched._watches) == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert len(watched._watches) == 0


def test_a_qr_code_is_a_picture_that_anything_can_show() -> None:
    assert qr_data_url("2@abc").startswith("data:image/png;base64,")
