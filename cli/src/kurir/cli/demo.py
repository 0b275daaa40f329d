"""The first message: a tenant, a sandbox device paired by QR, one message sent, its webhook received.

Speaks to the api as any tenant would, by HTTP alone. What was made is remembered in the state folder, so that a
second start finds its tenant and device again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
from msgspec import Struct

from kurir.cli.receiver import Receiver

RECIPIENT = "6281234567890"
PAIRED_WITHIN_S = 30.0
DELIVERED_WITHIN_S = 30.0

Said = Callable[[str], None]


class DemonstrationFailed(Exception):
    """A step did not work; the message says which, and what was answered."""


class Remembered(Struct, kw_only=True):
    """What a demonstration made. Lives in the state folder, readable by its owner only."""

    operator_key: str
    tenant: str
    api_key: str
    device: str = ""
    webhook: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""


class Hop(Struct, frozen=True):
    """One step of the message's way; `after_ms` counts from the request."""

    what: str
    after_ms: float
    detail: str = ""


class Demonstration:
    """Runs the scenario against `base_url`; `memory` is the file that remembers it."""

    def __init__(self, base_url: str, memory: Path, say: Said) -> None:
        self._memory = memory
        self._say = say
        self._http = httpx.AsyncClient(base_url=base_url, timeout=15, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    def recall(self) -> Remembered | None:
        """What an earlier run made, if anything."""
        if not self._memory.exists():
            return None
        return msgspec.json.decode(self._memory.read_bytes(), type=Remembered)

    async def prepare(self, operator_key: Callable[[], Awaitable[str]], receiver: Receiver) -> Remembered:
        """Tenant, key, webhook and paired device: made now or found again. `operator_key` makes one when needed."""
        made = self.recall()
        if made is None:
            made = await self._new_tenant(await operator_key())
            self._remember(made)
        if made.webhook_url != receiver.url:
            await self._make_webhook(made, receiver)
        receiver.secret = made.webhook_secret
        if not made.device:
            device = await self._call("POST", "/devices", made, json={"name": "Demo", "engine": "sandbox"})
            made.device = device["id"]
            self._remember(made)
            self._say(f"Device created: {made.device}")
        await self._pair(made)
        return made

    async def send(self, made: Remembered, receiver: Receiver) -> list[Hop]:
        """Send one message and follow it to the webhook that says it was read; returns its hops in order."""
        began = datetime.now(UTC)
        answer = await self._call(
            "POST",
            "/messages/send-text",
            made,
            json={"deviceId": made.device, "to": RECIPIENT, "text": "Halo dari Kurir!"},
        )
        hops = [Hop("api answered 2xx: the command is stored", _ms(began, datetime.now(UTC)), answer["status"])]
        message = answer["id"]
        for status in ("SENT", "DELIVERED", "READ"):
            arrived = await receiver.wait_for(
                lambda one, status=status: (
                    one.body.get("data", {}).get("id") == message  # type: ignore[misc]
                    and one.body["data"].get("status") == status
                ),
                DELIVERED_WITHIN_S,
            )
            if arrived.is_signed is not True:
                raise DemonstrationFailed(f"the signature of webhook {arrived.webhook_id} does not verify")
            hops.append(Hop(f"webhook {arrived.event} received, signature verified", _ms(began, arrived.at), status))
        story = await self._story(made, message)
        hops += [Hop(_what(fact), _ms(began, datetime.fromisoformat(fact["at"])), _detail(fact)) for fact in story]
        return sorted(hops, key=lambda hop: hop.after_ms)

    async def _story(self, made: Remembered, message: str) -> list[dict[str, Any]]:
        """What the audit log knows of a message, once the attempt that told `read` is written."""
        async with asyncio.timeout(DELIVERED_WITHIN_S):
            while True:
                answer = await self._http.get(f"/messages/{message}/story", headers={"X-API-Key": made.api_key})
                facts = answer.json().get("facts", []) if answer.status_code == 200 else []
                if sum(fact["kind"] == "delivery.attempt" for fact in facts) >= 3:
                    return cast("list[dict[str, Any]]", facts)
                await asyncio.sleep(0.1)

    async def _new_tenant(self, operator_key: str) -> Remembered:
        headers = {"X-API-Key": operator_key}
        tenant = await self._checked(await self._http.post("/tenants", json={"name": "Demo tenant"}, headers=headers))
        key = await self._checked(
            await self._http.post(f"/tenants/{tenant['id']}/keys", json={"name": "demo"}, headers=headers)
        )
        self._say(f"Tenant created: {tenant['id']}")
        return Remembered(operator_key=operator_key, tenant=tenant["id"], api_key=key["apiKey"])

    async def _make_webhook(self, made: Remembered, receiver: Receiver) -> None:
        webhook = await self._call(
            "POST",
            "/webhooks",
            made,
            json={"url": receiver.url, "events": ["message.received", "message.status", "device.status"]},
        )
        made.webhook, made.webhook_url, made.webhook_secret = webhook["id"], receiver.url, webhook["secret"]
        self._remember(made)
        self._say(f"Webhook registered: {receiver.url}")

    async def _pair(self, made: Remembered) -> None:
        device = await self._call("GET", f"/devices/{made.device}", made)
        if device["status"] == "CONNECTED":
            self._say(f"Device {made.device} is connected as {device['phoneNumber']}")
            return
        await self._call("POST", f"/devices/{made.device}/connect", made)
        async with asyncio.timeout(PAIRED_WITHIN_S):
            await self._follow_pairing(made)

    async def _follow_pairing(self, made: Remembered) -> None:
        headers = {"X-API-Key": made.api_key, "Accept": "text/event-stream"}
        async with self._http.stream("GET", f"/devices/{made.device}/events", headers=headers, timeout=30) as events:
            name = ""
            async for line in events.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                if not line.startswith("data: "):
                    continue
                data = msgspec.json.decode(line.removeprefix("data: "))
                if name == "qr":
                    self._say(f"QR code shown: {data['qr'][:32]}…; scanning it as a phone would")
                    await self._call("POST", f"/devices/{made.device}/sandbox/scan", made)
                elif data.get("status") == "CONNECTED":
                    self._say(f"Device paired and connected as {data['phoneNumber']}")
                    return
        raise DemonstrationFailed("the device's event stream ended before it was connected")

    async def _call(self, method: str, path: str, made: Remembered, json: Any = None) -> dict[str, Any]:
        return await self._checked(
            await self._http.request(method, path, json=json, headers={"X-API-Key": made.api_key})
        )

    async def _checked(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_success:
            return cast("dict[str, Any]", answer.json())
        request = answer.request
        raise DemonstrationFailed(f"{request.method} {request.url.path} answered {answer.status_code}: {answer.text}")

    def _remember(self, made: Remembered) -> None:
        fresh = self._memory.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(made))
        fresh.replace(self._memory)


def _ms(began: datetime, at: datetime) -> float:
    return (at - began).total_seconds() * 1000


def _what(fact: dict[str, Any]) -> str:
    return f"audit: {fact['kind']}"


def _detail(fact: dict[str, Any]) -> str:
    parts = (fact.get("status"), fact.get("outcome"), fact.get("httpStatus"), fact.get("reason"))
    return " ".join(str(part) for part in parts if part is not None)
