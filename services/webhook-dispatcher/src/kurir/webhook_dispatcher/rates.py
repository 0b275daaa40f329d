"""No more requests in a second than an endpoint wants, of all dispatchers together.

Each request is counted before it is made, by a counter of its endpoint and second that all dispatchers share. Who
comes too late waits for a later second; meanwhile it holds one of the endpoint's places, and the rest wait in its lane.
"""

from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock
from kurir.runtime.counters import RateLimit
from kurir.runtime.settlement import Retry


class Rates:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._limit = RateLimit(bus, "webhook", window_s=1)
        self._clock = clock
        self._second = 0
        self._full: set[str] = set()  # endpoints that take no more in this second, so that nobody asks again
        self._is_stopping = False

    async def turn(self, endpoint: Endpoint, per_second: int) -> None:
        """Return when a request to `endpoint` may be made. Raises PublishError, and Retry when we are ending."""
        while not self._is_stopping:
            now = self._clock.time()
            if int(now) != self._second:
                self._second = int(now)
                self._full.clear()
            if endpoint.id not in self._full:
                allowance = await self._limit.hit(endpoint.tenant, endpoint.id, per_second, now=now)
                if allowance.allowed:
                    return
                if int(now) == self._second:
                    self._full.add(endpoint.id)
            await self._clock.sleep(int(now) + 1 - self._clock.time())
        raise Retry(0.0, "the dispatcher ends")

    async def stop(self) -> None:
        """Let go of everybody who waits, within a second."""
        self._is_stopping = True
