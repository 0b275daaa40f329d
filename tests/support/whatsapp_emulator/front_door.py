"""The only way in: an HTTP proxy that lets CONNECT pass to WhatsApp's host names, and plays these hosts itself.

Whatever else a client asks for is refused with 403, so that a client that goes through this proxy reaches nobody.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

CHAT_HOST = "web.whatsapp.com"
MEDIA_HOST = "mmg.whatsapp.net"

REQUEST_TIMEOUT_S = 10.0
TLS_TIMEOUT_S = 10.0
HTTPS_PORT = "443"

Host = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection until it ends."""


class FrontDoor:
    """Passes connections on to `hosts` by name. While `is_open` is False every connection is cut."""

    def __init__(self, context: ssl.SSLContext, hosts: Mapping[str, Host], refused: Callable[[str], None]) -> None:
        self._context = context
        self._hosts = hosts
        self._refused = refused
        self._inside: set[asyncio.StreamWriter] = set()
        self.is_open = True

    def shut(self) -> None:
        """Play a server that is down: cut everybody off and let nobody in."""
        self.is_open = False
        for writer in list(self._inside):
            writer.transport.abort()

    async def let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to the proxy; the callback for asyncio.start_server."""
        if not self.is_open:
            writer.transport.abort()
            return
        self._inside.add(writer)
        try:
            host = await self._requested_host(reader, writer)
            if host is not None:
                async with asyncio.timeout(TLS_TIMEOUT_S):
                    await writer.start_tls(self._context)
                await host(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            log.info("connection lost at the door: %r", error)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            self._inside.discard(writer)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                writer.close()

    async def _requested_host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Host | None:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            request = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = request.partition(b" ")
        target = rest.partition(b" ")[0].decode("latin-1")
        name, _, port = target.rpartition(":")
        host = self._hosts.get(name) if method == b"CONNECT" and port == HTTPS_PORT else None
        if host is None:
            self._refused(target)
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return None
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        return host
