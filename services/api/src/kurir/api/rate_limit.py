"""How many messages a device may be given per minute, exact over all replicas, and the headers that tell.

A device that has used up its minute is refused from memory until the minute ends: a caller that does not slow down
costs the bus nothing.
"""

import math
import time

from kurir.api.problems import Problem
from kurir.contracts.records import Device, Tenant
from kurir.contracts.subjects import NO_DEVICE
from kurir.runtime.broker import Bus
from kurir.runtime.counters import Allowance, RateLimit

WINDOW_S = 60


class SendLimit:
    def __init__(self, bus: Bus) -> None:
        self._counted = RateLimit(bus, "accept", window_s=WINDOW_S)
        self._used_up: dict[tuple[str, str], Allowance] = {}  # by tenant and device: one each, replaced or dropped

    async def hit(self, tenant: Tenant, device: Device) -> dict[str, str]:
        """Count one message of a device and return the headers of the answer.

        Raises Problem RATE_LIMIT_EXCEEDED, with the same headers and Retry-After, or PublishError.
        """
        limit = device.rate_per_minute if device.rate_per_minute is not None else tenant.rate_per_minute
        return await self._hit(tenant.id, device.id, limit)

    async def hit_tenant(self, tenant: Tenant, limit: int) -> dict[str, str]:
        """As `hit`, for all devices of a tenant together."""
        return await self._hit(tenant.id, NO_DEVICE, limit)

    async def _hit(self, tenant: str, device: str, limit: int) -> dict[str, str]:
        now = time.time()
        allowance = self._used_up.get((tenant, device))
        if allowance is None or allowance.limit != limit or allowance.reset_at <= now:
            self._used_up.pop((tenant, device), None)
            allowance = await self._counted.hit(tenant, device, limit, now=now)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(allowance.remaining),
            "X-RateLimit-Reset": str(allowance.reset_at),
        }
        if allowance.allowed:
            return headers
        self._used_up[tenant, device] = allowance
        wait_s = max(1, math.ceil(allowance.reset_at - time.time()))
        raise Problem("RATE_LIMIT_EXCEEDED", headers={**headers, "Retry-After": str(wait_s)})
