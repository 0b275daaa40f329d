"""The code by which a device is deleted: sent to the device's own number, good for ten minutes and for five tries."""

import hmac
import math
import secrets
import time

import msgspec

from kurir.api.auth import Caller
from kurir.api.legacy.sending import Sender
from kurir.contracts.content import Text
from kurir.contracts.records import Device, Session
from kurir.dialects.fonnte.errors import Refused, not_sent
from kurir.dialects.orders import Order
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, Stored
from kurir.runtime.counters import RateLimit
from kurir.runtime.keyvalue import RevisionConflict

BUCKET = "idempotency"  # what is in it is of no interest after a day
GOOD_FOR_S = 600
TRIES = 5
SENT_WITHIN_S = 15.0


class _Code(msgspec.Struct, frozen=True):
    digits: str
    until: float
    """Unix seconds."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Code).decode


class DeletionCodes:
    def __init__(self, bus: Bus, sender: Sender) -> None:
        self._bus = bus
        self._sender = sender
        self._tries = RateLimit(bus, "deletion", window_s=GOOD_FOR_S)

    async def send(self, caller: Caller, device: Device, session: Session | None) -> None:
        """Raises Refused for a second one within ten minutes, Problem as Sender.send does, or PublishError."""
        code = _Code(f"{secrets.randbelow(1_000_000):06}", time.time() + GOOD_FOR_S)
        key = _key(device)
        if session is None or session.phone is None:
            raise Refused(503, "request invalid on disconnected device")
        stored = await keyvalue.read(self._bus, BUCKET, key)
        known = _code_in(stored)
        if known is not None:
            wait_s = max(1, math.ceil(known.until - time.time()))
            raise Refused(429, f"please wait {wait_s} seconds before requesting new otp")
        try:
            last = stored.seq if stored is not None else 0
            revision = await keyvalue.put(self._bus, BUCKET, key, _encode(code), revision=last)
        except RevisionConflict:
            raise Refused(429, "please wait 1 seconds before requesting new otp") from None
        text = f"{code.digits} is the code by which this device is deleted from the gateway, within ten minutes."
        order = Order(to=session.phone, content=Text(text=text))
        try:
            sent = await self._sender.send(
                caller, device, order, refuse_offline=True, wait_s=SENT_WITHIN_S, is_limited=False
            )
            if sent.outcome is not None and sent.status != "sent":
                raise not_sent(sent.reason)
        except BaseException:
            await keyvalue.delete(self._bus, BUCKET, key, revision=revision)
            raise

    async def check(self, device: Device, digits: str) -> None:
        """Raises Refused for a code that is wrong or was not asked for, or PublishError."""
        known = _code_in(await keyvalue.read(self._bus, BUCKET, _key(device)))
        if known is None:
            raise Refused(400, "otp haven't requested")
        allowance = await self._tries.hit(device.tenant, device.id, TRIES)
        if not allowance.allowed:
            wait_s = max(1, math.ceil(allowance.reset_at - time.time()))
            raise Refused(429, f"delete failed. try again in {wait_s} seconds")
        if not hmac.compare_digest(known.digits, digits):
            raise Refused(400, "incorrect OTP")
        await keyvalue.delete(self._bus, BUCKET, _key(device))


def _code_in(stored: Stored | None) -> _Code | None:
    """The code of an entry that is still good."""
    if stored is None or keyvalue.is_marker(stored.headers):
        return None
    code = _decode(stored.data)
    return code if code.until > time.time() else None


def _key(device: Device) -> str:
    return keyvalue.key_of(device.tenant, f"deletion-{device.id}")
