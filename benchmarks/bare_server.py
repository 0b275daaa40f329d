"""A bare ASGI application behind the api's own HTTP server: what accepting costs without Kurir's api.

python -m benchmarks.bare_server <port> <nats url, or "-" to answer a constant> <publishes for a request: 1 or 3>

With one publish the request's body becomes a stored command. With three the server does what the api does on the bus
for a message: count it, store its command, store the event that tells of it.
"""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from kurir.contracts import headers, subjects
from kurir.contracts.ids import uuid7
from kurir.runtime.broker import Bus
from kurir.runtime.counters import increment
from kurir.runtime.http_server import HttpServer

ANSWER = (
    b'{"id":"0199c1de-6a4d-7d4e-9d1c-5a0d1f2b3c4d","messageId":null,"deviceId":"dev_0","to":"6281200000001@s.whats'
    b'app.net","status":"QUEUED","timestamp":1763625600000}'
)
TENANT = "bench"
DEVICES = 128  # a device's backlog is bounded

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}
_BODY = {"type": "http.response.body", "body": ANSWER, "more_body": False}

App = Callable[[Any, Any, Any], Awaitable[None]]


async def constant(_scope: Any, receive: Any, send: Any) -> None:
    """Read the request, answer the constant."""
    await receive()
    await send(_START)
    await send(_BODY)


def publishing(bus: Bus, publishes: int) -> App:
    """As `constant`, after so many confirmed publishes."""
    numbers = itertools.count()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        number = next(numbers) % DEVICES
        device, identifier = f"bare{number}", uuid7()
        if publishes > 1:
            await increment(bus, "bench", TENANT, device, 0)
        command = subjects.command(number % subjects.COMMAND_PARTITIONS, TENANT, device, "send")
        await bus.publish(command, body, msg_id=identifier)
        if publishes > 1:
            type_ = "send.message.queued"
            said = headers.cloudevent(
                id_=identifier, type_=type_, source="bench", time="2026-11-20T08:00:00Z", subject=device
            )
            await bus.publish(subjects.event(TENANT, device, type_), body, msg_id=identifier, headers=said)
        await send(_START)
        await send(_BODY)

    return app


async def serve(port: int, nats_url: str, publishes: int) -> None:
    """Serve until the process is ended."""
    app: App = constant
    if nats_url != "-":
        app = publishing(await Bus.connect(nats_url, name="bare server"), publishes)
    await HttpServer(app, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
