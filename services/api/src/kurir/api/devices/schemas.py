"""Devices as callers see them."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from kurir.contracts.records import Device, Engine, Session
from kurir.contracts.states import SENTENCES
from kurir.dialects.device_gateway.events import device_status_word

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Code = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[^\s/\x00-\x1f]([^/\x00-\x1f]*[^\s/\x00-\x1f])?(?![\s\S])")
]
Proxy = Annotated[str, Meta(min_length=1, max_length=500)]
PerMinute = Annotated[int, Meta(ge=1, le=1_000_000)]
UndeliveredAfter = Annotated[int, Meta(ge=60, le=86_400)]


class NewDevice(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`engine` is `neonize` (WhatsApp) or `sandbox` (a device with no phone, for tests). A message that no phone has
    confirmed after `undeliveredAfter` seconds is reported UNDELIVERED; null reports nothing. `proxy` is how the device
    reaches WhatsApp: `http://user:password@host:port` or `socks5://…`; absent, as all others do. `code` is what clients
    of other gateways' APIs call the device, e.g. their instance name; no other of your devices has it."""

    name: Name = "Device"
    code: Code | None = None
    engine: Engine | None = None
    rate_per_minute: PerMinute | None = None
    pace_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 30
    undelivered_after_s: UndeliveredAfter | None = field(name="undeliveredAfter", default=None)
    proxy: Proxy | None = None


class DeviceChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays; `ratePerMinute: null` goes back to the tenant's, `undeliveredAfter: null` turns it off,
    `proxy: null` takes the device's own proxy away. Another proxy connects the device anew. `code: null` leaves the
    device with its id alone."""

    name: Name | UnsetType = UNSET
    code: Code | UnsetType | None = UNSET
    rate_per_minute: PerMinute | UnsetType | None = UNSET
    pace_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    undelivered_after_s: UndeliveredAfter | UnsetType | None = field(name="undeliveredAfter", default=UNSET)
    proxy: Proxy | UnsetType | None = UNSET


class ConnectDevice(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """With `phoneNumber` the device is linked by a code to type on that phone, without it by a QR code."""

    phone_number: str | None = None


class ScanSandbox(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`phone` is the number that the sandbox device gets; absent picks one."""

    phone: str | None = None


class DeviceView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A device. `status` is DISCONNECTED, CONNECTING, QR, PAIRING_CODE, CONNECTED, LOGGED_OUT, BANNED, REPLACED,
    OUTDATED or PASSKEY_REQUIRED; `reason` says why, `reasonMessage` in a sentence. The password of `proxy` is
    not shown."""

    id: str
    name: str
    status: str
    phone_number: str | None
    push_name: str | None
    created_at: datetime
    updated_at: datetime
    engine: Engine
    code: str | None = None
    reason: str | None = None
    reason_message: str | None = None
    pairing_code: str | None = None
    rate_per_minute: int | None = None
    pace_per_minute: int = 30
    undelivered_after_s: int | None = field(name="undeliveredAfter", default=None)
    proxy: str | None = None


class DeviceStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    status: str


def answering(device: Device, session: Session | None) -> Session | None:
    """The session as it answers the device's last connect: until the owner has said how that goes, the device is
    connecting already, and why it was not before counts no more.
    """
    if session is None or device.wanted != "connected" or session.state == "connected":
        return session
    if session.generation >= device.connect_generation:
        return session
    return msgspec.structs.replace(
        session, state="connecting", reason=None, qr=None, qr_expires_at=None, pairing_code=None
    )


def status_of(device: Device, session: Session | None) -> str:
    session = answering(device, session)
    if session is None:
        return "CONNECTING" if device.wanted == "connected" else device_status_word("disconnected")
    return device_status_word(session.state)


def view_of(device: Device, session: Session | None) -> DeviceView:
    session = answering(device, session)
    return DeviceView(
        id=device.id,
        name=device.name,
        status=status_of(device, session),
        phone_number=session.phone if session else None,
        push_name=session.push_name if session else None,
        created_at=device.created_at,
        updated_at=device.updated_at,
        engine=device.engine,
        code=device.code,
        reason=session.reason if session else None,
        reason_message=SENTENCES[session.reason] if session and session.reason else None,
        pairing_code=session.pairing_code if session else None,
        rate_per_minute=device.rate_per_minute,
        pace_per_minute=device.pace_per_minute,
        undelivered_after_s=device.undelivered_after_s,
        proxy=device.proxy.shown if device.proxy else None,
    )
