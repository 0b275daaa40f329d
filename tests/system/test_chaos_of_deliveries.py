"""The promise: whatever is killed, every event reaches every healthy endpoint, and what a sick one missed is kept.

Two dispatchers, nats-server and the MongoDB server get SIGKILL again and again, at moments that a seed decides, while
20,000 events go to 50 endpoints, of which some hang, refuse, answer 500, drip, redirect or reset. The endpoints' own
log is the truth. Proven by it: no event is missing at a healthy endpoint; each duplicate has its cause in a death that
lies where the order of steps allows one; of what sick endpoints got or missed everything is delivered, waits or is
dead; each request that arrived is on record, but for those whose sender died before it could say so.

By default the tenants share the endpoints, five each, and it takes two minutes. `make chaos` takes half an hour, and
sends every event to every endpoint. KURIR_CHAOS_SEED repeats the deaths of an earlier run.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from kurir.contracts import events, ids, streams, subjects
from kurir.contracts.records import Endpoint
from kurir.runtime.broker import Outgoing, PubAck
from kurir.runtime.mongo import Mongo
from tests.support.conditions import until
from tests.support.dispatcher import DispatcherProcess, Stage, a_message
from tests.support.endpoint_farm import Behaviour, EndpointFarm
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.system.deliveries_under_chaos.killing import Kill, Victim, killing
from tests.system.deliveries_under_chaos.ledger import Key, Ledger, Record

SEED = os.environ.get("KURIR_CHAOS_SEED") or secrets.token_hex(4)
KILLING_S = float(os.environ.get("KURIR_CHAOS_S", "50"))
EVENTS = int(os.environ.get("KURIR_CHAOS_EVENTS", "20000"))
TENANTS = int(os.environ.get("KURIR_CHAOS_TENANTS", "10"))
ENDPOINTS = 50
DISPATCHERS = 2
DEVICES_PER_TENANT = 8

KINDS: tuple[Behaviour, ...] = ("hang", "refuse", "fail", "drip", "redirect", "reset")
SICK = dict(zip((0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46), KINDS * 2, strict=True))
HEALTHY = frozenset(range(ENDPOINTS)) - SICK.keys()
RECOVERING = (0, 4, 8, 12, 16, 21)
GIVING_UP_SOON = (33, 42)
"""Endpoints with a schedule so short that their deliveries end in DEAD."""

SHOWN = 10
EVENT_TYPES = ("messages.upsert", "send.message.*")
"""What the endpoints hear of: not of each other's failing and recovering, which nobody here says."""

PUBLISH_EVERY_S = 0.05
DEADLINE_S = 3.0
UNDER_WAY_S = DEADLINE_S + 2.0
"""A request that is younger may not be on record yet."""

ENVIRONMENT = {
    "KURIR_EGRESS_ALLOW": "127.0.0.0/8",
    "KURIR_ATTEMPT_DEADLINE_S": str(DEADLINE_S),
    "KURIR_RETRY_SCHEDULE": "1,2,4,3600",
    "KURIR_CIRCUIT_THRESHOLD": "10",
    "KURIR_CIRCUIT_FIRST_S": "1",
    "KURIR_CIRCUIT_LONGEST_S": "4",
}
CAUGHT_UP_WITHIN_S = 120.0 + KILLING_S
"""What a killed process held of the history comes again after a minute; the rest is for slow machines."""

Deed = Callable[[], Awaitable[None]]

pytestmark = [pytest.mark.system, pytest.mark.timeout(2 * CAUGHT_UP_WITHIN_S + KILLING_S + 120)]


async def test_every_event_reaches_every_healthy_endpoint_whatever_is_killed(counted: list[str]) -> None:
    print(f"seed {SEED}", flush=True)
    async with servers() as (nats, mongo), EndpointFarm(SICK) as farm, Stage(nats, mongo.url) as stage:
        chaos = Chaos(stage, farm, nats, mongo)
        try:
            await chaos.register()
            kills = await chaos.rage()
            behind = await chaos.history_is_behind()
            for number in RECOVERING:
                farm.behave(number, "well")
            began = time.monotonic()
            await chaos.catch_up(HEALTHY.union(RECOVERING))
            took_s = time.monotonic() - began
            ledger = await chaos.ledger(kills)
        finally:
            chaos.end()

    duplicates, unexplained = ledger.explained()
    ends = ledger.ends(SICK.keys())
    unrecorded = sum(map(len, ledger.unrecorded().values()))
    counted += [
        f"seed {SEED}: {len(kills)} kills in {KILLING_S:.0f} s ({summary(kills)}), caught up {took_s:.0f} s later",
        f"the history was {behind} attempts behind when the killing ended",
        f"{len(ledger.said)} events, {len(ledger.arrivals)} requests, {unrecorded} of them not on record",
        f"at healthy endpoints {sum(duplicates.values()) + len(unexplained)} duplicates: {dict(duplicates)}",
        f"of deliveries to sick endpoints {dict(ends)}",
    ]
    print("\n".join(counted))
    nothing_found("events that never reached a healthy endpoint", ledger.missing())
    nothing_found("deliveries to sick endpoints that are lost", ledger.lost(SICK.keys()))
    nothing_found("requests to whom they do not belong", ledger.astray())
    nothing_found("attempts on record as answered that never arrived", ledger.untrue())
    nothing_found("requests that are not on record, and no death explains it", ledger.unrecorded_unexplained())
    nothing_found("duplicates that no death explains", unexplained)


def nothing_found(what: str, found: Sequence[object]) -> None:
    shown = "\n".join(map(str, found[:SHOWN]))
    assert not found, f"{len(found)} {what} (seed {SEED}):\n{shown}"


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[NatsServer, MongoServer]]:
    nats, mongo = NatsServer(), MongoServer()
    try:
        await nats.start()
        await mongo.start()
        yield nats, mongo
    finally:
        await nats.kill()
        await nats.stop()
        await mongo.stop()


def summary(kills: list[Kill]) -> str:
    names = [kill.name for kill in kills]
    return ", ".join(f"{name} {names.count(name)} times" for name in sorted(set(names)))


class Chaos:
    """The system, those who talk to it, and what is known of both at the end."""

    def __init__(self, stage: Stage, farm: EndpointFarm, nats: NatsServer, mongo: MongoServer) -> None:
        self.stage, self.farm, self.nats, self.mongo = stage, farm, nats, mongo
        self.dispatchers = [DispatcherProcess(stage, ENVIRONMENT) for _ in range(DISPATCHERS)]
        self.endpoints: dict[str, int] = {}
        self.said: dict[str, float] = {}
        self.hears: dict[str, range] = {}

    async def register(self) -> None:
        for number in range(ENDPOINTS):
            own: dict[str, Any] = {"events": ("message.received",)}  # and nothing of how each other fares
            if number in GIVING_UP_SOON:
                own["retry_delays_s"] = (0.5,)
            own |= {"tenant": tenant_of(number), "events": EVENT_TYPES}
            endpoint: Endpoint = await self.stage.endpoint(self.farm.url(number), **own)
            self.endpoints[endpoint.id] = number

    async def rage(self) -> list[Kill]:
        """Say all events while everything is killed; everything is alive again at the end."""
        await asyncio.gather(*(dispatcher.start() for dispatcher in self.dispatchers))
        ends_at = time.monotonic() + KILLING_S
        async with asyncio.TaskGroup() as together:
            dying = [
                together.create_task(killing(*how, seed=SEED, until=ends_at, knew_until=self.knew_until(how[0])))
                for how in self.victims()
            ]
            together.create_task(self.say_all())
        return sorted((kill for each in dying for kill in each.result()), key=lambda kill: kill.at)

    def victims(self) -> Iterator[tuple[Victim, str, Deed, Deed]]:
        yield "nats-server", "nats-server", self.nats.kill, self.nats.start
        yield "mongo", "mongo", self.mongo.kill, self.mongo.start
        for number, dispatcher in enumerate(self.dispatchers, start=1):
            yield "dispatcher", f"dispatcher {number}", partial(asyncio.to_thread, dispatcher.kill), dispatcher.start

    def knew_until(self, victim: Victim) -> Callable[[], float]:
        """What says until when the victim, dead by then, had written down what it was told.

        The broker: the acknowledgements of events, which it keeps in memory and writes to a file again and again. That
        of a delivery takes it out of its stream at once.
        """
        if victim != "nats-server":
            return time.time
        kept = f"store/jetstream/*/streams/{streams.EVENTS.name}/obs/{streams.FANOUT_CONSUMER}/o.dat"
        return lambda: max((file.stat().st_mtime for file in self.nats.home.glob(kept)), default=0.0)

    async def say_all(self) -> None:
        """Publish the events evenly over the time of killing, each until it is confirmed."""
        chance = random.Random(f"{SEED}/events")
        began = time.monotonic()
        unconfirmed: list[Outgoing] = []
        while unconfirmed or len(self.said) < EVENTS:
            due = min(EVENTS, int((time.monotonic() - began) / KILLING_S * EVENTS) + 1)
            unconfirmed += [self.event(chance) for _ in range(due - len(self.said))]
            results = await self.stage.bus.publish_many(unconfirmed)
            unconfirmed = [
                event for event, result in zip(unconfirmed, results, strict=True) if not isinstance(result, PubAck)
            ]
            await asyncio.sleep(PUBLISH_EVERY_S)

    def event(self, chance: random.Random) -> Outgoing:
        """An event of one of the tenants, which from now on counts as said."""
        number = chance.randrange(TENANTS)
        tenant, device = f"t{number}", f"d{chance.randrange(DEVICES_PER_TENANT)}"
        event: events.Event
        if chance.random() < 0.5:
            event = a_message(tenant, device)
        else:
            message = ids.uuid7()
            event = events.MessageStatusChanged(
                id=ids.status_event_id(message, "delivered"),
                tenant=tenant,
                device=device,
                at=datetime.now(UTC),
                message_id=message,
                status="delivered",
                to="6281234567890@s.whatsapp.net",
                whatsapp_id="3EB0C767D097B7C7C030",
            )
        self.said[event.id] = time.time()
        self.hears[event.id] = range(number, ENDPOINTS, TENANTS)
        subject = subjects.event(tenant, device, events.type_of(event))
        return Outgoing(subject, events.encode(event), event.id)

    async def catch_up(self, drained: frozenset[int]) -> None:
        """Return when every event was fanned out, nothing waits for these endpoints but a later attempt of theirs,
        and the history holds all that happened until then."""

        async def is_fanned_out() -> bool:
            fanout = await self.stage.bus.js.consumer_info(streams.EVENTS.name, streams.FANOUT_CONSUMER)
            return not fanout.num_pending and not fanout.num_ack_pending

        async def nothing_waits() -> bool:
            waiting: list[str] = []
            for filter_ in ("kurir.dlv.>", "kurir.dlvlane.>"):
                waiting += await self.stage.bus.subjects(streams.DELIVERIES.name, filter_)
            return not any(self.endpoints[subjects.delivery_key(subject)] in drained for subject in waiting)

        await until("every event is fanned out", is_fanned_out, within_s=CAUGHT_UP_WITHIN_S)
        await until("nothing waits for a healthy endpoint", nothing_waits, within_s=CAUGHT_UP_WITHIN_S)
        for stream, consumer in (
            (streams.EVENTS.name, streams.HISTORY_CONSUMER),
            (streams.AUDIT.name, streams.AUDIT_CONSUMER),
        ):
            last = (await self.stage.bus.js.stream_info(stream)).state.last_seq

            async def is_written() -> bool:
                info = await self.stage.bus.js.consumer_info(stream, consumer)  # noqa: B023
                return bool(info.ack_floor and info.ack_floor.stream_seq >= last)  # noqa: B023

            await until(f"{consumer} has caught up", is_written, within_s=CAUGHT_UP_WITHIN_S)

    async def history_is_behind(self) -> int:
        """Attempts that are not written yet."""
        info = await self.stage.bus.js.consumer_info(streams.AUDIT.name, streams.AUDIT_CONSUMER)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def ledger(self, kills: list[Kill]) -> Ledger:
        """Everything that is known. What is kept is read before what happened: between the two nothing can get lost."""
        settled_before = time.time() - UNDER_WAY_S
        waiting = await self.keys_in(streams.DELIVERIES.name, "kurir.>")
        dead = await self.keys_in(streams.DEAD.name, "kurir.dead.>")
        arrivals = await self.farm.arrivals()
        mongo = Mongo.connect(self.mongo.url)
        attempts = []
        for identifier, number in self.endpoints.items():
            found = await mongo.find("attempts", {"endpoint": identifier}, limit=10_000_000, projection=["body"])
            attempts += [(number, _record.decode(document["body"])) for document in found]
        nothing_found("events that are not in the history", sorted(self.said.keys() - await self.events_written(mongo)))
        await mongo.close()
        return Ledger(
            said=self.said,
            hears=self.hears,
            arrivals=arrivals,
            attempts=attempts,
            waiting=waiting,
            dead=dead,
            kills=kills,
            healthy=HEALTHY,
            deadline_s=DEADLINE_S,
            settled_before=settled_before,
        )

    async def events_written(self, mongo: Mongo) -> set[str]:
        found = set()
        for number in range(TENANTS):
            wanted = {"tenant": f"t{number}"}
            found |= {one["_id"] for one in await mongo.find("events", wanted, limit=10_000_000, projection=["key"])}
        return found

    async def keys_in(self, stream: str, subject: str) -> set[Key]:
        """The deliveries in a stream. What moves to its end while it is read is seen twice, not never."""
        stored = await self.stage.bus.read_from(stream, subject, 1, 10_000_000)
        kept = (_kept.decode(message.data) for message in stored)
        return {Key(delivery.event_id, self.endpoints[delivery.endpoint]) for delivery in kept}

    def end(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.kill()


class Kept(msgspec.Struct, frozen=True, gc=False):
    """What is of interest here of a delivery."""

    event_id: str
    endpoint: str


_record = msgspec.json.Decoder(Record)
_kept = msgspec.json.Decoder(Kept)


def tenant_of(endpoint: int) -> str:
    return f"t{endpoint % TENANTS}"
