"""Evolution's websocket: socket.io at `/socket.io`, a namespace `/{instanceName}` for each device, and the root for all
of them. An event's name is the dotted one, its payload what a webhook would get.

A key goes in the header or query parameter `apikey`, or in the client's `auth`. A namespace tells what the device's
websocket settings let through, nothing while these are off; the root tells everything. Namespaces are a tenant's own:
another tenant's device of the same name is another namespace. Events begin when the client has connected; what happens
while it is away is not told. A client that does not keep up is ended, and reconnects by itself.
"""

import asyncio
import contextlib
import logging
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import socketio

from kurir.api.auth import Caller
from kurir.api.legacy.access import Access, credential
from kurir.api.live import following
from kurir.api.live.following import LiveEvents, Point, Told, Wanted
from kurir.api.live.telling import STALL_S
from kurir.api.live.tickets import Tickets
from kurir.api.problems import Problem, body_of
from kurir.contracts.records import Device, PayloadOptions
from kurir.dialects.event_patterns import is_asked_for
from kurir.runtime import logs
from kurir.runtime.broker import BrokerUnavailable

PATH: Final = "/socket.io/"
MAX_SOCKETS: Final = 2_000  # of all clients together, most of which have not shown a key yet when there are so many
MAX_WAITING: Final = 64  # packets for one client; each is 100 kB at most
MAX_PACKET_BYTES: Final = 65_536  # clients have nothing to say
IDENTIFY_WITHIN_S: Final = 10.0
AGAIN_S: Final = 1.0

log = logs.get("kurir.api.socket_io")


class _Json:
    """Bodies are JSON already."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_: Any) -> Any:
        return msgspec.json.decode(text)


class EvolutionSocket:
    """`around` the application, between `start` and `stop`."""

    def __init__(self, access: Access, tickets: Tickets, live: LiveEvents) -> None:
        self._access = access
        self._tickets = tickets
        self._live = live
        self._followers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        silent = logging.getLogger("kurir.api.socket_io.library")
        silent.setLevel(logging.CRITICAL + 1)  # it would log what strangers send
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            namespaces="*",
            cors_allowed_origins="*",  # a key is needed, and no cookie is one
            cors_credentials=False,
            max_http_buffer_size=MAX_PACKET_BYTES,
            json=_Json,
            logger=silent,
            engineio_logger=silent,
        )
        self._server.on("connect", self._connected, namespace="*")
        self._server.on("disconnect", self._disconnected, namespace="*")

    async def start(self) -> None:
        self._watch = asyncio.create_task(self._end_strangers(), name="socket.io strangers")

    async def stop(self) -> None:
        """End every connection, so that none holds up the end of the process; clients reconnect to another one."""
        if self._watch is not None:
            self._watch.cancel()
        for task in self._followers.values():
            task.cancel()
        await asyncio.gather(*self._followers.values(), return_exceptions=True)
        for eio_sid in list(self._server.eio.sockets):
            await self._end(eio_sid)
        await self._server.shutdown()

    def around(self, app: Any) -> Any:
        """An ASGI application that is `app` everywhere else."""

        async def either(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] not in ("http", "websocket") or not (scope["path"] + "/").startswith(PATH):
                await app(scope, receive, send)
            elif len(self._server.eio.sockets) >= MAX_SOCKETS and b"sid=" not in scope["query_string"]:
                await _full(scope, send)
            else:
                await self._server.handle_request(scope, receive, send)

        return either

    # --- one client in one namespace

    async def _connected(self, namespace: str, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            key = _key(environ, auth)
            caller = await self._access.caller(key)
            device = self._device(caller, namespace)
            self._live.admit(caller.tenant.id)
            point = await self._live.point(None)
        except Problem as problem:
            raise socketio.exceptions.ConnectionRefusedError(body_of(problem).message) from None
        except BrokerUnavailable:
            raise socketio.exceptions.ConnectionRefusedError("Try again in a moment.") from None
        options = caller.key.options
        wanted = Wanted(
            caller.tenant.id,
            device.id if device is not None else caller.key.device,
            (),
            "evolution",
            PayloadOptions(version=options.evolution_version),
            key if options.show_key else None,
        )
        # It begins to tell when the client has been told that it is connected: nothing below waits.
        telling = self._tell(namespace, sid, caller, wanted, point)
        self._followers[namespace, sid] = asyncio.create_task(telling, name=f"socket.io {sid}")

    async def _disconnected(self, namespace: str, sid: str, _reason: str) -> None:
        task = self._followers.pop((namespace, sid), None)
        if task is not None and task is not asyncio.current_task():  # which is about to end
            task.cancel()

    def _device(self, caller: Caller, namespace: str) -> Device | None:
        return None if namespace == "/" else self._access.device(caller, namespace.removeprefix("/"))

    async def _tell(self, namespace: str, sid: str, caller: Caller, wanted: Wanted, point: Point) -> None:
        eio_sid = self._server.manager.eio_sid_from_sid(sid, namespace)
        try:
            while True:
                try:
                    async with contextlib.aclosing(self._live.follow(wanted, point)) as events:
                        async for told in events:
                            await self._tell_one(namespace, sid, eio_sid, caller, told)
                            point = Point(told.seq)
                    break  # the process ends
                except BrokerUnavailable:
                    await asyncio.sleep(AGAIN_S)
        except (TimeoutError, Problem) as over:
            log.info("socket_io.ended", tenant=wanted.tenant, device=wanted.device, reason=repr(over))
        except Exception:
            log.exception("socket_io.failed", tenant=wanted.tenant, device=wanted.device)
        await self._end(eio_sid)

    async def _tell_one(self, namespace: str, sid: str, eio_sid: str, caller: Caller, told: Told) -> None:
        """Raises TimeoutError for a client that does not keep up, Problem when it may not listen any longer."""
        if told.event == following.POSITION:
            if not self._tickets.is_welcome(caller):
                raise Problem("INVALID_API_KEY")
            return
        device = self._device(caller, namespace)
        if told.event == following.GAP or (device is not None and not _lets_through(device, told.event)):
            return
        waiting = self._server.eio.sockets[eio_sid].queue if eio_sid in self._server.eio.sockets else None
        if waiting is not None and waiting.qsize() >= MAX_WAITING:
            async with asyncio.timeout(STALL_S):
                await waiting.join()
        await self._server.emit(told.event, msgspec.Raw(told.body), to=sid, namespace=namespace)

    # --- connections

    async def _end(self, eio_sid: str) -> None:
        socket = self._server.eio.sockets.get(eio_sid)
        if socket is not None:
            await socket.close(wait=False)
            socket.queue.put_nowait(None)  # ends the task that writes

    async def _end_strangers(self) -> None:
        """Who is connected and in no namespace has shown no key."""
        suspects: set[str] = set()
        while True:
            await asyncio.sleep(IDENTIFY_WITHIN_S)
            known = {self._server.manager.eio_sid_from_sid(sid, namespace) for namespace, sid in self._followers}
            strangers = set(self._server.eio.sockets) - known
            for eio_sid in strangers & suspects:
                await self._end(eio_sid)
            suspects = strangers


def _lets_through(device: Device, event: str) -> bool:
    outlet = device.settings.websocket
    return outlet.enabled and is_asked_for("evolution", outlet.events, event)


def _key(environ: dict[str, Any], auth: Any) -> str | None:
    scope = environ["asgi.scope"]
    given = auth.get("apikey") if isinstance(auth, dict) else None
    if isinstance(given, str) and given:
        return given
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return credential(scope["headers"], "apikey") or next(iter(query.get("apikey", ())), None)


async def _full(scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    headers = [(b"content-type", b"text/plain"), (b"retry-after", b"10")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"Too many connections."})
