"""How many requests are under way at once: in all, and of one tenant.

A tenant whose endpoints are slow fills its own share and no more; whoever waits for a tenant's share holds none of the
places of all. Waited for before an attempt begins, so that our own crowd is never counted against an endpoint.
"""

import asyncio
from collections import deque


class Places:
    """First come, first served. Each place that was taken is given back."""

    def __init__(self, in_all: int, of_tenant: int) -> None:
        self._in_all = _Room(in_all)
        self._of_tenant = of_tenant
        self._tenants: dict[str, _Room] = {}

    def take_now(self, tenant: str) -> bool:
        """Take a place for one request of this tenant if nobody has to be waited for."""
        if not self._in_all.has_free:
            return False
        share = self._tenants.get(tenant)
        if share is None:
            share = self._tenants[tenant] = _Room(self._of_tenant)
        return share.take_now() and self._in_all.take_now()

    async def take(self, tenant: str) -> None:
        """Take a place, waiting for it."""
        share = self._tenants.get(tenant)
        if share is None:
            share = self._tenants[tenant] = _Room(self._of_tenant)
        try:
            await share.take()
            try:
                await self._in_all.take()
            except BaseException:
                share.give_back()
                raise
        finally:
            self._forget_if_idle(tenant, share)

    def give_back(self, tenant: str) -> None:
        share = self._tenants[tenant]
        share.give_back()
        self._in_all.give_back()
        self._forget_if_idle(tenant, share)

    def _forget_if_idle(self, tenant: str, share: "_Room") -> None:
        if share.is_idle:
            self._tenants.pop(tenant, None)


class _Room:
    """A semaphore that can be had without a coroutine; a place given back goes to whoever has waited longest."""

    __slots__ = ("_free", "_places", "_waiting")

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def has_free(self) -> bool:
        """Never while somebody waits."""
        return self._free > 0

    @property
    def is_idle(self) -> bool:
        return self._free == self._places

    def take_now(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        if self.take_now():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.give_back()  # it was given to us while we were leaving
            raise

    def give_back(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
