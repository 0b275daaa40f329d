"""What tenants do with devices. The api writes what is wanted; the owner of the device's partition makes it so."""

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.devices.codes import DeviceCodes
from kurir.api.devices.proxies import Proxies
from kurir.api.devices.schemas import DeviceChange, NewDevice
from kurir.api.dispatch import Dispatch
from kurir.api.people import phone_in
from kurir.api.problems import Problem
from kurir.api.questions import Questions
from kurir.contracts import ids
from kurir.contracts.commands import Logout
from kurir.contracts.queries import SandboxScan
from kurir.contracts.records import Device, DeviceSettings, Engine, Session
from kurir.runtime.clock import Clock
from kurir.runtime.registry import KeyMissing, Registry, RevisionConflict, key_of


class Devices:
    def __init__(
        self,
        questions: Questions,
        clock: Clock,
        dispatch: Dispatch,
        changes: Changes,
        devices: Registry[Device],
        sessions: Registry[Session],
        proxies: Proxies,
        codes: DeviceCodes,
        default_engine: Engine,
    ) -> None:
        self._questions = questions
        self._clock = clock
        self._dispatch = dispatch
        self._changes = changes
        self._devices = devices
        self._sessions = sessions
        self._proxies = proxies
        self._default_engine = default_engine
        self._codes = codes

    def get(self, caller: Caller, device_id: str) -> Device:
        """The caller's device. Raises Problem DEVICE_NOT_FOUND, for another tenant's too."""
        device = self._devices.get(f"{caller.tenant.id}.{device_id}")
        if device is None or caller.key.device not in (None, device_id):
            raise Problem("DEVICE_NOT_FOUND")
        return device

    def by_code(self, caller: Caller, code: str) -> Device:
        """The caller's device of this code, or else of this id. Raises Problem as `get` does."""
        return self.get(caller, self._codes.device_id(caller.tenant.id, code) or code)

    def all(self, caller: Caller) -> list[Device]:
        """The caller's devices, oldest first."""
        found = [device for _, device in self._devices.items(caller.tenant.id)]
        return sorted((d for d in found if caller.key.device in (None, d.id)), key=lambda d: (d.created_at, d.id))

    def session(self, device: Device) -> Session | None:
        """How the device is, as its owner said last."""
        return self._sessions.get(f"{device.tenant}.{device.id}")

    async def create(self, caller: Caller, new: NewDevice) -> Device:
        """Raises Problem: LIMIT_REACHED, FORBIDDEN for a key that is bound to one device, CONFLICT for a code that
        another device has, or about the proxy."""
        if caller.key.device is not None:
            raise Problem("FORBIDDEN", "This key is bound to one device.")
        if len(self._devices.items(caller.tenant.id)) >= caller.tenant.max_devices:
            raise Problem("LIMIT_REACHED")
        now = self._clock.now()
        device_id = ids.short_id("dev_")
        device = Device(
            id=device_id,
            tenant=caller.tenant.id,
            name=new.name,
            code=new.code,
            engine=new.engine or self._default_engine,
            created_at=now,
            updated_at=now,
            rate_per_minute=new.rate_per_minute,
            pace_per_minute=new.pace_per_minute,
            undelivered_after_s=new.undelivered_after_s,
            proxy=await self._proxies.sealed(caller.tenant.id, device_id, new.proxy) if new.proxy else None,
        )
        if new.code is not None:
            await self._codes.claim(caller.tenant.id, new.code)
        await self._devices.create(key_of(device.tenant, device.id), device)
        await self._tell(caller, "device.created", device, name=device.name, engine=device.engine)
        return device

    async def change(self, caller: Caller, device_id: str, change: DeviceChange) -> Device:
        given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        former_code = self.get(caller, device_id).code
        if isinstance(change.code, str) and change.code != former_code:
            await self._codes.claim(caller.tenant.id, change.code)
        if isinstance(change.proxy, str):
            former = self.get(caller, device_id).proxy
            given["proxy"] = await self._proxies.sealed(caller.tenant.id, device_id, change.proxy, former)
        device = await self._write(caller, device_id, lambda known: replace(known, **given))
        if former_code is not None and device.code != former_code:
            await self._codes.release(caller.tenant.id, former_code)
        await self._tell(caller, "device.changed", device, fields=",".join(given))
        return device

    async def set_settings(
        self, caller: Caller, device_id: str, change: Callable[[DeviceSettings], DeviceSettings]
    ) -> Device:
        """Change what another gateway's clients chose for the device."""
        device = await self._write(caller, device_id, lambda known: replace(known, settings=change(known.settings)))
        await self._tell(caller, "device.changed", device, fields="settings")
        return device

    async def delete(self, caller: Caller, device_id: str) -> None:
        """Forget the device; its owner then ends the session and unlinks it."""
        device = self.get(caller, device_id)
        await self._devices.delete(key_of(device.tenant, device.id))
        if device.code is not None:
            await self._codes.release(device.tenant, device.code)
        await self._tell(caller, "device.deleted", device, name=device.name)

    async def connect(self, caller: Caller, device_id: str, phone_number: str | None) -> Device:
        """Ask for a connection, and for a new QR or pairing code when there is none; nothing if it is connected.

        `phone_number` asks for a code to type on that phone. Raises Problem INVALID_RECIPIENT for no number.
        """
        device = self.get(caller, device_id)
        session = self.session(device)
        if device.wanted == "connected" and session is not None and session.state == "connected":
            return device
        pair_phone = phone_in(phone_number, caller.tenant.country, "phoneNumber") if phone_number else None
        device = await self._write(
            caller,
            device_id,
            lambda known: replace(
                known, wanted="connected", connect_generation=known.connect_generation + 1, pair_phone=pair_phone
            ),
        )
        await self._tell(caller, "device.connect_requested", device)
        return device

    async def disconnect(self, caller: Caller, device_id: str) -> Device:
        """End the connection; the device stays linked and messages wait."""
        device = await self._write(caller, device_id, lambda known: replace(known, wanted="disconnected"))
        await self._tell(caller, "device.disconnect_requested", device)
        return device

    async def logout(self, caller: Caller, device_id: str) -> Device:
        """Unlink the device from its WhatsApp account; the next connect shows a new QR code."""
        device = self.get(caller, device_id)
        await self._dispatch.order(
            Logout(id=ids.uuid7(), tenant=device.tenant, device=device.id, accepted_at=self._clock.now())
        )
        await self._tell(caller, "device.logout_requested", device)
        return device

    async def scan_sandbox(self, caller: Caller, device_id: str, phone: str | None) -> None:
        """Do to a sandbox device what a phone does by scanning the QR code.

        Raises Problem DEVICE_NOT_SANDBOX, and as Questions.ask does.
        """
        device = self.get(caller, device_id)
        if device.engine != "sandbox":
            raise Problem("DEVICE_NOT_SANDBOX")
        digits = phone_in(phone, caller.tenant.country, "phone") if phone else None
        await self._questions.ask(SandboxScan(tenant=device.tenant, device=device.id, phone=digits))

    async def _write(self, caller: Caller, device_id: str, change: Callable[[Device], Device]) -> Device:
        device = self.get(caller, device_id)
        now = self._clock.now()

        def changed(known: Device) -> Device:
            new = change(known)
            return replace(new, updated_at=now) if new != known else known

        try:
            return await self._devices.change(key_of(device.tenant, device.id), changed)
        except KeyMissing:
            raise Problem("DEVICE_NOT_FOUND") from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None

    async def _tell(self, caller: Caller, what: str, device: Device, **details: str) -> None:
        await self._changes.tell(device.tenant, what, actor=caller.key, target=device.id, device=device.id, **details)
