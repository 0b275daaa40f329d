"""How many webhooks a second one webhook-dispatcher process delivers: consume, sign, post, record, acknowledge.

Its floor posts the very bytes of such a webhook to the same sink with the same HTTP client, libcurl, in a bare loop;
bare sockets are told beside it. MongoDB is away, as it may be: what writes the history is not measured here.

python -m benchmarks.deliver
"""

import asyncio
import contextlib
from datetime import UTC, datetime

import msgspec
import uvloop

from benchmarks.bare_curl import curl_posts
from benchmarks.feed import work_off
from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import NO_CONTENT, Rate, raw_posts
from benchmarks.machine import Server, cpu_s_of, nats_server, service
from benchmarks.sink import HOSTS, Sink, sink
from kurir.contracts import events, ids, streams, subjects
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint, SealedSecret
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus, Outgoing
from kurir.runtime.partitions import partition_of
from kurir.runtime.secrets import MasterKey, endpoint_context, new_master_key
from kurir.runtime.signing import new_webhook_secret

ENDPOINTS = len(HOSTS)  # each a host and a tenant of its own
SECONDS = 4.0
POSTS = 30_000
WINDOW = 8 * ENDPOINTS  # no more than an endpoint is sent at once, so that none falls behind into its lane
CONNECTIONS = 64
ROUNDS = 3


def main() -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Figure]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        receiver = stack.enter_context(sink())
        bus = await Bus.connect(server.url, name="deliver")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        key = new_master_key()
        endpoints = await _endpoints(bus, MasterKey.parse(key), receiver.port)
        pid = await stack.enter_async_context(dispatcher(server, key))
        await _delivered(bus, endpoints, pid, seconds=0.3)  # connections exist from here on
        measures: dict[str, Measure] = {
            "ours": lambda: _delivered(bus, endpoints, pid),
            "libcurl": lambda: _posted_by_curl(receiver),
            "sockets": lambda: _posted(receiver),
        }
        rates = await in_turns(ROUNDS, measures)
    figures = [
        Figure(
            name="deliver",
            what=f"webhook-dispatcher, {ENDPOINTS} endpoints",
            ours=rates["ours"],
            floor_is=f"the same bytes by bare {by}, {CONNECTIONS} at once",
            floor=rates[by],
        )
        for by in ("libcurl", "sockets")
    ]
    show(figures)
    return figures


def dispatcher(server: Server, master_key: str) -> contextlib.AbstractAsyncContextManager[int]:
    """A webhook-dispatcher process that may post to this machine. Yields its process id."""
    environment = {
        "NATS_URL": server.url,
        "MONGODB_URL": "mongodb://127.0.0.1:9/kurir",
        "KURIR_MASTER_KEY": master_key,
        "KURIR_EGRESS_ALLOW": "127.0.0.0/8",
    }
    return service("kurir.cli", "webhook-dispatcher", environment=environment)


async def _endpoints(bus: Bus, master_key: MasterKey, port: int) -> list[Endpoint]:
    made = []
    for number in range(ENDPOINTS):
        now = datetime.now(UTC)
        tenant, identifier = f"bench{number}", ids.short_id("wh_")
        sealed = master_key.seal(new_webhook_secret(), endpoint_context(tenant, identifier))
        endpoint = Endpoint(
            id=identifier,
            tenant=tenant,
            url=f"http://{HOSTS[number]}:{port}/hooks/{number:03}",
            created_at=now,
            updated_at=now,
            secrets=(SealedSecret(id="s1", sealed=sealed, created_at=now),),
        )
        await keyvalue.put(bus, "endpoints", f"{tenant}.{identifier}", msgspec.json.encode(endpoint))
        made.append(endpoint)
    return made


def _delivery(endpoint: Endpoint, number: int) -> Outgoing:
    """A delivery as the fan-out makes it of a status event."""
    now, message = datetime.now(UTC), ids.uuid7()
    event = events.MessageStatusChanged(
        id=ids.status_event_id(message, "delivered"),
        tenant=endpoint.tenant,
        device="dev_0000000000000000000000000",
        at=now,
        seq=number,
        message_id=message,
        status="delivered",
        to="6281234567890@s.whatsapp.net",
        whatsapp_id="3EB0C767D097B7C7C030",
    )
    delivery = Delivery(
        id=ids.delivery_id(event.id, endpoint.id),
        tenant=endpoint.tenant,
        device=event.device,
        endpoint=endpoint.id,
        event_id=event.id,
        event_type=events.type_of(event),
        event=msgspec.Raw(events.encode(event)),
        stream_seq=number + 1,
        first_at=now,
        message_id=message,
    )
    subject = subjects.delivery(partition_of(endpoint.id, subjects.DELIVERY_PARTITIONS), endpoint.id)
    return Outgoing(subject, msgspec.json.encode(delivery), ids.attempt_id(delivery.id, 0, 1))


async def _delivered(bus: Bus, endpoints: list[Endpoint], pid: int, seconds: float = SECONDS) -> Rate:
    before = cpu_s_of(pid)
    progress = await work_off(
        bus,
        streams.DELIVERIES.name,
        lambda number: _delivery(endpoints[number % len(endpoints)], number),
        window=WINDOW,
        seconds=seconds,
    )
    return Rate(per_s=progress.per_s, cpu_us=(cpu_s_of(pid) - before) / progress.count * 1e6)


async def _posted_by_curl(receiver: Sink) -> Rate:
    request = receiver.seen().first
    return await asyncio.to_thread(curl_posts, receiver.port, request, CONNECTIONS, POSTS)


async def _posted(receiver: Sink) -> Rate:
    request = receiver.seen().first
    return await raw_posts(receiver.port, request, len(NO_CONTENT), CONNECTIONS, POSTS)


if __name__ == "__main__":
    main()
