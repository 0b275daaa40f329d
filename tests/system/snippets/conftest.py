"""One live system with the sandbox engine, as `make demo` runs it, for the snippets of all documents."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.conditions import until
from tests.system.live_system import Client, LiveSystem
from tests.system.snippets.programs import Programs

FRIEND = "6281234567890"  # whom the documents write to
OPEN_TENANT, OPEN_DEVICE = "acme", "bot"
"""For whom requests without a key act."""


@dataclass
class Tenant:
    """A tenant of the live system with one connected device. `http` speaks the native API."""

    id: str
    key: str
    device: str
    http: Client
    system: LiveSystem

    def programs(self, dialect: str, folder: Path, **replacing: str) -> Programs:
        return Programs(dialect, folder, replacing)

    async def scan(self) -> None:
        """Do what a phone does, and wait until the device is connected."""
        await self._until("QR")
        await self.http.call_until("POST", f"/devices/{self.device}/sandbox/scan")
        await self._until("CONNECTED")

    async def _until(self, status: str) -> None:
        async def is_so() -> bool:
            return bool((await self.http.call("GET", f"/devices/{self.device}"))["status"] == status)

        await until(f"the device is {status}", is_so, within_s=60)

    async def arrived(self, count: int) -> list[dict[str, Any]]:
        """So many messages, oldest first, which their recipients have read: as the native API tells of them."""
        found: list[dict[str, Any]] = []

        async def are_read() -> bool:
            nonlocal found
            page = await self.http.call_until("GET", "/messages?limit=100")
            found = [one for one in reversed(page["messages"]) if one["status"] != "RECEIVED"]
            return len(found) >= count and all(one["status"] == "READ" for one in found)

        await until(f"{count} messages are read", are_read, within_s=60, seen=lambda: repr(found))
        assert len(found) == count, found
        return found


def told(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Kind and text or caption of each, in any order."""
    contents = [one["content"] for one in messages]
    return sorted((content["kind"], content.get("text") or content.get("caption") or "") for content in contents)


class Live:
    def __init__(self, system: LiveSystem) -> None:
        self.system = system
        self._clients: list[Client] = []

    async def tenant(self, tenant_id: str, *, code: str | None = None) -> Tenant:
        """A new tenant, and a device of this code that is connected."""
        tenant = await self.bare_tenant(tenant_id)
        made = await tenant.http.call_until("POST", "/devices", {"name": "CS", "code": code})
        tenant.device = made["id"]
        await tenant.http.call("POST", f"/devices/{tenant.device}/connect")
        await tenant.scan()
        return tenant

    async def bare_tenant(self, tenant_id: str) -> Tenant:
        """A new tenant without a device."""
        await self.system.kurir("tenant", "create", tenant_id, "--id", tenant_id)
        key = (await self.system.kurir("key", "create", "--tenant", tenant_id)).split()[-1]
        http = Client(self.system.base_url, key)
        self._clients.append(http)
        return Tenant(tenant_id, key, "", http, self.system)

    async def import_key(self, tenant_id: str, line: str, *options: str) -> None:
        """Take over a key, or a key and its secret, that a client has already."""
        await self.system.kurir("key", "import", "--tenant", tenant_id, *options, stdin=f"{line}\n")

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    system = LiveSystem(
        tmp_path_factory.mktemp("snippets") / "state",
        KURIR_ANONYMOUS_DEVICE=f"{OPEN_TENANT}/{OPEN_DEVICE}",
        KURIR_DEFAULT_ENGINE="sandbox",  # of devices that a document's client makes, which names none
    )
    running = Live(system)
    try:
        await system.start()
        yield running
    finally:
        await running.close()
        await system.stop()
