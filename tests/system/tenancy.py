"""A tenant with paired sandbox devices, made by HTTP as an operator and a tenant would."""

import asyncio
from typing import Any

from tests.support.webhook_receiver import WebhookReceiver
from tests.system.live_system import Client, LiveSystem

PAIRED_WITHIN_S = 60.0


async def a_tenant(system: LiveSystem, name: str = "Tenant", rate_per_minute: int = 100_000) -> Client:
    """A client with the key of a new tenant."""
    operator = await system.operator()
    try:
        tenant = await operator.call("POST", "/tenants", {"name": name, "ratePerMinute": rate_per_minute})
        key = await operator.call("POST", f"/tenants/{tenant['id']}/keys", {"name": "test"})
    finally:
        await operator.close()
    return Client(system.base_url, key["apiKey"])


async def a_connected_device(tenant: Client, name: str = "Device") -> str:
    """The id of a new sandbox device without pacing, paired and connected."""
    device: dict[str, Any] = await tenant.call(
        "POST", "/devices", {"name": name, "engine": "sandbox", "pacePerMinute": 0}
    )
    id_: str = device["id"]
    await tenant.call("POST", f"/devices/{id_}/connect")
    async with asyncio.timeout(PAIRED_WITHIN_S):
        while (status := (await tenant.call("GET", f"/devices/{id_}"))["status"]) != "CONNECTED":
            if status == "QR":
                await tenant.http.post(f"/devices/{id_}/sandbox/scan")
            await asyncio.sleep(0.05)
    return id_


async def a_webhook(
    tenant: Client, receiver: WebhookReceiver, events: list[str], path: str = "/hook"
) -> dict[str, Any]:
    """A webhook that leads to the receiver; the answer holds its id and secret."""
    webhook: dict[str, Any] = await tenant.call("POST", "/webhooks", {"url": receiver.url(path), "events": events})
    return webhook
