"""What of the bus' buckets the api has at hand: read whole when it starts, and heard of as it changes.

Ready when each of them is current.
"""

from typing import Any

from msgspec import Struct

from kurir.contracts.records import (
    AddressBookEntry,
    ApiKey,
    ContactGroup,
    Device,
    Endpoint,
    EndpointState,
    Holder,
    Node,
    Replay,
    Session,
    Shard,
    Tenant,
)
from kurir.runtime.broker import Bus
from kurir.runtime.registry import Registry
from kurir.runtime.service import Lifetime


class Registries(Struct, frozen=True):
    tenants: Registry[Tenant]
    keys: Registry[ApiKey]
    devices: Registry[Device]
    sessions: Registry[Session]
    endpoints: Registry[Endpoint]
    endpoint_states: Registry[EndpointState]
    replays: Registry[Replay]
    saved_contacts: Registry[AddressBookEntry]
    contact_groups: Registry[ContactGroup]
    nodes: Registry[Node]
    shards: Registry[Shard]
    leases: Registry[Holder]


async def open_registries(life: Lifetime, bus: Bus) -> Registries:
    """All of them, read; `life` closes them. Raises TimeoutError when the buckets do not exist or cannot be read."""
    kept = Registries(
        tenants=Registry(bus, "tenants", Tenant),
        keys=Registry(bus, "keys", ApiKey),
        devices=Registry(bus, "devices", Device),
        sessions=Registry(bus, "sessions", Session),
        endpoints=Registry(bus, "endpoints", Endpoint),
        endpoint_states=Registry(bus, "endpoint_state", EndpointState),
        replays=Registry(bus, "replays", Replay),
        saved_contacts=Registry(bus, "address_book", AddressBookEntry),
        contact_groups=Registry(bus, "contact_groups", ContactGroup),
        nodes=Registry(bus, "nodes", Node),
        shards=Registry(bus, "shards", Shard),
        leases=Registry(bus, "leases", Holder),
    )
    registries: list[Registry[Any]] = [getattr(kept, name) for name in kept.__struct_fields__]
    for registry in registries:
        await registry.start()
        life.on_stop(f"registry {registry.bucket}", registry.stop)
        life.health.ready_when(registry.bucket, lambda registry=registry: registry.is_current)  # type: ignore[misc]
    return kept
