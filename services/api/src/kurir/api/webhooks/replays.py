"""Orders to deliver again, to one webhook or to all, and how far the webhook-dispatcher has come with them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.problems import Problem
from kurir.api.webhooks.schemas import NewReplay, ReplayView
from kurir.api.webhooks.service import Webhooks
from kurir.contracts import deliveries, ids, streams, subjects
from kurir.contracts.deliveries import ReplayOrder
from kurir.contracts.records import Endpoint, EventFilter, Replay
from kurir.dialects.event_patterns import names_wanted
from kurir.runtime.broker import Bus
from kurir.runtime.clock import Clock
from kurir.runtime.mongo import Mongo
from kurir.runtime.progress import taken_seq
from kurir.runtime.registry import Registry

MAX_UNDER_WAY = 5  # of one webhook: each reads the stream for itself

_encoder = msgspec.json.Encoder()


class WebhookReplays:
    def __init__(
        self, bus: Bus, mongo: Mongo, clock: Clock, changes: Changes, webhooks: Webhooks, progress: Registry[Replay]
    ) -> None:
        self._bus = bus
        self._mongo = mongo
        self._clock = clock
        self._changes = changes
        self._webhooks = webhooks
        self._progress = progress

    async def order(self, caller: Caller, webhook_id: str, new: NewReplay) -> ReplayView:
        """Order a replay. Raises Problem: WEBHOOK_NOT_FOUND, LIMIT_REACHED, or about a field; PublishError."""
        endpoint = self._webhooks.get(caller, webhook_id)
        _check(new)
        self._webhooks.check_events(new.events)
        await self._check_room(endpoint)
        order = self._order(
            endpoint,
            event_id=new.event_id,
            dead=new.dead,
            since=new.since,
            until=new.until,
            events=new.events,
            filter=self._webhooks.filter(caller, new.filter) if new.filter is not None else EventFilter(),
            per_second=new.per_second,
        )
        return await self._give(caller, endpoint, order)

    async def order_delivery(self, caller: Caller, delivery_id: str) -> ReplayView:
        """Order that one delivery is made again. Raises Problem, NOT_FOUND for another tenant's too; PublishError."""
        event_id, _, webhook_id = delivery_id.rpartition(":")
        try:
            return await self.order(caller, webhook_id, NewReplay(event_id=event_id))
        except Problem as problem:
            raise Problem("NOT_FOUND") if problem.code == "WEBHOOK_NOT_FOUND" else problem from None

    async def order_event(self, caller: Caller, event_id: str) -> list[ReplayView]:
        """Order that an event is delivered again to all webhooks that ask for it; a key of a device has its own.

        Raises Problem, NOT_FOUND for another tenant's event too; MongoError, PublishError.
        """
        event = await self._mongo.find_one("events", {"_id": event_id})
        own_device = caller.key.device
        if event is None or event["tenant"] != caller.tenant.id or own_device not in (None, event["device"]):
            raise Problem("NOT_FOUND")
        wanting = [
            endpoint
            for endpoint in self._webhooks.all(caller)
            if endpoint.device in (None, event["device"])
            and names_wanted(endpoint.payload, endpoint.events, event["type"])
        ]
        for endpoint in wanting:
            await self._check_room(endpoint)
        orders = [(one, self._order(one, event_id=event_id, only_wanted=True)) for one in wanting]
        return [await self._give(caller, endpoint, order) for endpoint, order in orders]

    async def _check_room(self, endpoint: Endpoint) -> None:
        if len(await self._waiting(endpoint)) >= MAX_UNDER_WAY:
            raise Problem("LIMIT_REACHED", f"At most {MAX_UNDER_WAY} replays of a webhook are under way at once.")

    def _order(self, endpoint: Endpoint, **what: Any) -> ReplayOrder:
        now = self._clock.now()
        return ReplayOrder(id=ids.short_id("rp_"), tenant=endpoint.tenant, endpoint=endpoint.id, made_at=now, **what)

    async def _give(self, caller: Caller, endpoint: Endpoint, order: ReplayOrder) -> ReplayView:
        fanned_out = await taken_seq(self._bus, streams.EVENTS.name, streams.FANOUT_CONSUMER)
        order = replace(order, fanned_out=fanned_out)
        await self._bus.publish(_subject(order), _encoder.encode(order), msg_id=order.id)
        await self._changes.tell(
            endpoint.tenant,
            "endpoint.replayed",
            actor=caller.key,
            target=endpoint.id,
            device=endpoint.device,
            id=order.id,
        )
        return _waiting_view(order)

    async def all(self, caller: Caller, webhook_id: str) -> list[ReplayView]:
        """The webhook's replays of the last 30 days, newest first. Raises Problem, BrokerUnavailable."""
        endpoint = self._webhooks.get(caller, webhook_id)
        known = {replay.id: view_of(replay) for _, replay in self._progress.items(f"{endpoint.tenant}.{endpoint.id}")}
        views = {order.id: _waiting_view(order) for order in await self._waiting(endpoint)} | known
        return sorted(views.values(), key=lambda view: view.created_at, reverse=True)

    async def show(self, caller: Caller, webhook_id: str, replay_id: str) -> ReplayView:
        """One replay. Raises Problem, NOT_FOUND for another webhook's too; BrokerUnavailable."""
        found = [view for view in await self.all(caller, webhook_id) if view.id == replay_id]
        if not found:
            raise Problem("NOT_FOUND")
        return found[0]

    async def cancel(self, caller: Caller, webhook_id: str, replay_id: str) -> None:
        """Stop a replay that waits or runs, within a second; one that has ended stays as it is."""
        view = await self.show(caller, webhook_id, replay_id)
        endpoint = self._webhooks.get(caller, webhook_id)
        subject = subjects.replay(endpoint.tenant, endpoint.id, view.id)
        await self._bus.js.purge_stream(streams.DELIVERIES.name, subject=subject)

    async def _waiting(self, endpoint: Endpoint) -> Sequence[ReplayOrder]:
        """Orders that are not done with."""
        waiting = subjects.replays_of_endpoint(endpoint.tenant, endpoint.id)
        stored = await self._bus.last_by_subjects(streams.DELIVERIES.name, waiting)
        return [deliveries.decode_replay(one.data) for one in stored]


def _subject(order: ReplayOrder) -> str:
    return subjects.replay(order.tenant, order.endpoint, order.id)


def _check(new: NewReplay) -> None:
    asked = [name for name, is_given in _given(new).items() if is_given]
    if len(asked) != 1:
        raise Problem("VALIDATION_ERROR", "Give one of eventId, since and dead.", field=asked[1] if asked else "since")
    if new.since is not None and new.until is not None and new.until <= new.since:
        raise Problem("VALIDATION_ERROR", "`until` must be later than `since`.", field="until")
    if new.since is None and new.until is not None:
        raise Problem("VALIDATION_ERROR", "`until` is the end of a range that begins with `since`.", field="until")


def _given(new: NewReplay) -> dict[str, bool]:
    return {"eventId": new.event_id is not None, "since": new.since is not None, "dead": new.dead}


def _waiting_view(order: ReplayOrder) -> ReplayView:
    return ReplayView(
        id=order.id,
        webhook_id=order.endpoint,
        state="waiting",
        created_at=order.made_at,
        updated_at=order.made_at,
    )


def view_of(replay: Replay) -> ReplayView:
    return ReplayView(
        id=replay.id,
        webhook_id=replay.endpoint,
        state=replay.state,
        created_at=replay.made_at,
        updated_at=replay.at,
        replayed=replay.replayed,
        skipped=replay.skipped,
        reason=replay.reason,
    )
