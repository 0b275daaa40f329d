"""Server-sent events of one device: `status` and `qr`, a comment now and then (WHATWG HTML, server-sent events)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from kurir.api.live.feed import DeviceFeed, DeviceState
from kurir.contracts.records import Device
from kurir.dialects.qr import qr_data_url

HEARTBEAT_S = 15.0  # proxies close what is silent for a minute
RECONNECT_MS = 3000

_encode = msgspec.json.Encoder().encode


async def frames(
    feed: DeviceFeed,
    device: Device,
    *,
    last_seen: int | None,
    is_welcome: Callable[[], bool],
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[bytes]:
    """The stream for one reader: the current state first, unless `last_seen` is that very one, then each change.

    Ends when the device is deleted, the reader does not keep up, or `is_welcome` (asked at each heartbeat) says no.
    """
    watch = feed.open(device)
    try:
        yield b"retry: %d\n\n" % RECONNECT_MS
        shown: tuple[str, str | None, str | None] | None = None
        while True:
            try:
                state = await asyncio.wait_for(watch.next(), heartbeat_s)
            except TimeoutError:
                if not is_welcome():
                    return
                yield b": still here\n\n"
                continue
            if state is None:
                return
            looks = (state.status, _qr_of(state), state.session.pairing_code if state.session else None)
            if looks == shown or (shown is None and last_seen == state.revision > 0):
                shown = looks
                continue
            if shown is None or (looks[0], looks[2]) != (shown[0], shown[2]):
                yield _frame("status", state.revision, _status(state))
            if looks[1] is not None and (shown is None or looks[1] != shown[1]):
                yield _frame("qr", state.revision, await _qr(state, looks[1]))
            shown = looks
    finally:
        feed.close(device, watch)


def _status(state: DeviceState) -> dict[str, Any]:
    data: dict[str, Any] = {"deviceId": state.device.id, "status": state.status}
    session = state.session
    if session is not None:
        if session.state == "connected":
            data |= {"phoneNumber": session.phone, "pushName": session.push_name}
        if session.pairing_code is not None:
            data["pairingCode"] = session.pairing_code
        if session.reason is not None:
            data["reason"] = session.reason
    return data


def _qr_of(state: DeviceState) -> str | None:
    return state.session.qr if state.session is not None and state.status == "QR" else None


async def _qr(state: DeviceState, qr: str) -> dict[str, Any]:
    expires_at = state.session.qr_expires_at if state.session else None
    return {
        "deviceId": state.device.id,
        "qr": qr,
        "dataUrl": await asyncio.to_thread(qr_data_url, qr),  # 10 ms of computing
        "expiresAt": round(expires_at.timestamp() * 1000) if expires_at else None,
    }


def _frame(name: str, revision: int, data: dict[str, Any]) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), revision, _encode(data))
