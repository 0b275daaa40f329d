"""`/devices`: create, look, connect, disconnect."""

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.devices.schemas import (
    ConnectDevice,
    DeviceChange,
    DeviceStatus,
    DeviceView,
    NewDevice,
    ScanSandbox,
    status_of,
    view_of,
)
from kurir.api.devices.service import Devices
from kurir.contracts.records import Device


@get("/")
async def list_devices(caller: NamedDependency[Caller], devices: NamedDependency[Devices]) -> list[DeviceView]:
    """All devices, oldest first."""
    return [view_of(device, devices.session(device)) for device in devices.all(caller)]


@post("/")
async def create_device(
    data: JSONBody[NewDevice], caller: NamedDependency[Caller], devices: NamedDependency[Devices]
) -> DeviceView:
    """Create a device. It is DISCONNECTED until you connect it."""
    return view_of(await devices.create(caller, data), None)


@get("/{device_id:str}")
async def show_device(
    device_id: FromPath[str], caller: NamedDependency[Caller], devices: NamedDependency[Devices]
) -> DeviceView:
    """One device and its status."""
    device = devices.get(caller, device_id)
    return view_of(device, devices.session(device))


@patch("/{device_id:str}")
async def change_device(
    device_id: FromPath[str],
    data: JSONBody[DeviceChange],
    caller: NamedDependency[Caller],
    devices: NamedDependency[Devices],
) -> DeviceView:
    """Rename a device or change its limits."""
    device = await devices.change(caller, device_id, data)
    return view_of(device, devices.session(device))


@delete("/{device_id:str}")
async def delete_device(
    device_id: FromPath[str], caller: NamedDependency[Caller], devices: NamedDependency[Devices]
) -> None:
    """Delete a device, ending its session."""
    await devices.delete(caller, device_id)


@post("/{device_id:str}/connect", status_code=200)
async def connect_device(
    device_id: FromPath[str],
    caller: NamedDependency[Caller],
    devices: NamedDependency[Devices],
    data: JSONBody[ConnectDevice | None] = None,
) -> DeviceStatus:
    """Connect a device. A new one shows a QR code on `/devices/{id}/events`; with `phoneNumber`, a code to type."""
    device = await devices.connect(caller, device_id, data.phone_number if data else None)
    return _status(device, devices)


@post("/{device_id:str}/disconnect", status_code=200)
async def disconnect_device(
    device_id: FromPath[str], caller: NamedDependency[Caller], devices: NamedDependency[Devices]
) -> DeviceStatus:
    """Close the connection. The device stays linked; messages wait until it is connected again."""
    device = await devices.disconnect(caller, device_id)
    return DeviceStatus(id=device.id, status="DISCONNECTED")


@post("/{device_id:str}/logout", status_code=200)
async def logout_device(
    device_id: FromPath[str], caller: NamedDependency[Caller], devices: NamedDependency[Devices]
) -> DeviceStatus:
    """Unlink the device from its WhatsApp account."""
    device = await devices.logout(caller, device_id)
    return DeviceStatus(id=device.id, status="DISCONNECTED")


@post("/{device_id:str}/sandbox/scan", status_code=200)
async def scan_sandbox_device(
    device_id: FromPath[str],
    caller: NamedDependency[Caller],
    devices: NamedDependency[Devices],
    data: JSONBody[ScanSandbox | None] = None,
) -> DeviceStatus:
    """Pair a sandbox device: does what a phone does by scanning the QR code."""
    await devices.scan_sandbox(caller, device_id, data.phone if data else None)
    return _status(devices.get(caller, device_id), devices)


def _status(device: Device, devices: Devices) -> DeviceStatus:
    return DeviceStatus(id=device.id, status=status_of(device, devices.session(device)))


routes = (
    list_devices,
    create_device,
    show_device,
    change_device,
    delete_device,
    connect_device,
    disconnect_device,
    logout_device,
    scan_sandbox_device,
)


def router() -> Router:
    return Router("/devices", route_handlers=routes, tags=["Devices"])
