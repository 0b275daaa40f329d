"""Who gets webhooks: the tenants' endpoints as the api wrote them, in memory, with what is needed to write to them.

While NATS is away the last known endpoints count. News of an endpoint come a moment after the api confirmed it: the
fan-out waits for them with `catch_up`, once for a batch of events, and so does a line of events in order; who finds one
unknown or off asks for it again. Nothing else here asks a server.
"""

import functools
from collections import defaultdict
from collections.abc import Callable

import structlog

from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Bus
from kurir.runtime.registry import Registry, key_of
from kurir.runtime.secrets import MasterKey
from kurir.webhook_dispatcher.matching import interested
from kurir.webhook_dispatcher.request import RequestWriter

log = structlog.get_logger(__name__)

KEPT_ANSWERS = 10_000  # of `interested`: tenants times devices times event types that come by


@functools.lru_cache(maxsize=100_000)
def endpoint_key(tenant: str, endpoint: str) -> str:
    """The key of an endpoint in `endpoints` and in `endpoint_state`. Raises ValueError for what are no ids."""
    return key_of(tenant, endpoint)


class Endpoints:
    """`interested` for the fan-out, `get` and `writer` for a delivery."""

    def __init__(self, bus: Bus, master_key: MasterKey) -> None:
        self._registry = Registry(bus, "endpoints", Endpoint)
        self._master_key = master_key
        self._of_tenant: dict[str, dict[str, Endpoint]] = defaultdict(dict)
        self._interested: dict[tuple[str, str, str], list[Endpoint]] = {}
        self._writers: dict[str, RequestWriter] = {}
        self._by_id: dict[str, Endpoint] = {}
        self._registry.on_change(self._changed)

    async def start(self) -> None:
        await self._registry.start()

    async def stop(self) -> None:
        await self._registry.stop()

    def __len__(self) -> int:
        return len(self._registry)

    async def find(self, tenant: str, endpoint: str) -> Endpoint | None:
        """The endpoint, or None when it is gone. Only one that is not in memory is asked for at the server: a delivery
        can be faster than the news of its endpoint. Raises BrokerUnavailable then."""
        key = endpoint_key(tenant, endpoint)
        known = self._registry.get(key)
        if known is not None:
            return known
        fetched = await self._registry.fetch(key)
        return fetched.value if fetched is not None else None

    async def newest(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint as the server has it, where what is in memory may be a moment old; None when it is gone.

        Raises BrokerUnavailable.
        """
        fetched = await self._registry.fetch(endpoint_key(endpoint.tenant, endpoint.id))
        return fetched.value if fetched is not None else None

    async def catch_up(self) -> None:
        """Return when every endpoint and change is known that was confirmed to its tenant before this call.

        Raises BrokerUnavailable.
        """
        await self._registry.catch_up()

    def interested(self, tenant: str, device: str, type_: str) -> list[Endpoint]:
        """The endpoints of `tenant` that are to hear of an event of this native type from this device."""
        asked = (tenant, device, type_)
        found = self._interested.get(asked)
        if found is None:
            if len(self._interested) >= KEPT_ANSWERS:
                self._interested.clear()
            found = interested(self._of_tenant.get(tenant, {}).values(), device, type_)
            self._interested[asked] = found
        return found

    def known(self, tenant: str, endpoint: str) -> Endpoint | None:
        """The endpoint as it is in memory."""
        return self._registry.get(endpoint_key(tenant, endpoint))

    def by_id(self, endpoint: str) -> Endpoint | None:
        """The endpoint of that id, of whatever tenant."""
        return self._by_id.get(endpoint)

    def all(self) -> list[Endpoint]:
        """Every endpoint of every tenant."""
        return [endpoint for _, endpoint in self._registry.items()]

    def on_change(self, callback: Callable[[str, Endpoint | None, Endpoint | None], None]) -> None:
        """Call back with key, old and new record after each change."""
        self._registry.on_change(callback)

    def max_in_flight_of(self, endpoint: str) -> int:
        """The requests that the endpoint of that id takes at once; 1 when it is not known."""
        known = self._by_id.get(endpoint)
        return known.max_in_flight if known is not None else 1

    def writer(self, endpoint: Endpoint) -> RequestWriter:
        """What writes requests to this endpoint; its secrets are opened once per change of the endpoint.

        Raises SecretsUnusable.
        """
        key = endpoint_key(endpoint.tenant, endpoint.id)
        writer = self._writers.get(key)
        if writer is None or writer.endpoint is not endpoint:
            writer = self._writers[key] = RequestWriter(endpoint, self._master_key)
        return writer

    def _changed(self, key: str, old: Endpoint | None, new: Endpoint | None) -> None:
        tenant, _, identifier = key.partition(".")
        if new is not None and (new.tenant, new.id) != (tenant, identifier):
            log.error("endpoint.misplaced", key=key)  # its events would be those of another tenant
            new = None
        if new is not None:
            self._of_tenant[tenant][identifier] = new
            self._by_id[identifier] = new
        else:
            self._by_id.pop(identifier, None)
            self._of_tenant[tenant].pop(identifier, None)
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]
        self._writers.pop(key, None)
        self._interested.clear()
