"""Bringing an instance to its QR or pairing code, for callers that wait for it."""

import asyncio
import contextlib
from typing import Any

from kurir.api.legacy.evolution.calls import Call
from kurir.api.live.feed import DeviceState
from kurir.contracts.records import Device, Session
from kurir.dialects.evolution import instance_answers
from kurir.dialects.qr import qr_data_url

CODE_WITHIN_S = 5.0  # how long the original keeps its callers
ENDED_WITHIN_S = 5.0


async def connect(call: Call, device: Device, number: str | None) -> Session | None:
    """Ask for a connection and wait for what it shows: a code, or that it is open; None when there is neither in time.

    A code that is shown already, and is not another kind than asked for, is that one. Raises Problem about the number.
    """
    session = call.services.devices.session(device)
    if session is not None and device.wanted == "connected" and _shows(session, wants_code=number is not None):
        return session
    device = await call.services.devices.connect(call.caller, device.id, number)

    def is_there(state: DeviceState) -> bool:
        return state.session is not None and _shows(state.session, wants_code=number is not None)

    return await _until(call, device, is_there, CODE_WITHIN_S)


async def restart(call: Call, device: Device) -> Session | None:
    """End the connection and open it again; the session as it is then, at the latest after some seconds."""
    devices = call.services.devices
    device = await devices.disconnect(call.caller, device.id)
    await _until(call, device, lambda state: state.session is None or _has_ended(state.session), ENDED_WITHIN_S)
    device = await devices.connect(call.caller, device.id, None)
    await _until(call, device, lambda state: state.session is not None and not _is_opening(state), CODE_WITHIN_S)
    return devices.session(device)


async def code(call: Call, device: Device, session: Session | None) -> dict[str, Any]:
    """What there is to scan or to type."""
    qr = session.qr if session is not None else None
    base64 = await asyncio.to_thread(qr_data_url, qr) if qr is not None else None
    return instance_answers.qr_code(session, base64=base64, count=device.connect_generation)


def _shows(session: Session, *, wants_code: bool) -> bool:
    if session.state == "connected":
        return True
    return session.pairing_code is not None if wants_code else session.state == "qr" and session.qr is not None


def _has_ended(session: Session) -> bool:
    return instance_answers.state_of(session.state) == "close"


def _is_opening(state: DeviceState) -> bool:
    return state.session is not None and state.session.state == "connecting"


async def _until(call: Call, device: Device, is_so: Any, within_s: float) -> Session | None:
    """The session when `is_so` of it; None when that is not in time, or the device is gone."""
    call.services.feed.admit(device)
    watch = call.services.feed.open(device)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (state := await watch.next()) is not None:
                    if is_so(state):
                        return state.session
    finally:
        call.services.feed.close(device, watch)
    return None
