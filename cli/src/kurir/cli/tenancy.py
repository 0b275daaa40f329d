"""A tenant as the demonstrations need one: its key, its webhook, its devices.

Speaks to the api as any tenant would, by HTTP alone. What was made is remembered in the state folder, so that a
second start finds its tenant and devices again.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
from msgspec import Struct, field

from kurir.cli.console import say
from kurir.cli.receiver import Arrived, Receiver

TOLD_WITHIN_S = 30.0

_OVER = {"BANNED", "REPLACED", "OUTDATED", "PASSKEY_REQUIRED"}
_MEND_BY_CONNECT = {"qr_timeout", "pairing_failed"}


class DemonstrationFailed(Exception):
    """A step did not work; the message says which, and what was answered."""


class Remembered(Struct, kw_only=True):
    """What the demonstrations made. Lives in the state folder, readable by its owner only."""

    operator_key: str
    tenant: str
    api_key: str
    devices: dict[str, str] = field(default_factory=dict)  # by engine
    webhook: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""


class Told(Struct, frozen=True):
    """A webhook about a message, how long after its request."""

    status: str
    after_ms: float
    arrived: Arrived


class Tenancy:
    """`receiver` gets the tenant's webhooks; `memory` is the file that remembers what was made."""

    def __init__(self, base_url: str, memory: Path, receiver: Receiver) -> None:
        self.base_url = base_url
        self._memory = memory
        self.receiver = receiver
        self._http = httpx.AsyncClient(base_url=base_url, timeout=15, trust_env=False)
        self._made: Remembered | None = None
        if memory.exists():
            self._made = msgspec.json.decode(memory.read_bytes(), type=Remembered)
            receiver.secret = self._made.webhook_secret or None

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def made(self) -> Remembered:
        assert self._made is not None, "prepare() comes first"
        return self._made

    async def prepare(self, operator_key: Callable[[], Awaitable[str]]) -> None:
        """Tenant, key and webhook: made now or found again. `operator_key` makes one when needed."""
        if self._made is None:
            self._made = await self._new_tenant(await operator_key())
            self._remember()
        if self.made.webhook_url != self.receiver.url:
            await self._make_webhook()
        self.receiver.secret = self.made.webhook_secret

    async def device(self, engine: str) -> str:
        """The id of the tenant's device with this engine, made when there is none."""
        if engine not in self.made.devices:
            made = await self.call("POST", "/devices", json={"name": "Demo", "engine": engine})
            self.made.devices[engine] = made["id"]
            self._remember()
            say(f"Device created: {made['id']} with the engine {engine}")
        return self.made.devices[engine]

    async def connect(self, device: str, show: Callable[[str], Awaitable[None]], *, within_s: float) -> str:
        """Connect a device, and return its phone number. Each QR code's text is given to `show`; when all have run
        out, new ones are asked for.

        Raises TimeoutError, and DemonstrationFailed when the device cannot be connected.
        """
        known = await self.call("GET", f"/devices/{device}")
        if known["status"] == "CONNECTED":
            say(f"Device {device} is connected as {known['phoneNumber']}")
            return str(known["phoneNumber"])
        await self.call("POST", f"/devices/{device}/connect")
        is_pairing = False
        async with asyncio.timeout(within_s), contextlib.aclosing(self._events(device)) as events:
            async for name, data in events:
                status, reason = data.get("status"), data.get("reason", "")
                if name == "qr":
                    is_pairing = True
                    await show(data["qr"])
                elif status == "CONNECTED":
                    how = "paired and connected" if is_pairing else "connected"
                    say(f"Device {device} is {how} as {data['phoneNumber']}")
                    return str(data["phoneNumber"])
                elif status == "LOGGED_OUT" or (status == "DISCONNECTED" and reason in _MEND_BY_CONNECT):
                    say(f"The device is {status} {reason}: connecting it again")
                    await self.call("POST", f"/devices/{device}/connect")
                elif status in _OVER:
                    raise DemonstrationFailed(f"the device is {status} {reason}")
        raise DemonstrationFailed("the device's event stream ended before it was connected")

    async def follow(self, message: str, began: datetime, *statuses: str) -> list[Told]:
        """Wait until the webhooks told each of these statuses of a message. Raises TimeoutError, and
        DemonstrationFailed for a signature that does not verify."""
        told = []
        for status in statuses:

            def is_it(data: dict[str, Any], status: str = status) -> bool:
                return data.get("id") == message and data.get("status") == status

            arrived = await self.told("message.status", is_it)
            told.append(Told(status, milliseconds(began, arrived.at), arrived))
        return told

    async def told(self, event: str, is_it: Callable[[dict[str, Any]], bool]) -> Arrived:
        """The first webhook of this event whose data is as wanted, past or to come. Raises as `follow`."""
        arrived = await self.receiver.wait_for(
            lambda one: one.event == event and is_it(one.body.get("data", {})), TOLD_WITHIN_S
        )
        if arrived.is_signed is not True:
            raise DemonstrationFailed(f"the signature of webhook {arrived.webhook_id} does not verify")
        return arrived

    async def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The answer's body. Raises DemonstrationFailed when it is not a success."""
        return cast("dict[str, Any]", (await self.fetch(method, path, **request)).json())

    async def fetch(self, method: str, path: str, **request: Any) -> httpx.Response:
        return _checked(await self._http.request(method, path, headers=self._key, **request))

    @property
    def _key(self) -> dict[str, str]:
        return {"X-API-Key": self.made.api_key}

    async def _events(self, device: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        headers = {**self._key, "Accept": "text/event-stream"}
        async with self._http.stream("GET", f"/devices/{device}/events", headers=headers, timeout=30) as lines:
            name = ""
            async for line in lines.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, msgspec.json.decode(line.removeprefix("data: "))

    async def _new_tenant(self, operator_key: str) -> Remembered:
        headers = {"X-API-Key": operator_key}
        tenant = _checked(await self._http.post("/tenants", json={"name": "Demo tenant"}, headers=headers)).json()
        key = _checked(
            await self._http.post(f"/tenants/{tenant['id']}/keys", json={"name": "demo"}, headers=headers)
        ).json()
        say(f"Tenant created: {tenant['id']}")
        return Remembered(operator_key=operator_key, tenant=tenant["id"], api_key=key["apiKey"])

    async def _make_webhook(self) -> None:
        wanted = ["message.received", "message.status", "device.status"]
        webhook = await self.call("POST", "/webhooks", json={"url": self.receiver.url, "events": wanted})
        made = self.made
        made.webhook, made.webhook_url, made.webhook_secret = webhook["id"], self.receiver.url, webhook["secret"]
        self._remember()
        say(f"Webhook registered: {self.receiver.url}")

    def _remember(self) -> None:
        fresh = self._memory.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(self.made))
        fresh.replace(self._memory)


def now() -> datetime:
    return datetime.now(UTC)


def milliseconds(began: datetime, at: datetime) -> float:
    return (at - began).total_seconds() * 1000


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    request = answer.request
    raise DemonstrationFailed(f"{request.method} {request.url.path} answered {answer.status_code}: {answer.text}")
