"""Real neonize clients in a process of their own, driven by tests: see neonize_process.py."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.conditions import WITHIN_S, until
from tests.support.whatsapp_emulator.process import EmulatorProcess

CALL_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
MAX_LINE_BYTES = 1 << 24


class CallFailed(Exception):
    """The library raised; the text begins with the exception's name."""


class NeonizeClients:
    """One process; any number of clients in it. `events` has everything they reported, in order."""

    def __init__(self, emulator: EmulatorProcess, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._emulator = emulator
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0

    async def start(self) -> None:
        module = "tests.support.whatsapp_emulator.neonize_process"
        command = self._emulator.trusting(sys.executable, "-m", module, self._emulator.address.proxy)
        with (self._folder / "neonize.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self._emulator.cwd,
                limit=MAX_LINE_BYTES,
            )
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def do(self, client: str, what: str, **details: Any) -> Any:
        """One call of a client; see the methods of neonize_process.Clients. Raises CallFailed."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._last += 1
        number = self._last
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        order = {"n": number, "client": client, "do": what, **details}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await asyncio.wait_for(answer, CALL_TIMEOUT_S)

    def file(self, client: str) -> Path:
        """Where a client's keys are."""
        return self._folder / f"{client}.db"

    def database(self, client: str) -> str:
        """The library appends "?_foreign_keys=on" to the name. Not waiting for the disk makes pairing much faster."""
        return f"{self.file(client)}?_journal_mode=WAL&_synchronous=OFF&_foreign_keys=on&x="

    async def open(self, client: str) -> None:
        """Log in with the keys of an earlier pairing, and wait until it is connected."""
        after = len(self.events)
        await self.do(client, "open", database=self.database(client))
        await self.until(client, "ConnectedEv", after=after)

    async def pair(self, client: str, phone: str, *, name: str | None = None) -> str:
        """Link a device by QR code, and wait until it is connected; the device's name."""

        async def scan(qr: str) -> str:
            return await self._emulator.client.scan(qr, phone, name=name)

        return await self._pair(client, scan)

    async def pair_by_code(self, client: str, phone: str, *, name: str | None = None) -> str:
        """Link a device by phone code, and wait until it is connected; the device's name."""

        async def enter(_: str) -> str:
            code = await self.do(client, "pair_phone", phone=phone)
            return await self._emulator.client.enter_code(phone, code, name=name)

        return await self._pair(client, enter)

    async def _pair(self, client: str, confirm: Callable[[str], Awaitable[str]]) -> str:
        after = len(self.events)
        await self.do(client, "open", database=self.database(client))
        shown = await self.until(client, "QR", after=after)
        device = await confirm(shown["data"])
        await self.until(client, "ConnectedEv", after=after)
        return device

    def seen(self, client: str, event: str, *, after: int = 0) -> list[Any]:
        """The data of a client's events of one kind, from position `after` on."""
        return [e["data"] for e in self.events[after:] if e["client"] == client and e["event"] == event]

    async def until(
        self,
        client: str,
        event: str,
        where: Callable[[Any], bool] = lambda data: True,
        *,
        after: int = 0,
        within_s: float = WITHIN_S,
    ) -> dict[str, Any]:
        """Wait for an event whose data is as wanted; the event."""
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            found[:] = [
                e for e in self.events[after:] if e["client"] == client and e["event"] == event and where(e["data"])
            ]
            return bool(found)

        await until(
            f"{event} of {client}",
            has_come,
            within_s=within_s,
            seen=lambda: [(e["client"], e["event"]) for e in self.events[after:]],
        )
        return found[0]

    async def until_text(self, client: str, text: str, *, after: int = 0, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait for a message with this text; its data."""
        event = await self.until(
            client, "MessageEv", lambda data: text_of(data) == text, after=after, within_s=within_s
        )
        return dict(event["data"])

    async def until_receipt(self, client: str, message: str, kind: str, *, after: int = 0) -> None:
        """Wait for a receipt: "DELIVERED" or "READ", as neonize calls them."""

        def is_it(data: Any) -> bool:
            return message in data.get("MessageIDs", []) and receipt_kind(data) == kind

        await self.until(client, "ReceiptEv", is_it, after=after)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "n" not in said:
                self.events.append(said)
                continue
            answer = self._waiting.pop(said["n"])
            if answer.done():
                continue
            if "error" in said:
                answer.set_exception(CallFailed(said["error"]))
            else:
                answer.set_result(said["answer"])
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(CallFailed("the process has ended"))


def text_of(data: dict[str, Any]) -> str | None:
    """The text of a MessageEv; phones and neonize put it into different fields."""
    message = data.get("Message", {})
    text = message.get("conversation") or message.get("extendedTextMessage", {}).get("text")
    return None if text is None else str(text)


def receipt_kind(data: dict[str, Any]) -> str:
    return str(data.get("Type", ""))
