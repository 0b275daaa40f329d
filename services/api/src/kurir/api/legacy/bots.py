"""The one device that an API of a single bot speaks of, and what is told of it there.

It is the device that the key is bound to, or the tenant's only one. Requests without a key mean the device that the
operator has named for them, if any.
"""

import asyncio
import sys
from collections.abc import Iterable

from kurir.api.auth import Caller
from kurir.api.devices.schemas import status_of
from kurir.api.devices.service import Devices
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.process import Process
from kurir.api.live.feed import DeviceFeed
from kurir.api.problems import Problem
from kurir.api.webhooks.service import Webhooks
from kurir.contracts.records import Device
from kurir.dialects.baileys_gateway.answers import Bot

QR_WITHIN_S = 8.0  # the slowest first code seen took three seconds


class Bots:
    def __init__(
        self,
        access: Access,
        devices: Devices,
        webhooks: Webhooks,
        feed: DeviceFeed,
        process: Process,
        *,
        environment: str,
        needs_key: bool,
        requests_per_hour: int,
    ) -> None:
        self._access = access
        self._devices = devices
        self._webhooks = webhooks
        self._feed = feed
        self._process = process
        self._environment = environment
        self._needs_key = needs_key
        self._limit = requests_per_hour

    async def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who asks: the key in X-API-Key or Authorization, or whoever may ask without one.

        Raises Problem as Access.caller does, and DEVICE_NOT_FOUND when the device named for everyone is not there.
        """
        key = credential(headers, "X-API-Key", "Authorization")
        nobody = self._access.anonymous() if key is None else None
        return nobody or await self._access.caller(key)

    def device(self, caller: Caller) -> Device:
        """Raises Problem DEVICE_NOT_FOUND."""
        return self._access.device(caller)

    def bot(self, caller: Caller | None) -> Bot:
        """What is told of the caller's bot; one that is not there is not connected."""
        state = None
        if caller is not None:
            try:
                session = self._devices.session(self.device(caller))
                state = session.state if session is not None else None
            except Problem:  # a key that is bound to no device, of a tenant that has none or several
                state = None
        used, total = self._process.memory_mb()
        return Bot(
            connected=state == "connected",
            attempts=int(state == "connecting"),
            environment=self._environment,
            has_webhooks=caller is not None and bool(self._webhooks.all(caller)),
            needs_key=self._needs_key,
            limit=self._limit,
            uptime_s=self._process.uptime_s,
            memory_used_mb=used,
            memory_total_mb=total,
            platform=sys.platform,
        )

    async def qr(self, caller: Caller) -> str | None:
        """What the QR code says that the device shows; None when it is connected and needs none.

        A device that is not linked is connected first, as such a bot does by itself. Raises Problem
        DEVICE_NOT_CONNECTED when there is no code within QR_WITHIN_S, and as `device` does.
        """
        device = self.device(caller)
        session = self._devices.session(device)
        is_linked = session is not None and session.paired
        if not is_linked and status_of(device, session) in ("DISCONNECTED", "LOGGED_OUT"):
            device = await self._devices.connect(caller, device.id, None)
        self._feed.admit(device)
        watch = self._feed.open(device)
        try:
            async with asyncio.timeout(QR_WITHIN_S):
                while (seen := await watch.next()) is not None:
                    if seen.session is not None and seen.session.state == "connected":
                        return None
                    if seen.session is not None and seen.session.qr is not None:
                        return seen.session.qr
        except TimeoutError:
            pass
        finally:
            self._feed.close(device, watch)
        raise Problem("DEVICE_NOT_CONNECTED")
