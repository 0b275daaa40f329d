"""A TCP port of loopback that leads to another one, and what can become of such a way: it hangs, or it ends."""

import asyncio
import contextlib

from tests.support.server_process import free_port

CHUNK = 1 << 16


class Tunnel:
    """`heads` are the first bytes of each connection: what a proxy behind it was asked for."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.heads: list[bytes] = []
        self.hanging: list[asyncio.StreamWriter] = []
        self._hangs = False
        self._moving = asyncio.Event()
        self._moving.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    async def start(self) -> int:
        """Let connections in, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port or free_port())
        port: int = self._server.sockets[0].getsockname()[1]
        self._port = port
        return port

    def stop(self) -> None:
        """End every connection and let nobody in."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    def hang(self, *, only_new: bool = False) -> None:
        """From now on take connections and, unless `only_new` ones hang, bytes; pass nothing on."""
        self._hangs = True
        if not only_new:
            self._moving.clear()

    def let_go(self) -> None:
        """Hang no longer; what hung ends."""
        self._hangs = False
        self._moving.set()
        for writer in self.hanging:
            writer.transport.abort()
        self.hanging.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._hangs:
                self.hanging.append(writer)
                await reader.read()
                return
            with contextlib.suppress(OSError):
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
                self.heads.append(b"")
                index = len(self.heads) - 1
                try:
                    await asyncio.gather(
                        self._pump(reader, there_writer, index),
                        self._pump(there_reader, writer),
                        return_exceptions=True,
                    )
                finally:
                    there_writer.close()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: int | None = None) -> None:
        try:
            while data := await reader.read(CHUNK):
                if head is not None and not self.heads[head]:
                    self.heads[head] = data
                await self._moving.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
