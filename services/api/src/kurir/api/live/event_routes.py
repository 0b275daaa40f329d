"""`/events`: everything that happens to a tenant, live, as server-sent events or over a websocket."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Router, WebSocket, get, post, websocket
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse, Response
from litestar.types import Receive, Send
from msgspec import Struct

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.live import telling
from kurir.api.live.following import LiveEvents, Wanted
from kurir.api.live.telling import Reason, Write, message, server_sent, tell
from kurir.api.live.tickets import Tickets
from kurir.api.problems import Problem, body_of, problem_of
from kurir.contracts.records import PayloadShape
from kurir.dialects.event_patterns import is_event_pattern
from kurir.dialects.shapes import ALIASES, SHAPES

DEFAULT_EVENTS = ",".join(ALIASES.values())
CLOSE_CODES: dict[Reason, int] = {  # RFC 6455, 7.4.1 and its registry
    "slow_reader": 1013,
    "unavailable": 1013,
    "restarting": 1012,
    "key_revoked": 1008,
}

Events = Annotated[
    str, QueryParameter(name="events", description="Names and patterns as webhooks have them, split by commas.")
]
DeviceId = Annotated[str | None, QueryParameter(name="deviceId", description="Events of this device alone.")]
Payload = Annotated[PayloadShape, QueryParameter(name="payload", description="The shape of each event.")]
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="The id of the event that was seen last.")
]
After = Annotated[str | None, QueryParameter(name="after", description="The same, for who cannot set headers.")]
Ticket = Annotated[
    str | None, QueryParameter(name="ticket", description="In place of the key; see `POST /events/tickets`.")
]


class TicketView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A ticket for one minute, to be given as `?ticket=` by browsers, which cannot send headers here."""

    ticket: str
    expires_at: datetime


@post("/tickets")
async def create_event_ticket(tickets: NamedDependency[Tickets], caller: NamedDependency[Caller]) -> TicketView:
    """Ask for a ticket to follow events with, in place of the key. It has the rights of the key and lasts a minute."""
    ticket, expires_at = tickets.make(caller)
    return TicketView(ticket=ticket, expires_at=expires_at)


@get(
    "/",
    media_type="text/event-stream",
    responses={200: ResponseSpec(str, description="Events, each with its id.", media_type="text/event-stream")},
)
async def stream_events(
    request: Request[Any, Any, Any],
    tickets: NamedDependency[Tickets],
    devices: NamedDependency[Devices],
    live: NamedDependency[LiveEvents],
    events: Events = DEFAULT_EVENTS,
    device_id: DeviceId = None,
    payload: Payload = "device_gateway",
    last_event_id: LastEventId = None,
    after: After = None,
    ticket: Ticket = None,
) -> Response[str]:
    """Follow events as they happen, as server-sent events; `data` is what a webhook's body would be.

    With `Last-Event-ID` what was missed comes first. Events named `stream.…` are about the stream itself."""
    caller = await tickets.admit(request)
    wanted = _wanted(caller, devices, events=events, device_id=device_id, payload=payload)
    point = await live.point(_sequence(last_event_id or after))
    live.admit(wanted.tenant)

    async def to(write: Write) -> Reason:
        with live.telling():
            return await tell(live.follow(wanted, point), write, server_sent, lambda: tickets.is_welcome(caller))

    return _EventStream(to)


@websocket("/socket")
async def events_socket(
    socket: WebSocket[Any, Any, Any],
    tickets: NamedDependency[Tickets],
    devices: NamedDependency[Devices],
    live: NamedDependency[LiveEvents],
) -> None:
    """The same over a websocket: each message is a webhook's body with the event's `id` before it."""
    query = socket.query_params
    try:
        caller = await tickets.admit(socket)
        wanted = _wanted(
            caller,
            devices,
            events=query.get("events", DEFAULT_EVENTS),
            device_id=query.get("deviceId"),
            payload=query.get("payload", "device_gateway"),
        )
        point = await live.point(_sequence(socket.headers.get("last-event-id") or query.get("after")))
        live.admit(wanted.tenant)
    except Exception as error:
        await _deny(socket, problem_of(error))
        return
    await socket.accept()

    async def write(text: bytes) -> None:
        await socket.send({"type": "websocket.send", "bytes": None, "text": text.decode()})

    async def talk() -> Reason:
        return await tell(live.follow(wanted, point), write, message, lambda: tickets.is_welcome(caller))

    with live.telling():
        reason = await _while_there(talk(), socket.receive, "websocket.disconnect")
        if reason is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(telling.LAST_WORDS_S):
                    await socket.close(code=CLOSE_CODES[reason], reason=reason)


class _EventStream(Response[str]):
    """An answer that `to` writes for as long as its reader is there."""

    def __init__(self, to: Callable[[Write], Awaitable[Reason]]) -> None:
        super().__init__("")
        self._to = to

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return _EventStreamAnswer(self._to)


class _EventStreamAnswer(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, to: Callable[[Write], Awaitable[Reason]]) -> None:
        # Proxies that buffer would hold events back.
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        self.to = to

    async def send_body(self, send: Send, receive: Receive) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        if await _while_there(self.to(write), receive, "http.disconnect") is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(telling.LAST_WORDS_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _while_there(work: Awaitable[Reason], receive: Any, gone: str) -> Reason | None:
    """What `work` comes to, or None when the other side left first. What that side says is not heeded."""

    async def leaving() -> None:
        while (await receive())["type"] != gone:
            pass

    doing, left = asyncio.ensure_future(work), asyncio.ensure_future(leaving())
    try:
        await asyncio.wait((doing, left), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for one in (doing, left):
            one.cancel()
        await asyncio.gather(doing, left, return_exceptions=True)


def _wanted(caller: Caller, devices: Devices, *, events: str, device_id: str | None, payload: str) -> Wanted:
    """Raises Problem about a parameter, or DEVICE_NOT_FOUND for another tenant's device."""
    if payload not in SHAPES:
        raise Problem("VALIDATION_ERROR", f"There is no shape {payload!r}.", field="payload")
    shape = msgspec.convert(payload, PayloadShape)
    patterns = tuple(part.strip() for part in events.split(",") if part.strip())
    for pattern in patterns or ("",):
        if not is_event_pattern(pattern, shape):
            raise Problem("VALIDATION_ERROR", f"There is no event {pattern!r}.", field="events")
    device = device_id or caller.key.device
    if device is not None:
        devices.get(caller, device)
    return Wanted(caller.tenant.id, device, patterns, shape, zone=ZoneInfo(caller.tenant.time_zone))


def _sequence(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise Problem("VALIDATION_ERROR", "This is no id of an event of this stream.", field="Last-Event-ID")
    return int(text)


async def _deny(socket: WebSocket[Any, Any, Any], problem: Problem) -> None:
    """Answer the handshake as a request would be answered (ASGI's Websocket Denial Response)."""
    headers = [(b"content-type", b"application/json")]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    start = {"type": "websocket.http.response.start", "status": problem.status, "headers": headers}
    body = {"type": "websocket.http.response.body", "body": msgspec.json.encode(body_of(problem)), "more_body": False}
    for part in (start, body):
        await socket.send(part)  # type: ignore[arg-type]


def routers(tenant_guard: Any) -> list[Router]:
    """A ticket is for who has a key; the streams see to keys and tickets themselves."""
    return [
        Router("/events", route_handlers=(create_event_ticket,), guards=[tenant_guard], tags=["Events"]),
        Router("/events", route_handlers=(stream_events, events_socket), tags=["Events"]),
    ]
