"""`/export`: a tenant's events and delivery attempts of a span of time, as NDJSON."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream
from msgspec import Meta
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.export.service import Collection, Exports, Span, position_of
from kurir.api.problems import Problem
from kurir.api.webhooks.service import Webhooks
from kurir.contracts.states import DeliveryOutcome
from kurir.dialects.event_patterns import is_event_pattern

NDJSON = "application/x-ndjson"
_LINES = "A JSON text a line; the last one tells how it ended."
_ANSWERS = {200: ResponseSpec(str, description=_LINES, media_type=NDJSON)}

_TIME = {"format": "date-time"}
Since = Annotated[str, QueryParameter(name="from", description="RFC 3339, with its offset.", schema_extra=_TIME)]
Until = Annotated[
    str | None, QueryParameter(name="to", description="Not included; absent means now.", schema_extra=_TIME)
]
DeviceId = Annotated[str | None, QueryParameter(name="deviceId")]
Cursor = Annotated[str | None, QueryParameter(description="`cursor` of an export that was not complete.")]


@get("/events", media_type=NDJSON, responses=_ANSWERS)
async def export_events(
    caller: NamedDependency[Caller],
    exports: NamedDependency[Exports],
    devices: NamedDependency[Devices],
    since: Since,
    until: Until = None,
    events: Annotated[str | None, QueryParameter(description="Names and patterns, split by commas.")] = None,
    device_id: DeviceId = None,
    cursor: Cursor = None,
) -> Stream:
    """Export events, oldest first, as they stand in the event stream. The last line says whether it is complete."""
    span = _span(caller, exports, devices, "events", since, until, device_id, cursor)
    return await _streamed(exports, span if events is None else replace(span, patterns=_patterns(events)))


@get("/attempts", media_type=NDJSON, responses=_ANSWERS)
async def export_attempts(
    caller: NamedDependency[Caller],
    exports: NamedDependency[Exports],
    devices: NamedDependency[Devices],
    webhooks: NamedDependency[Webhooks],
    since: Since,
    until: Until = None,
    webhook_id: Annotated[str | None, QueryParameter(name="webhookId")] = None,
    outcome: Annotated[DeliveryOutcome | None, QueryParameter()] = None,
    device_id: DeviceId = None,
    cursor: Cursor = None,
) -> Stream:
    """Export every request to webhooks, oldest first. The last line says whether it is complete."""
    span = _span(caller, exports, devices, "attempts", since, until, device_id, cursor)
    if webhook_id is not None:
        span.equal["endpoint"] = webhooks.get(caller, webhook_id).id
    if outcome is not None:
        span.equal["outcome"] = outcome
    return await _streamed(exports, span)


def _span(
    caller: Caller,
    exports: Exports,
    devices: Devices,
    collection: Collection,
    since: str,
    until: str | None,
    device_id: str | None,
    cursor: str | None,
) -> Span:
    """Raises Problem about a parameter, or DEVICE_NOT_FOUND for another tenant's device."""
    now = exports.now()
    device = device_id or caller.key.device
    if device is not None:
        devices.get(caller, device)
    return Span(
        tenant=caller.tenant.id,
        collection=collection,
        since=_time("from", since),
        until=min(_time("to", until), now) if until is not None else now,
        equal={"device": device} if device is not None else {},
        after=position_of(cursor, collection) if cursor is not None else None,
    )


def _time(name: str, text: str) -> datetime:
    try:
        return msgspec.convert(text, Annotated[datetime, Meta(tz=True)])  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        raise Problem("VALIDATION_ERROR", "A time is like 2026-11-21T00:00:00Z.", field=name) from None


def _patterns(events: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in events.split(","))
    for pattern in patterns:
        if not is_event_pattern(pattern):
            raise Problem("VALIDATION_ERROR", f"There is no event {pattern!r}.", field="events")
    return patterns


async def _streamed(exports: Exports, span: Span) -> Stream:
    written_until = await exports.written_until(span.collection)
    await exports.probe(span)
    return Stream(exports.lines(span, written_until), media_type=NDJSON, headers={"Cache-Control": "no-store"})


def router() -> Router:
    return Router("/export", route_handlers=(export_events, export_attempts), tags=["Export"])
