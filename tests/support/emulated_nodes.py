"""Session nodes on the real neonize library: processes that know the emulator's WhatsApp, and devices linked there."""

from pathlib import Path
from typing import Any

from kurir.contracts.commands import SendMessage
from kurir.contracts.events import ConnectionUpdate, MessageSending, MessageStatusChanged
from kurir.contracts.records import Device
from tests.support.conditions import until
from tests.support.session_nodes import Gateway, NodeProcess
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

SEND_TIMEOUT_S = 4.0
STARTED_WITHIN_S = 60.0
DONE_WITHIN_S = 30.0


class EmulatedNodes:
    """Nodes that share one folder of keys, as they would a volume, and the devices on them."""

    def __init__(self, emulator: EmulatorProcess, gateway: Gateway, home: Path) -> None:
        self.gateway = gateway
        self.whatsapp: EmulatorClient = emulator.client
        self.nodes: list[NodeProcess] = []
        self._emulator = emulator
        self._home = home

    async def start(
        self, node: str = "first", *, send_timeout_s: float = SEND_TIMEOUT_S, **environment: str
    ) -> NodeProcess:
        """One shard, which gives up on an acknowledgement after so many seconds; more settings by their variables."""
        await self.whatsapp.open_door(int(self.gateway.url.rpartition(":")[2]))
        env = {"KURIR_SEND_TIMEOUT_S": str(send_timeout_s), **environment}
        process = NodeProcess(
            self.gateway.url, self._home, "--shard", "0", node=node, env=env, launcher=self._emulator.trusting
        )
        self.nodes.append(process)
        return process

    async def end(self) -> None:
        for node in self.nodes:
            await node.end()

    async def link(self, device: str, phone: str, **known: Any) -> Device:
        """A new device, linked by its QR code and connected."""
        record = await self.gateway.add_device(device, jid=None, engine="neonize", **known)
        shown: list[str] = []

        async def shows_code() -> bool:
            events = await self.gateway.events(device)
            shown[:] = [event.qr for event in events if isinstance(event, ConnectionUpdate) and event.qr]
            return bool(shown)

        await until(f"{device} shows a code", shows_code, within_s=STARTED_WITHIN_S)
        await self.whatsapp.scan(shown[-1], phone)
        await self.until_state(device, "connected")
        return record

    async def until_state(self, device: str, state: str, *, within_s: float = DONE_WITHIN_S) -> None:
        async def is_so() -> bool:
            return await self.gateway.state(device) == state

        await until(f"{device} is {state}", is_so, within_s=within_s)

    async def until_status(
        self, message: SendMessage, status: str, *, within_s: float = DONE_WITHIN_S
    ) -> MessageStatusChanged:
        """Wait until that was said of the message; the last such word."""
        found: list[MessageStatusChanged] = []
        said: list[MessageStatusChanged | MessageSending] = []

        async def was_said() -> bool:
            said[:] = (await self.gateway.statuses(message.device))[message.id]
            found[:] = [one for one in said if isinstance(one, MessageStatusChanged) and one.status == status]
            return bool(found)

        await until(f"{status} was said", was_said, within_s=within_s, seen=lambda: said)
        return found[-1]

    async def statuses(self, message: SendMessage) -> list[str]:
        """All that was said of the message, in order."""
        return [fact.status for fact in (await self.gateway.statuses(message.device))[message.id]]

    def complaints(self) -> list[str]:
        """What any node has logged as an error, and every traceback."""
        lines = [line for node in self.nodes for line in node.log_path.read_text(errors="replace").splitlines()]
        words = ('"level": "error"', '"level":"error"', "Traceback", '"exception"', '"level":"critical"')
        return [line for line in lines if any(word in line for word in words)]
