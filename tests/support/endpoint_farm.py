"""Many tenants' endpoints, healthy and sick, in one process of their own that costs some 10 µs a request.

Each endpoint is a host of its own on one port; each request becomes one line in a file, which is the truth about what
arrived. Heads are searched, not parsed: only for requests that are known to be well formed.

async with EndpointFarm({3: "hang"}) as farm:
    farm.url(3)
    farm.behave(3, "well")
    await farm.arrivals()
"""

import asyncio
import json
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self, TextIO, cast

import uvloop

Behaviour = Literal["well", "hang", "refuse", "fail", "drip", "redirect", "reset"]
"""204 at once; no answer; no connection; 500; an answer of one byte at a time; 302 to `ELSEWHERE`; RST."""

ELSEWHERE = -1
"""The endpoint that redirects lead to."""

REPOSITORY = Path(__file__).parents[2]
EVERY_HOST = "0.0.0.0"
HOSTS_PER_BLOCK = 250
SPEAKS_WITHIN_S = 30.0
ENDS_WITHIN_S = 10.0
DRIP_EVERY_S = 0.25

_WELL = b"HTTP/1.1 204 No Content\r\n\r\n"
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nOops!"
_DRIPPING = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, no time


class Arrival(NamedTuple):
    """One whole request. `at` is Unix seconds, `event` the webhook-id in lower case, `connection` counts from 1."""

    at: float
    endpoint: int
    event: str
    connection: int


class EndpointFarm:
    """The process; endpoints are numbers from 0, which behave well unless told otherwise."""

    def __init__(self, behaviours: dict[int, Behaviour] | None = None) -> None:
        self._behaviours = behaviours or {}
        self._log = Path(tempfile.mkstemp(prefix="kurir-arrivals-")[1])

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.endpoint_farm", self._log, json.dumps(self._behaviours)),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.pid = self._process.pid
        self._port, self._refusing_ports = json.loads(await self._hear())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await asyncio.wait_for(self._process.wait(), ENDS_WITHIN_S)
        self._log.unlink(missing_ok=True)

    def url(self, number: int) -> str:
        """Where this endpoint is, all its life. One that refuses at the start has a port of its own."""
        block, host = divmod(number, HOSTS_PER_BLOCK)
        port = self._refusing_ports.get(str(number), self._port)
        return f"http://127.1.{block}.{host + 1}:{port}/{number}"

    def behave(self, number: int, behaviour: Behaviour) -> None:
        """From now on. Refusing is for the start alone."""
        assert behaviour != "refuse"
        self._say([number, behaviour])

    async def arrivals(self) -> list[Arrival]:
        """Every request so far, in order."""
        self._say("flush")
        await self._hear()
        text = await asyncio.to_thread(self._log.read_text)
        fields = (line.split(" ") for line in text.splitlines())
        return [Arrival(float(at), int(number), event, int(connection)) for at, number, event, connection in fields]

    async def arrived(self) -> int:
        """How many requests so far."""
        self._say("count")
        count: int = json.loads(await self._hear())
        return count

    def _say(self, something: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(something).encode() + b"\n")

    async def _hear(self) -> bytes:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), SPEAKS_WITHIN_S)
        assert line, "the endpoints' process has ended"
        return line


class _Farm:
    """What the connections of the process share."""

    def __init__(self, log: TextIO, behaviours: dict[int, Behaviour]) -> None:
        self.log = log
        self.behaviours = behaviours
        self.connections = 0
        self.arrived = 0


class _Connection(asyncio.Protocol):
    def __init__(self, farm: _Farm) -> None:
        self._farm = farm
        self._held = b""
        self._drip: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._farm.connections += 1
        self._number = self._farm.connections

    def connection_lost(self, error: Exception | None) -> None:
        if self._drip is not None:
            self._drip.cancel()

    def data_received(self, data: bytes) -> None:
        at = time.time()
        held = self._held + data if self._held else data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            head = held[:end].lower()
            size = end + 4 + int(_header(head, b"content-length"))
            if len(held) < size:
                break
            path = held[held.index(b"/") + 1 : held.index(b" HTTP")]
            number = int(path) if path.isdigit() else ELSEWHERE
            event = _header(head, b"webhook-id")
            held = held[size:]
            self._farm.arrived += 1
            self._farm.log.write(f"{at:.6f} {number} {event.decode()} {self._number}\n")
            self._answer(number)
        self._held = held

    def _answer(self, number: int) -> None:
        match self._farm.behaviours.get(number, "well"):
            case "well":
                self._transport.write(_WELL)
            case "fail":
                self._transport.write(_FAILED)
            case "redirect":
                head = f"HTTP/1.1 302 Found\r\nLocation: /elsewhere/{number}\r\nContent-Length: 0\r\n\r\n"
                self._transport.write(head.encode())
            case "drip":
                self._transport.write(_DRIPPING)
                self._drip_on()
            case "reset":
                sock = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                self._transport.abort()
            case "hang":
                pass

    def _drip_on(self) -> None:
        self._transport.write(b".")
        self._drip = asyncio.get_running_loop().call_later(DRIP_EVERY_S, self._drip_on)


def _header(head: bytes, name: bytes) -> bytes:
    """The value in a lower-case head."""
    at = head.index(b"\r\n" + name + b":") + len(name) + 3
    end = head.find(b"\r\n", at)
    return head[at : end if end >= 0 else len(head)].strip()


async def _serve(log_path: Path, behaviours: dict[int, Behaviour]) -> None:
    loop = asyncio.get_running_loop()
    refusing = {number: _refusing_socket() for number, behaviour in behaviours.items() if behaviour == "refuse"}
    with log_path.open("w", buffering=1 << 20) as log:
        farm = _Farm(log, behaviours)
        server = await loop.create_server(lambda: _Connection(farm), EVERY_HOST, 0, backlog=4096)
        ports = {number: sock.getsockname()[1] for number, sock in refusing.items()}
        print(json.dumps([server.sockets[0].getsockname()[1], ports]), flush=True)
        orders = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            order = json.loads(line)
            if order in ("flush", "count"):
                if order == "flush":
                    log.flush()
                print(farm.arrived, flush=True)
                continue
            number, behaviour = order
            farm.behaviours[number] = behaviour
            if number in refusing:
                await loop.create_server(lambda: _Connection(farm), sock=refusing.pop(number), backlog=4096)


def _refusing_socket() -> socket.socket:
    """Bound and not listening: connections are refused, and nobody else gets the port."""
    sock = socket.socket()
    sock.bind((EVERY_HOST, 0))
    return sock


if __name__ == "__main__":
    log, behaviours = sys.argv[1:]
    uvloop.run(_serve(Path(log), {int(number): behaviour for number, behaviour in json.loads(behaviours).items()}))
