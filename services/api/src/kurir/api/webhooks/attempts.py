"""What was sent to a webhook and how it answered, as the history has it: newest first, a page at a time; and all that
came of one event."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from kurir.api.auth import Caller
from kurir.api.problems import Problem
from kurir.api.webhooks.service import Webhooks
from kurir.contracts import deliveries
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.states import DeliveryOutcome
from kurir.runtime.mongo import Document, Mongo

MOST_IN_A_STORY: Final = 10_000


class AttemptView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One request. `httpStatus` is absent where there was no answer; then `error` is a class such as `timeout`, `dns`
    or `guard`. `nextAt` is when it is tried again, `response` the beginning of the answer's body. `attempt` is 0 where
    none was made, because too much waited for the webhook (`backlog_full`)."""

    id: str
    at: datetime
    event: str
    event_id: str
    device_id: str
    message_id: str | None
    webhook_id: str
    delivery: str
    attempt: int
    outcome: DeliveryOutcome
    http_status: int | None
    error: str | None
    detail: str | None
    milliseconds: float
    url: str
    address: str | None
    request_headers: dict[str, str]
    response: str
    next_at: datetime | None
    is_replay: bool
    is_test: bool


class AttemptPage(Struct, frozen=True, kw_only=True, rename="camel"):
    """`next` is the cursor of the next page, null on the last one."""

    attempts: list[AttemptView]
    next: str | None


class EventStory(Struct, frozen=True, kw_only=True, rename="camel"):
    """An event as it stands in the event stream, and each request to a webhook that came of it, oldest first."""

    id: str
    event: str
    device_id: str
    message_id: str | None
    at: datetime
    data: dict[str, Any]
    attempts: list[AttemptView]


class _Position(NamedTuple):
    """Where a page ends. The key tells apart what happened in the same millisecond."""

    at_ms: int
    key: str


class WebhookAttempts:
    def __init__(self, mongo: Mongo, webhooks: Webhooks) -> None:
        self._mongo = mongo
        self._webhooks = webhooks

    async def page(
        self, caller: Caller, webhook_id: str, *, limit: int, cursor: str | None, outcome: DeliveryOutcome | None
    ) -> AttemptPage:
        """Raises Problem: WEBHOOK_NOT_FOUND, for another tenant's too, or about the cursor; or MongoError."""
        endpoint = self._webhooks.get(caller, webhook_id)
        wanted = {"tenant": endpoint.tenant, "endpoint": endpoint.id} | ({"outcome": outcome} if outcome else {})
        found = await self._before(_position_of(cursor) if cursor else None, wanted, limit + 1)
        attempts = [deliveries.decode_audit(one["body"].encode()) for one in found[:limit]]
        return AttemptPage(
            attempts=[view_of(one) for one in attempts if isinstance(one, DeliveryAttempt)],
            next=_cursor_of(found[limit - 1]) if len(found) > limit else None,
        )

    async def story(self, caller: Caller, event_id: str) -> EventStory:
        """Raises Problem NOT_FOUND, for another tenant's event and another device's than the key's too; MongoError.

        `event_id` is that of the event, or a `webhook-id`, which tells apart what is told of one event as several.
        """
        event = await self._mongo.find_one("events", {"_id": event_id.partition("~")[0]})
        own_device = caller.key.device
        if event is None or event["tenant"] != caller.tenant.id or own_device not in (None, event["device"]):
            raise Problem("NOT_FOUND")
        wanted = {"event_id": event["_id"], "tenant": caller.tenant.id}
        found = await self._mongo.find("attempts", wanted, limit=MOST_IN_A_STORY, projection=["body"])
        attempts = [deliveries.decode_audit(one["body"].encode()) for one in found]
        made = sorted((one for one in attempts if isinstance(one, DeliveryAttempt)), key=lambda one: (one.at, one.id))
        return EventStory(
            id=event["_id"],
            event=event["type"],
            device_id=event["device"],
            message_id=event["message_id"],
            at=datetime.fromtimestamp(event["at_ms"] / 1000, UTC),
            data=msgspec.json.decode(event["body"]),
            attempts=[view_of(one) for one in made],
        )

    async def _before(self, position: _Position | None, wanted: Mapping[str, Any], limit: int) -> list[Document]:
        """What happened in the millisecond of `position` before it, then earlier."""
        ranges: list[dict[str, Any]] = [{}]
        if position is not None:
            ranges = [{"at_ms": position.at_ms, "key": {"$lt": position.key}}, {"at_ms": {"$lt": position.at_ms}}]
        found: list[Document] = []
        for one in ranges:
            if len(found) < limit:
                found += await self._mongo.find(
                    "attempts",
                    {**wanted, **one},
                    sort=[("at_ms", -1), ("key", -1)],
                    limit=limit - len(found),
                    projection=["at_ms", "key", "body"],
                )
        return found


def view_of(attempt: DeliveryAttempt) -> AttemptView:
    return AttemptView(
        id=attempt.id,
        at=attempt.at,
        event=attempt.event_type,
        event_id=attempt.event_id,
        device_id=attempt.device,
        message_id=attempt.message_id,
        webhook_id=attempt.endpoint,
        delivery=attempt.delivery,
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        http_status=attempt.status,
        error=attempt.error,
        detail=attempt.detail,
        milliseconds=attempt.milliseconds,
        url=attempt.url,
        address=attempt.address,
        request_headers=attempt.request_headers,
        response=attempt.response,
        next_at=attempt.next_at,
        is_replay=attempt.is_replay,
        is_test=attempt.is_test,
    )


def _cursor_of(last: Mapping[str, Any]) -> str:
    position = _Position(int(last["at_ms"]), str(last["key"]))
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _position_of(cursor: str) -> _Position:
    """Raises Problem for what is no cursor of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=_Position)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise Problem("VALIDATION_ERROR", "This is no cursor of a page before.", field="cursor") from None
