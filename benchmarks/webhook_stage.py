"""What the figures of the webhook-dispatcher share: one dispatcher process, its broker, and endpoints by the dozen.

Each endpoint is a host of its own and belongs to a tenant of its own, unless tenants are to have several. MongoDB is
away, as it may be: what writes the history is not measured here.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from benchmarks.machine import Meter, Server, nats_server, service
from kurir.contracts import events, ids, subjects
from kurir.contracts.records import Endpoint, SealedSecret
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus, Outgoing, PubAck
from kurir.runtime.secrets import MasterKey, new_master_key
from kurir.runtime.signing import new_webhook_secret
from tests.support.endpoint_farm import EndpointFarm

LOOK_EVERY_S = 0.005
TICK_S = 0.005
WITHIN_S = 60.0
WINDOW = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Deliveries that arrived; CPU in microseconds for each of them."""

    count: int
    per_s: float
    dispatcher_us: float
    server_us: float


@dataclass(kw_only=True)
class WebhookStage:
    """`say` and `arrive` count deliveries: an event is one for each endpoint of its tenant."""

    server: Server
    farm: EndpointFarm
    bus: Bus
    pid: int
    endpoints: list[Endpoint]
    tenants: int
    said: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When each event was published, in Unix seconds, and by which tenant."""

    @property
    def per_event(self) -> int:
        """Deliveries of one event."""
        return len(self.endpoints) // self.tenants

    async def say(self, tenants: Sequence[int], make: Callable[[int], Outgoing] | None = None) -> None:
        """Publish one event of each of these tenants. Raises PublishError."""
        outgoing = [(make or self.event)(tenant) for tenant in tenants]
        for result in await self.bus.publish_many(outgoing, timeout_s=WITHIN_S):
            if not isinstance(result, PubAck):
                raise result

    async def arrived(self, count: int) -> None:
        """Return when that many requests have arrived in all. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN_S):
            while await self.farm.arrived() < count:
                await asyncio.sleep(LOOK_EVERY_S)

    async def as_fast_as_it_goes(self, seconds: float, window: int = WINDOW) -> Progress:
        """Say events of all tenants in turn, with no more than `window` deliveries under way."""
        before, number, said = await self.farm.arrived(), 0, 0
        meter = Meter({"dispatcher": self.pid, "server": self.server.pid})
        began = now = time.perf_counter()
        done = 0
        while now - began < seconds or done < said:
            if now - began < seconds:
                room = (window - (said - done)) // self.per_event
                await self.say([(number + more) % self.tenants for more in range(room)])
                number += room
                said += room * self.per_event
            await asyncio.sleep(LOOK_EVERY_S)
            done = await self.farm.arrived() - before
            now = time.perf_counter()
            if now - began > seconds + WITHIN_S:
                raise TimeoutError(f"{done} of {said} deliveries arrived")
        used = meter.read()
        return Progress(
            count=done,
            per_s=done / (now - began),
            dispatcher_us=used["dispatcher"] / done * 1e6,
            server_us=used["server"] / done * 1e6,
        )

    async def at_a_rate(
        self, events_per_s: Mapping[int, float], seconds: float, make: Callable[[int], Outgoing] | None = None
    ) -> None:
        """Say each tenant's events evenly at its own rate."""
        began = time.perf_counter()
        said = dict.fromkeys(events_per_s, 0)
        while (elapsed := time.perf_counter() - began) < seconds:
            due = [
                tenant
                for tenant, per_s in events_per_s.items()
                # Apart from each other, so that they do not all fall into one tick.
                for _ in range(int(elapsed * per_s + tenant / self.tenants) - said[tenant])
            ]
            for tenant in due:
                said[tenant] += 1
            await self.say(due, make)
            await asyncio.sleep(TICK_S)

    async def latencies_ms(self, endpoints: Collection[int], since: float) -> list[float]:
        """From publishing to the whole request at one of these endpoints, of all events said since then, sorted.

        Waits until each has arrived: every endpoint is taken for its tenant's only one. Raises TimeoutError.
        """
        names = {tenant_name(number) for number in endpoints}
        wanted = {event for event, (at, tenant) in self.said.items() if at >= since and tenant in names}
        async with asyncio.timeout(WITHIN_S):
            while len(found := await self._first_arrivals(wanted)) < len(wanted):
                await asyncio.sleep(LOOK_EVERY_S)
        return sorted((at - self.said[event][0]) * 1000 for event, at in found.items())

    async def _first_arrivals(self, wanted: Collection[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for arrival in await self.farm.arrivals():
            if arrival.event in wanted:
                found.setdefault(arrival.event, arrival.at)
        return found

    def event(self, tenant: int) -> Outgoing:
        """An event of this tenant, which counts as said now."""
        event = status_event(tenant_name(tenant))
        self.said[event.id] = (time.time(), event.tenant)
        subject = subjects.event(event.tenant, event.device, events.type_of(event))
        return Outgoing(subject, events.encode(event), event.id)


@contextlib.asynccontextmanager
async def webhook_stage(
    endpoints: int, *, tenants: int = 0, environment: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[WebhookStage]:
    """Endpoint number n is one of tenant n modulo `tenants`, by default its only one."""
    tenants = tenants or endpoints
    key = new_master_key()
    async with nats_server() as server, EndpointFarm() as farm:
        bus = await Bus.connect(server.url, name="webhook-stage")
        try:
            await topology.apply(bus)
            sealing = MasterKey.parse(key)
            made = [_endpoint(farm.url(number), tenant_name(number % tenants), sealing) for number in range(endpoints)]
            for endpoint in made:
                name = f"{endpoint.tenant}.{endpoint.id}"
                await keyvalue.put(bus, "endpoints", name, msgspec.json.encode(endpoint))
            settings = {
                "NATS_URL": server.url,
                "MONGODB_URL": "mongodb://127.0.0.1:9/kurir",
                "KURIR_MASTER_KEY": key,
                "KURIR_EGRESS_ALLOW": "127.0.0.0/8",
                **environment,
            }
            async with service("kurir.cli", "webhook-dispatcher", environment=settings) as pid:
                stage = WebhookStage(server=server, farm=farm, bus=bus, pid=pid, endpoints=made, tenants=tenants)
                await stage.say(range(tenants))  # connections exist from here on
                await stage.arrived(endpoints)
                yield stage
        finally:
            await bus.close()


def status_event(tenant: str) -> events.MessageStatusChanged:
    """A message reached its recipient: the event that there is most of."""
    message = ids.uuid7()
    return events.MessageStatusChanged(
        id=ids.status_event_id(message, "delivered"),
        tenant=tenant,
        device="dev_0000000000000000000000000",
        at=datetime.now(UTC),
        message_id=message,
        status="delivered",
        to="6281234567890@s.whatsapp.net",
        whatsapp_id="3EB0C767D097B7C7C030",
    )


def tenant_name(number: int) -> str:
    return f"bench{number}"


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in ascending order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _endpoint(url: str, tenant: str, master_key: MasterKey) -> Endpoint:
    now = datetime.now(UTC)
    identifier = ids.short_id("wh_")
    sealed = master_key.seal(new_webhook_secret(), f"{tenant}/{identifier}")
    secrets = (SealedSecret(id="s1", sealed=sealed, created_at=now),)
    return Endpoint(id=identifier, tenant=tenant, url=url, created_at=now, updated_at=now, secrets=secrets)
