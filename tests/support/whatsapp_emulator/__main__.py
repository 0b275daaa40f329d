"""The emulator as a process, and the hand of a person who scans.

python -m tests.support.whatsapp_emulator                       run, until Ctrl-C
python -m tests.support.whatsapp_emulator scan --phone 628… QR  scan a QR code's text
python -m tests.support.whatsapp_emulator code --phone 628… CODE
python -m tests.support.whatsapp_emulator say --phone 628… --to 628… TEXT
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from tests.support.whatsapp_emulator import http, tls
from tests.support.whatsapp_emulator.address import FILE, EmulatorAddress
from tests.support.whatsapp_emulator.control import Control
from tests.support.whatsapp_emulator.emulator import ROOT_FILE, Emulator
from tests.support.whatsapp_emulator.loopback_only import BACKLOG, Keeper, NotAllowed

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST = "127.0.0.1"
PIPE_BYTES = 1 << 16
DEFAULT_FOLDER = Path(".state/whatsapp-emulator")
DEFAULT_PROXY_PORT, DEFAULT_CONTROL_PORT = 14710, 14701

log = logging.getLogger("whatsapp_emulator")


class Running:
    """A running emulator: its listening sockets inside and outside the namespace, and the doors between them."""

    def __init__(self, folder: Path, proxy_port: int, control_port: int, *, has_namespace: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        self._ports = (proxy_port, control_port)
        self._keeper = Keeper() if has_namespace else None
        self._servers: list[asyncio.Server] = []
        self._doors: set[int] = set()
        self._windows: set[int] = set()
        self._emulator = Emulator(self._folder)

    async def start(self) -> EmulatorAddress:
        """Listen, and write where."""
        if self._keeper is not None:
            try:
                self._keeper.start()
            except NotAllowed as why:
                log.warning("no network namespace here (%s): clients are kept from WhatsApp by their trust alone", why)
                self._keeper = None
        front_door = self._emulator.front_door.let_in
        proxy = await self._listen(_bound(self._ports[0]), front_door)
        if self._keeper is not None:
            await self._listen(self._keeper.listen(proxy), front_door)
        control_api = Control(self._emulator, self._open_door, self._open_window).answer
        control = await self._listen(_bound(self._ports[1]), partial(_serve_http, control_api))
        address = EmulatorAddress(
            proxy=f"http://{HOST}:{proxy}",
            control=f"http://{HOST}:{control}",
            authority_file=str(tls.authority_file(self._folder)),
            root_file=str(self._folder / ROOT_FILE),
            network_of=None if self._keeper is None else self._keeper.pid,
            pid=os.getpid(),
        )
        address.write(self._folder)
        return address

    async def stop(self) -> None:
        (self._folder / FILE).unlink(missing_ok=True)
        for server in self._servers:
            server.close()
        self._emulator.stop()
        if self._keeper is not None:
            self._keeper.stop()

    async def _open_door(self, port: int) -> None:
        """Let the namespace reach a port outside. Idempotent; raises OSError when the port is taken inside."""
        if self._keeper is not None and port not in self._doors:
            self._doors.add(port)
            await self._listen(self._keeper.listen(port), partial(_pass_through, socket.socket, port))

    async def _open_window(self, port: int) -> None:
        """Let who is outside reach a port inside. Idempotent; raises OSError when the port is taken outside."""
        if self._keeper is not None and port not in self._windows:
            listening = _bound(port)
            self._windows.add(port)
            await self._listen(listening, partial(_pass_through, self._keeper.new_socket, port))

    async def _listen(self, listening: socket.socket, serve: Serving) -> int:
        server = await asyncio.start_server(serve, sock=listening, backlog=BACKLOG)
        self._servers.append(server)
        port: int = listening.getsockname()[1]
        return port


def _bound(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    return listening


async def _serve_http(handler: http.Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await http.serve(reader, writer, handler)
    finally:
        writer.close()


async def _pass_through(
    make_socket: Callable[[], socket.socket], port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect the two ends until one of them closes. The socket's maker decides on whose loopback the port is."""
    with contextlib.suppress(ConnectionError):
        there = make_socket()
        there.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(there, (HOST, port))
            there_reader, there_writer = await asyncio.open_connection(sock=there)
        except ConnectionError:
            there.close()
            raise
        try:
            ways = [
                asyncio.ensure_future(_pump(reader, there_writer)),
                asyncio.ensure_future(_pump(there_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there_writer.close()
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIPE_BYTES):
        writer.write(data)
        await writer.drain()


async def run(arguments: argparse.Namespace) -> None:
    """Run until a signal comes, or until stdin ends where a test asked for that."""
    running = Running(
        arguments.folder,
        arguments.proxy_port,
        arguments.control_port,
        has_namespace=not arguments.shared_network,
    )
    address = await running.start()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    if arguments.until_stdin_ends:
        loop.add_reader(sys.stdin, lambda: over.set() if not os.read(sys.stdin.fileno(), 1) else None)
    print(f"WhatsApp emulator: page and control API at {address.control}, proxy at {address.proxy}", flush=True)
    try:
        await over.wait()
    finally:
        await running.stop()


async def act(arguments: argparse.Namespace) -> None:
    """Do what a person asked for, in a running emulator."""
    # Its HTTP client takes longer to import than the whole server, which does not need it.
    from tests.support.whatsapp_emulator.client import EmulatorClient, EmulatorRefused

    emulator = EmulatorClient(EmulatorAddress.read(arguments.folder))
    phone, text = arguments.phone, arguments.text
    try:
        match arguments.command:
            case "scan":
                print("linked:", await emulator.scan(text, phone, name=arguments.name))
            case "code":
                print("linked:", await emulator.enter_code(phone, text, name=arguments.name))
            case "say":
                await emulator.contact(phone, name=arguments.name)
                print("sent:", await emulator.say(phone, arguments.to, text=text))
    except EmulatorRefused as refused:
        sys.exit(str(refused))


def main() -> None:
    parser = argparse.ArgumentParser(prog="whatsapp_emulator", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="for what clients must trust")
    parser.add_argument("--proxy-port", type=int, default=DEFAULT_PROXY_PORT)
    parser.add_argument("--control-port", type=int, default=DEFAULT_CONTROL_PORT)
    parser.add_argument("--shared-network", action="store_true", help="make no network namespace")
    parser.add_argument("--until-stdin-ends", action="store_true", help="for tests: leave no process behind")
    parser.add_argument("--verbose", action="store_true", help="log every stanza")
    commands = parser.add_subparsers(dest="command")
    for name, what in (("scan", "the QR code's text"), ("code", "the code"), ("say", "the text")):
        command = commands.add_parser(name)
        command.add_argument("--phone", required=True, help="the number of the phone that does it")
        command.add_argument("--name", help="the name of its owner")
        if name == "say":
            command.add_argument("--to", required=True)
        command.add_argument("text", help=what)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, format="%(asctime)s %(message)s")
    try:
        uvloop.run(run(arguments) if arguments.command is None else act(arguments))
    except FileNotFoundError:
        sys.exit(f"no emulator is running with the folder {arguments.folder}")


if __name__ == "__main__":
    main()
