"""An api and a shard with the sandbox engine on one bus: what a tenant asks over HTTP is answered by a device."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from kurir.contracts import subjects
from kurir.session_node.engines.sandbox.client import SandboxEngine
from tests.support.api_server import NOBODY, Api, Client, running_api
from tests.support.conditions import until
from tests.support.session_nodes import LocalShard


@dataclass
class Gateway:
    """`engine` is the shard's, to be changed by a test."""

    nats_url: str
    api: Api
    shard: LocalShard

    @property
    def engine(self) -> SandboxEngine:
        return self.shard.engine

    async def connected(self, tenant: Client, phone: str = "628111222333") -> str:
        """The id of a new device that is paired as `phone` and connected."""
        device = await tenant.device()
        await self.connect(tenant, device, phone)
        return device

    async def connect(self, tenant: Client, device: str, phone: str = "628111222333") -> None:
        """Pair a device and wait until it is connected."""
        await tenant.post(f"/devices/{device}/connect")
        await self.until_status(tenant, device, "QR")
        assert (await tenant.post(f"/devices/{device}/sandbox/scan", json={"phone": phone})).status_code == 200
        await self.until_status(tenant, device, "CONNECTED")

    async def until_status(self, tenant: Client, device: str, status: str) -> None:
        async def has_status() -> bool:
            return bool((await tenant.get(f"/devices/{device}")).json()["status"] == status)

        await until(f"device {status}", has_status)


@contextlib.asynccontextmanager
async def running_gateway(nats_url: str, mongo_url: str = NOBODY, **settings: Any) -> AsyncIterator[Gateway]:
    """Start both, with every partition owned. `settings` are the api's."""
    async with running_api(nats_url, mongo_url, **settings) as api, LocalShard(nats_url) as shard:
        await until("it owns every partition", lambda: len(shard.shard.owned) == subjects.COMMAND_PARTITIONS)
        yield Gateway(nats_url, api, shard)
