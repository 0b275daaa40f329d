"""`/devices/{id}/events`: the device's status and QR code as they change."""

from typing import Annotated

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from litestar.response import Stream

from kurir.api.auth import Authenticator, Caller
from kurir.api.devices.service import Devices
from kurir.api.live.events import frames
from kurir.api.live.feed import DeviceFeed
from kurir.api.problems import Problem


@get(
    "/{device_id:str}/events",
    media_type="text/event-stream",
    responses={200: ResponseSpec(str, description="Events `status` and `qr`.", media_type="text/event-stream")},
)
async def stream_device_events(
    device_id: FromPath[str],
    caller: NamedDependency[Caller],
    authenticator: NamedDependency[Authenticator],
    devices: NamedDependency[Devices],
    feed: NamedDependency[DeviceFeed],
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> Stream:
    """Server-sent events: the current status at once, then each change; with a QR code, `qr` and a PNG of it."""
    device = devices.get(caller, device_id)
    feed.admit(device)

    def is_welcome() -> bool:
        try:
            return authenticator.tenant_of_digest(caller.digest).tenant.id == device.tenant
        except Problem:
            return False

    last_seen = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else None
    return Stream(
        frames(feed, device, last_seen=last_seen, is_welcome=is_welcome),
        media_type="text/event-stream",
        # Proxies that buffer would hold the QR code back until it has run out.
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


def router() -> Router:
    return Router("/devices", route_handlers=(stream_device_events,), tags=["Devices"])
