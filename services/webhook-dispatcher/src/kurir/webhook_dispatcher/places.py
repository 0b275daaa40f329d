"""How many requests are under way at once: in all, and of one tenant.

A tenant whose endpoints are slow fills its own share and no more; whoever waits for a tenant's share holds none of the
places of all. Waited for before an attempt begins, so that our own crowd is never counted against an endpoint.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Places:
    def __init__(self, in_all: int, of_tenant: int) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._of_tenant = of_tenant
        self._tenants: dict[str, _Share] = {}

    @contextlib.asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """A place for one request of this tenant, first come, first served."""
        share = self._tenants.get(tenant)
        if share is None:
            share = self._tenants[tenant] = _Share(self._of_tenant)
        share.users += 1
        try:
            async with share.places, self._in_all:
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._tenants[tenant]


class _Share:
    __slots__ = ("places", "users")

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.users = 0
