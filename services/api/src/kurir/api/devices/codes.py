"""Devices by the codes that clients of other gateways' APIs call them by: instance names, device codes.

Guarantees that of two devices that want one code at the same moment, at whichever replica, one is refused: a code is
claimed on the bus until every replica has heard of the device that has it.
"""

import hashlib
import time

from kurir.api.problems import Problem
from kurir.contracts.records import Device
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.keyvalue import RevisionConflict
from kurir.runtime.registry import Registry

CLAIMS = "idempotency"  # the bucket; a claim is of no interest after moments
CLAIMED_FOR_S = 10.0


class DeviceCodes:
    def __init__(self, bus: Bus, devices: Registry[Device]) -> None:
        self._bus = bus
        self._devices = devices
        self._ids: dict[tuple[str, str], str] = {}
        for key, device in devices.items():
            self._changed(key, None, device)
        devices.on_change(self._changed)

    def device_id(self, tenant: str, code: str) -> str | None:
        """The id of the tenant's device of this code."""
        return self._ids.get((tenant, code))

    async def claim(self, tenant: str, code: str) -> None:
        """Take a code for a device that is about to get it. Raises Problem CONFLICT, or PublishError.

        An id is no code for another device.
        """
        if (tenant, code) in self._ids or self._devices.get(f"{tenant}.{code}") is not None:
            raise _taken()
        key = _claim(tenant, code)
        stored = await keyvalue.read(self._bus, CLAIMS, key)
        is_claimed = stored is not None and not keyvalue.is_marker(stored.headers)
        if stored is not None and is_claimed and time.time() - stored.published_at < CLAIMED_FOR_S:
            raise _taken()
        try:
            await keyvalue.put(self._bus, CLAIMS, key, b"{}", revision=stored.seq if stored is not None else 0)
        except RevisionConflict:
            raise _taken() from None

    async def release(self, tenant: str, code: str) -> None:
        """Give a code free whose device is gone, or has another. Raises PublishError; then it is free in a moment."""
        await keyvalue.delete(self._bus, CLAIMS, _claim(tenant, code))

    def _changed(self, _: str, old: Device | None, new: Device | None) -> None:
        if old is not None and old.code is not None and self._ids.get((old.tenant, old.code)) == old.id:
            del self._ids[old.tenant, old.code]
        if new is not None and new.code is not None:
            self._ids[new.tenant, new.code] = new.id


def _taken() -> Problem:
    return Problem("CONFLICT", "Another of your devices has this code.", field="code")


def _claim(tenant: str, code: str) -> str:
    return keyvalue.key_of(tenant, "code-" + hashlib.sha256(code.encode()).hexdigest())
