"""Fonnte's paths about devices: of the account, whose token is a key that is bound to no device, and of one device."""

import asyncio
from typing import Any

from litestar import Request, Router, post
from litestar.di import NamedDependency
from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.devices.schemas import DeviceChange, NewDevice
from kurir.api.devices.service import Devices
from kurir.api.legacy.access import Access
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.fonnte import telling
from kurir.api.legacy.fonnte.deleting import DeletionCodes
from kurir.api.legacy.fonnte.status import FonnteStatus
from kurir.api.legacy.fonnte.tokens import caller_of, token_of
from kurir.api.live.feed import DeviceFeed
from kurir.api.media.service import MediaStore
from kurir.api.people import phone_in
from kurir.api.tenants.service import Tenants
from kurir.api.webhooks.schemas import NewWebhook, WebhookChange
from kurir.api.webhooks.service import Webhooks
from kurir.contracts.records import Device, Endpoint, Session
from kurir.dialects.fonnte import account, answers, fields
from kurir.dialects.fonnte.errors import Refused, of_kurir
from kurir.dialects.qr import qr_data_url

PAIRING_WITHIN_S = 15.0  # the slowest first code seen took three seconds


@post("/device", status_code=200)
async def show_device(
    request: Request[Any, Any, Any], access: NamedDependency[Access], fonnte_status: NamedDependency[FonnteStatus]
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    (facts,) = await fonnte_status.facts(caller, token_of(request), [access.device(caller)])
    return answers.device(facts)


@post("/get-devices", status_code=200)
async def list_devices(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    caller = await _account(request, access)
    return answers.devices(await fonnte_status.facts(caller, token_of(request), devices.all(caller)))


@post("/add-device", status_code=200)
async def add_device(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    tenants: NamedDependency[Tenants],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    caller = await _account(request, access)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        new = account.new_device(body.fields)
        device = await devices.create(caller, NewDevice(name=new.name, code=new.number))
        if new.is_autoread:
            device = await _read(caller, device, True, devices)
        _, token = await tenants.create_key(
            caller.key,
            caller.tenant.id,
            f"Token of {new.name}",
            device=device.id,
            dialect="fonnte",
            options=caller.key.options,
        )
        return answers.device_added(device.name, new.number, token, new.not_kept, is_autoread=new.is_autoread)


@post("/update-device", status_code=200)
async def update_device(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    webhooks: NamedDependency[Webhooks],
    media: NamedDependency[MediaStore],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        change = account.device_change(body.fields)
        device = access.device(caller)
        if change.name or change.number:
            wanted = DeviceChange(name=change.name or UNSET, code=change.number or UNSET)
            device = await devices.change(caller, device.id, wanted)
        if change.is_autoread is not None:
            device = await _read(caller, device, change.is_autoread, devices)
        kept = {}
        for field, (_, type_) in account.WEBHOOKS.items():
            if type_ in change.webhooks:
                await _set_webhook(caller, device, type_, change.webhooks[type_], webhooks)
            kept[field] = next((one.url for one in webhooks.all(caller) if _is_of(one, device, type_)), "")
        number, reads = fonnte_status.number(device), device.settings.read_messages
        return answers.device_changed(device.name, number, kept, change.not_kept, is_autoread=reads)


@post("/delete-device", status_code=200)
async def delete_device(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    deletion_codes: NamedDependency[DeletionCodes],
    media: NamedDependency[MediaStore],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    """In two steps: without a code one is sent to the device's number, with it the device is deleted."""
    caller = await caller_of(request, access)
    device = access.device(caller)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        otp = account.otp_of(body.fields)
        if otp is None:
            await deletion_codes.send(caller, device, devices.session(device))
            return answers.done("otp sent to the device's number")
        await deletion_codes.check(device, otp)
        number = fonnte_status.number(device)
        await devices.delete(caller, device.id)
        return answers.done(f"device {number} successfully deleted")


@post("/disconnect", status_code=200)
async def disconnect_device(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    """Unlinks the device: the next `/qr` pairs it again, with another number too."""
    caller = await caller_of(request, access)
    device = access.device(caller)
    if not fonnte_status.is_connected(device):
        raise Refused(400, "device already disconnected")
    await devices.logout(caller, device.id)
    return answers.done("device disconnected")


@post("/qr", status_code=200)
async def show_qr(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    devices: NamedDependency[Devices],
    feed: NamedDependency[DeviceFeed],
    media: NamedDependency[MediaStore],
    fonnte_status: NamedDependency[FonnteStatus],
) -> dict[str, Any]:
    caller = await caller_of(request, access)
    device = access.device(caller)
    async with reading(request, media, caller.tenant.id, file_parts=()) as body:
        phone = None
        if account.is_code_wanted(body.fields):
            given = fields.text(body.fields, "whatsapp") or device.code or ""
            phone = phone_in(given, caller.tenant.country, "whatsapp")
        if fonnte_status.is_connected(device):
            raise Refused(400, "device already connect")
        session = await _pairing(caller, device, phone, devices, feed)
        if session.pairing_code is not None:
            return answers.pairing_code(session.pairing_code)
        return answers.qr(await asyncio.to_thread(qr_data_url, session.qr or ""))


async def _read(caller: Caller, device: Device, is_autoread: bool, devices: Devices) -> Device:
    """Have a device mark what it receives as read, or not. Raises Problem."""
    return await devices.set_settings(caller, device.id, lambda known: replace(known, read_messages=is_autoread))


async def _pairing(caller: Caller, device: Device, phone: str | None, devices: Devices, feed: DeviceFeed) -> Session:
    """The session with a QR code, or with a pairing code for `phone`. Raises Refused, or Problem."""
    session = devices.session(device)
    shows = session is not None and (session.qr if phone is None else session.pairing_code) is not None
    if not shows or device.wanted != "connected" or device.pair_phone != phone:
        device = await devices.connect(caller, device.id, phone)
    feed.admit(device)
    watch = feed.open(device)
    try:
        async with asyncio.timeout(PAIRING_WITHIN_S):
            while (seen := await watch.next()) is not None:
                session = seen.session
                if session is None or session.generation < device.connect_generation:
                    continue
                if session.state == "connected":
                    raise Refused(400, "device already connect")
                if (session.qr if phone is None else session.pairing_code) is not None:
                    return session
    except TimeoutError:
        pass
    finally:
        feed.close(device, watch)
    raise of_kurir("SESSION_UNOWNED", "no QR code or pairing code yet; ask again in a few seconds")


async def _set_webhook(caller: Caller, device: Device, type_: str, url: str, webhooks: Webhooks) -> None:
    """Raises Problem."""
    known = next((one for one in webhooks.all(caller) if _is_of(one, device, type_)), None)
    if known is None and url:
        await webhooks.create(caller, NewWebhook(url=url, events=(type_,), device_id=device.id, payload="fonnte"))
    elif known is not None and not url:
        await webhooks.delete(caller, known.id)
    elif known is not None and known.url != url:
        await webhooks.change(caller, known.id, WebhookChange(url=url))


def _is_of(endpoint: Endpoint, device: Device, type_: str) -> bool:
    return endpoint.payload == "fonnte" and endpoint.device == device.id and endpoint.events == (type_,)


async def _account(request: Request[Any, Any, Any], access: Access) -> Caller:
    """Raises Refused for a device's token, and Problem."""
    caller = await caller_of(request, access)
    if caller.key.device is not None:
        raise Refused(401, "unknown user", "this is the token of a device; the account's is needed.")
    return caller


ROUTES = (show_device, list_devices, add_device, update_device, delete_device, disconnect_device, show_qr)


def router() -> Router:
    return Router("/", route_handlers=ROUTES, exception_handlers={Refused: telling.tell}, include_in_schema=False)
