"""What is told of the devices that a key sees: in the dashboard's status, and in Fonnte's account."""

import asyncio
from typing import Any

from kurir.api.auth import Caller
from kurir.api.devices.schemas import answering, status_of
from kurir.api.devices.service import Devices
from kurir.api.legacy.fonnte.counts import SENT, MessageCounts
from kurir.api.quota import MonthlyQuota
from kurir.api.tenants.service import Tenants
from kurir.api.webhooks.service import Webhooks
from kurir.contracts.records import Device
from kurir.dialects.fonnte import answers
from kurir.dialects.fonnte.answers import DeviceFacts
from kurir.dialects.qr import qr_data_url


class FonnteStatus:
    """`key` is everywhere the one that the caller sent: it alone is told, of others only the last characters.

    Everything here raises BrokerUnavailable.
    """

    def __init__(
        self, devices: Devices, tenants: Tenants, webhooks: Webhooks, counts: MessageCounts, quota: MonthlyQuota
    ) -> None:
        self._devices = devices
        self._tenants = tenants
        self._webhooks = webhooks
        self._counts = counts
        self._quota = quota

    async def devices(self, caller: Caller, key: str) -> list[dict[str, Any]]:
        """`devices` of `GET /api/status`."""
        sent = await self._counts.of(caller.tenant.id, SENT)
        keys = self._keys(caller, key)
        webhooks = self._webhooks.all(caller)
        told = []
        for device in self._devices.all(caller):
            session = answering(device, self._devices.session(device))
            qr = session.qr if session is not None and session.state == "qr" else None
            urls = [one.url for one in webhooks if one.device in (None, device.id)]
            told.append(
                {
                    "id": device.code or device.id,
                    "name": device.name,
                    "apiKey": keys.get(device.id, key),
                    "webhookUrl": urls[0] if urls else "",
                    "status": status_of(device, session),
                    "authenticated": session is not None and session.paired,
                    "hasQr": qr is not None,
                    "qr": await asyncio.to_thread(qr_data_url, qr) if qr is not None else None,
                    "phoneNumber": session.phone if session is not None else None,
                    "pushName": session.push_name if session is not None else None,
                    "totalMessagesSent": sent[device.id],
                }
            )
        return told

    async def facts(self, caller: Caller, key: str, devices: list[Device]) -> list[DeviceFacts]:
        """What Fonnte's account tells of devices."""
        sent = await self._counts.of(caller.tenant.id, SENT)
        used, quota = await self._quota.used(caller.tenant), caller.tenant.messages_per_month
        left = max(0, quota - used) if quota is not None and used is not None else None
        keys = self._keys(caller, key)
        return [
            DeviceFacts(
                number=self.number(device),
                name=device.name,
                is_connected=self.is_connected(device),
                plan=caller.tenant.plan,
                messages=sent[device.id],
                key=keys.get(device.id, key),
                quota=left,
                is_autoread=device.settings.read_messages,
            )
            for device in devices
        ]

    def number(self, device: Device) -> str:
        """What a client calls a device: the number it is paired with, or, before that is known, its code or id."""
        session = self._devices.session(device)
        return (session.phone if session is not None else None) or device.code or device.id

    def is_connected(self, device: Device) -> bool:
        session = self._devices.session(device)
        return device.wanted == "connected" and session is not None and session.state == "connected"

    def _keys(self, caller: Caller, key: str) -> dict[str, str]:
        """The keys of the account that are bound to a device, by device, as far as they may be told."""
        if caller.key.device is not None:
            return {caller.key.device: key}
        bound = [known for known in self._tenants.keys(caller.tenant.id) if known.device is not None]
        return {known.device: answers.masked(known.hint) for known in bound if known.device is not None}
