"""Who takes part: numbers with a device at Kurir, as tenants see them by HTTP and webhooks; people with phones."""

import asyncio
from typing import Any

import msgspec
from standardwebhooks import Webhook

from tests.support.conditions import until
from tests.support.webhook_receiver import Received, WebhookReceiver
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.system.live_system import Client, LiveSystem
from tests.system.tenancy import a_tenant, a_webhook

VERA, BUDI = "628999000001", "628999000002"  # have phones, and read what they get
ARRIVES_WITHIN_S = 30.0
LINKED_WITHIN_S = 60.0

EVENTS = ["message.received", "message.status", "device.status"]


class Number:
    """A number with a device at Kurir, in a tenant of its own, whose webhooks come to a path of their own."""

    def __init__(self, name: str, phone: str, whatsapp: EmulatorClient, receiver: WebhookReceiver) -> None:
        self.name, self.phone, self.jid = name, phone, f"{phone}@s.whatsapp.net"
        self.whatsapp = whatsapp
        self.device = ""
        self._receiver = receiver
        self._tenant: Client | None = None
        self._secret = ""

    @property
    def tenant(self) -> Client:
        assert self._tenant is not None, f"{self.name} has no tenant"
        return self._tenant

    async def settle(self, system: LiveSystem) -> None:
        """A tenant, its webhook, and a device that is not connected yet. The engine is named in the request."""
        self._tenant = await a_tenant(system, self.name)
        self._secret = (await a_webhook(self.tenant, self._receiver, EVENTS, f"/{self.phone}"))["secret"]
        new = {"name": self.name, "engine": "neonize", "pacePerMinute": 0}
        self.device = (await self.tenant.call("POST", "/devices", new))["id"]

    async def link_by_qr(self) -> None:
        """Connect, and scan the first QR code of the device's event stream."""
        await self.tenant.call("POST", f"/devices/{self.device}/connect")
        qr = await asyncio.wait_for(first_qr(self.tenant, self.device), LINKED_WITHIN_S)
        await self.whatsapp.scan(qr, self.phone, name=self.name)
        await self.until_status("CONNECTED")

    async def link_by_code(self) -> None:
        """Connect with the phone's number, and type the code into the phone."""
        await self.tenant.call("POST", f"/devices/{self.device}/connect", {"phoneNumber": self.phone})
        await self.until_status("PAIRING_CODE")
        await self.whatsapp.enter_code(self.phone, (await self.shown())["pairingCode"], name=self.name)
        await self.until_status("CONNECTED")

    async def shown(self) -> dict[str, Any]:
        """The device as the API shows it."""
        device: dict[str, Any] = await self.tenant.call("GET", f"/devices/{self.device}")
        return device

    async def until_status(self, status: str, *, within_s: float = LINKED_WITHIN_S) -> None:
        async def has_it() -> bool:
            return str((await self.shown())["status"]) == status

        await until(f"the device of {self.name} is {status}", has_it, within_s=within_s, seen=self.device_statuses)

    # Messages

    async def send(self, what: str, to: str, **body: Any) -> str:
        """`POST /messages/send-<what>`; our id of the message."""
        answer = await self.tenant.call("POST", f"/messages/send-{what}", {"deviceId": self.device, "to": to, **body})
        return str(answer["id"])

    async def send_file(self, to: str, kind: str, name: str, data: bytes, **fields: str) -> str:
        """`POST /messages/send-media` as a form; our id of the message."""
        form = {"deviceId": self.device, "to": to, "kind": kind, **fields}
        answer = await self.tenant.http.post("/messages/send-media", data=form, files={"file": (name, data)})
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    async def until_told(self, message: str, status: str) -> str:
        """Wait for the webhook with this status of a message; WhatsApp's id of it."""
        data = await self._until("message.status", f"{message} is {status}", id=message, status=status)
        return str(data["messageId"])

    async def until_received(self, whatsapp_id: str) -> dict[str, Any]:
        """Wait for the webhook of a message that came in; its data."""
        return await self._until("message.received", f"{whatsapp_id} is received", messageId=whatsapp_id)

    async def file_of(self, data: dict[str, Any]) -> bytes:
        """The file of a received message, by the URL in its webhook and with the tenant's key."""
        answer = await self.tenant.http.get(data["media"]["url"])
        assert answer.is_success, answer.text
        return answer.content

    # Webhooks

    def hooks(self) -> list[Received]:
        """Every webhook so far."""
        return self._receiver.at(f"/{self.phone}")

    def told(self, event: str) -> list[dict[str, Any]]:
        """The data of every webhook with this event so far."""
        return [hook.json()["data"] for hook in self.hooks() if hook.header("x-webhook-event") == event]

    def statuses(self, message: str) -> list[str]:
        """What webhooks told of a message, in the order in which they came."""
        return [str(data["status"]) for data in self.told("message.status") if data["id"] == message]

    def device_statuses(self) -> list[str]:
        return [str(data["status"]) for data in self.told("device.status")]

    def verify(self, hook: Received) -> None:
        """Raises WebhookVerificationError."""
        Webhook(self._secret).verify(hook.body, dict(hook.headers))

    async def _until(self, event: str, what: str, **facts: Any) -> dict[str, Any]:
        found: list[Received] = []

        def has_come() -> bool:
            found[:] = [
                hook
                for hook in self.hooks()
                if hook.header("x-webhook-event") == event and facts.items() <= hook.json()["data"].items()
            ]
            return bool(found)

        await until(what, has_come, within_s=ARRIVES_WITHIN_S, seen=lambda: self.told(event)[-5:])
        self.verify(found[0])
        data: dict[str, Any] = found[0].json()["data"]
        return data


async def first_qr(tenant: Client, device: str) -> str:
    """The text of the QR code that a device shows, from its event stream."""
    async with tenant.http.stream("GET", f"/devices/{device}/events") as answer:
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "qr":
                return str(msgspec.json.decode(line.removeprefix("data: "))["qr"])
    raise AssertionError("the event stream ended without a QR code")


def text_of(content: dict[str, Any]) -> str | None:
    """The text of a message as a phone shows it, in protobuf's JSON."""
    text = content.get("conversation") or content.get("extendedTextMessage", {}).get("text")
    return None if text is None else str(text)
