"""`kurir webhook-dispatcher`: everything that this process consists of, in the order in which it starts."""

import resource

import click

from kurir.contracts import streams
from kurir.contracts.streams import MEDIA_BUCKET
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.broker import Bus
from kurir.runtime.egress import Egress, EgressPolicy
from kurir.runtime.mongo import Mongo
from kurir.runtime.objects import ObjectStore
from kurir.runtime.secrets import MasterKey
from kurir.runtime.service import Lifetime, run
from kurir.webhook_dispatcher.attempts import AttemptHistory, AuditTrail
from kurir.webhook_dispatcher.audit import FactWriter, audit_fact, event_fact
from kurir.webhook_dispatcher.backlog import Backlog
from kurir.webhook_dispatcher.circuit import CircuitSettings
from kurir.webhook_dispatcher.circuits import Circuits
from kurir.webhook_dispatcher.contexts import Contexts
from kurir.webhook_dispatcher.delivery import Delivering
from kurir.webhook_dispatcher.endpoint_events import ExhaustedDeliveries
from kurir.webhook_dispatcher.endpoint_health import EndpointHealth
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.fanout import FanOut
from kurir.webhook_dispatcher.files import Files
from kurir.webhook_dispatcher.in_order import InOrder
from kurir.webhook_dispatcher.leftovers import Leftovers
from kurir.webhook_dispatcher.measures import Measures
from kurir.webhook_dispatcher.payloads import Payloads
from kurir.webhook_dispatcher.places import Places
from kurir.webhook_dispatcher.rates import Rates
from kurir.webhook_dispatcher.replays import Replays
from kurir.webhook_dispatcher.request import USER_AGENT
from kurir.webhook_dispatcher.room import Room, RoomSettings
from kurir.webhook_dispatcher.settings import DispatcherSettings
from kurir.webhook_dispatcher.webhook_tests import WebhookTests
from kurir.webhook_dispatcher.workers import DeliveryWorkers


@click.command("webhook-dispatcher")
def command() -> None:
    """Deliver events to webhooks, and write the history."""
    run("webhook-dispatcher", DispatcherSettings, start)


async def start(life: Lifetime, settings: DispatcherSettings) -> None:
    """Compose the service. Needs the broker to start, and MongoDB never."""
    _allow_many_sockets()
    master_key = MasterKey.load(settings)
    measures = Measures(life.metrics)
    policy = EgressPolicy(
        guard=AddressGuard.parse(settings.egress_allowed, require_https=settings.egress_require_https),
        proxy=settings.egress_proxy,
        ca_file=settings.egress_ca_file,
        user_agent=USER_AGENT,
        max_in_flight=settings.max_in_flight,
    )

    bus, mongo = await _connect(life, settings)
    await _write_history(life, settings, bus, mongo, measures)

    endpoints = Endpoints(bus, master_key)
    await life.start("endpoints", endpoints)
    contexts = Contexts(bus, settings.public_url)
    await life.start("contexts", contexts)
    audit = AuditTrail(bus)
    health = EndpointHealth(
        bus, audit, disable_after_s=settings.disable_after_s, failing_after=settings.circuit_threshold
    )
    await life.start("endpoint health", health)
    exhausted = ExhaustedDeliveries(bus, life.clock)
    await life.start("exhausted deliveries", exhausted)
    egress = await life.enter("egress", Egress(policy))

    most_in_flight = settings.in_flight_per_endpoint
    workers = DeliveryWorkers(
        bus, max_in_flight_of=lambda endpoint: min(most_in_flight, endpoints.max_in_flight_of(endpoint))
    )
    circuits = Circuits(
        CircuitSettings(settings.circuit_threshold, settings.circuit_first_s, settings.circuit_longest_s),
        life.clock,
        measures,
        pause=workers.pause,
        resume=workers.resume,
    )
    rates = Rates(bus, life.clock)
    delivering = Delivering(
        bus=bus,
        endpoints=endpoints,
        health=health,
        exhausted=exhausted,
        egress=egress,
        audit=audit,
        history=AttemptHistory(mongo),
        payloads=Payloads(contexts),
        files=Files(ObjectStore(bus, MEDIA_BUCKET), settings.inline_file_max_bytes),
        circuits=circuits,
        rates=rates,
        measures=measures,
        clock=life.clock,
        retry_delays_s=settings.retry_delays_s,
        deadline_s=settings.attempt_deadline_s,
        response_cap_bytes=settings.response_cap_bytes,
        places=Places(settings.max_in_flight, settings.in_flight_per_tenant),
    )
    await workers.start(delivering.deliver)
    life.on_stop("deliveries", workers.stop)
    life.on_stop("circuits", circuits.stop)
    life.on_stop("rates", rates.stop)
    life.metrics.gauge_from("kurir_webhook_lanes", "Endpoints that are behind", lambda: workers.lanes)
    life.metrics.gauge_from("kurir_webhook_held", "Deliveries in this process", lambda: workers.held)
    life.metrics.gauge_from("kurir_webhook_open_circuits", "Endpoints that are left alone", lambda: circuits.open)

    in_order = InOrder(bus, endpoints, delivering, life.clock)
    await life.start("in order", in_order)
    life.metrics.gauge_from("kurir_webhook_lines", "Endpoints that get their events in order", lambda: in_order.lines)

    life.metrics.gauge_from(
        "kurir_webhook_in_order_oldest_seconds", "Age of the oldest event in work in order", lambda: in_order.oldest_s
    )

    await life.start("webhook tests", WebhookTests(bus, endpoints, delivering, life.clock))

    room_settings = RoomSettings(
        settings.max_pending_deliveries, settings.max_pending_bytes, settings.max_waiting_per_endpoint
    )
    room = Room(bus, endpoints, health, life.clock, measures, room_settings)
    await life.start("room", room)
    life.metrics.gauge_from("kurir_webhook_full", "Endpoints that have their share waiting", lambda: room.full)

    replays = Replays(bus, mongo, endpoints, room, life.clock)
    await life.start("replays", replays)
    life.metrics.gauge_from("kurir_webhook_replays", "Replays that are carried out here", lambda: replays.running)

    await life.start("backlog", Backlog(bus, life.clock, measures))
    await life.start("leftovers", Leftovers(bus))

    fanout = FanOut(bus, endpoints, room, exhausted, measures, life.clock)
    await fanout.start()
    life.spawn("fanout", fanout.run())
    life.on_stop("fanout", fanout.stop)


async def _connect(life: Lifetime, settings: DispatcherSettings) -> tuple[Bus, Mongo]:
    bus = await Bus.connect(
        settings.nats_url,
        name=f"kurir-webhook-dispatcher {settings.node_name}",
        creds=str(settings.nats_creds) if settings.nats_creds else None,
    )
    life.on_stop("bus", bus.close)
    life.health.ready_when("broker", lambda: bus.connected)
    mongo = Mongo.connect(settings.mongodb_url, settings.mongo_driver, app_name="kurir-webhook-dispatcher")
    life.on_stop("mongo", mongo.close)
    return bus, mongo


async def _write_history(
    life: Lifetime, settings: DispatcherSettings, bus: Bus, mongo: Mongo, measures: Measures
) -> None:
    """Two writers, one for each stream that the history is made of."""
    for stream, consumer, fact_of in (
        (streams.EVENTS.name, streams.HISTORY_CONSUMER, event_fact),
        (streams.AUDIT.name, streams.AUDIT_CONSUMER, audit_fact),
    ):
        writer = FactWriter(
            bus,
            mongo,
            measures,
            stream=stream,
            consumer=consumer,
            fact_of=fact_of,
            batch=settings.history_batch,
            wait_s=settings.history_wait_s,
        )
        await writer.start()
        life.spawn(consumer, writer.run())
        life.on_stop(consumer, writer.stop)


def _allow_many_sockets() -> None:
    """Each request under way and each idle connection holds one; the usual soft limit of 1,024 is for old programs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
