"""How many requests an IP address may make in an hour, exact over all replicas.

An address that has used up its hour is refused from memory until the hour ends, so that it costs the bus nothing.
"""

import hashlib
import time

from kurir.dialects.baileys_gateway.errors import WINDOW_S, too_many
from kurir.runtime.broker import Bus
from kurir.runtime.counters import RateLimit

MAX_REMEMBERED = 10_000
_ANYONE = "anyone"  # where other limits name the tenant: this one is about nobody's key


class IpLimit:
    def __init__(self, bus: Bus, limit: int) -> None:
        """`limit` 0 is no limit."""
        self.limit = limit
        self._counted = RateLimit(bus, "ip", window_s=WINDOW_S)
        self._used_up: dict[str, int] = {}  # by address: until when, in Unix seconds

    async def hit(self, address: str) -> None:
        """Count one request. Raises baileys_gateway.errors.Failure when it is one too many, or PublishError."""
        if self.limit == 0:
            return
        now = time.time()
        key = hashlib.sha256(address.encode()).hexdigest()[:32]
        if self._used_up.get(key, 0) <= now:
            allowance = await self._counted.hit(_ANYONE, key, self.limit, now=now)
            if allowance.allowed:
                return
            if len(self._used_up) >= MAX_REMEMBERED:
                self._used_up.clear()
            self._used_up[key] = allowance.reset_at
        raise too_many(self.limit)
