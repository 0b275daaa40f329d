"""A SOCKS5 proxy (RFC 1928, 1929) that asks for a password and lets through to one port of loopback."""

import asyncio
import contextlib

VERSION, BY_PASSWORD, REFUSED, DONE = 5, 2, b"\x05\xff", 0
CONNECT, BY_IPV4 = 1, 1


class SocksProxy:
    """`let_through` counts connections, `refused` has the users whose password was wrong.

    The library's environment names the emulator's CONNECT proxy, and net/http goes to that one through this one.
    """

    def __init__(self, to: int, user: str, password: str) -> None:
        self.let_through = 0
        self.refused: list[str] = []
        self._to = to
        self._known = (user, password)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await self._agree(reader, writer):
                self.let_through += 1
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
                await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer), return_exceptions=True)
        writer.close()

    async def _agree(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, count = await reader.readexactly(2)
        if BY_PASSWORD not in await reader.readexactly(count):
            writer.write(REFUSED)
            return False
        writer.write(bytes((VERSION, BY_PASSWORD)))
        await reader.readexactly(1)
        user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        writer.write(bytes((1, 0 if (user, password) == self._known else 1)))
        if (user, password) != self._known:
            self.refused.append(user)
            return False
        asked = await reader.readexactly(10)
        assert asked == bytes((VERSION, CONNECT, 0, BY_IPV4, 127, 0, 0, 1)) + self._to.to_bytes(2, "big"), asked
        writer.write(bytes((VERSION, DONE, 0, BY_IPV4)) + bytes(6))
        return True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
