"""A web site of a test: pages by path, some of them slow, endless or missing, and what was asked for."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

READ_TIMEOUT_S = 10.0


class WebSite:
    """On a free port of 127.0.0.1. A path without a page is 404; `hangs` take the request and never answer."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[bytes, str]] = {}
        self.redirects: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.endless: set[str] = set()
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None, "the site is not open"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def page(self, path: str, body: str | bytes, content_type: str = "text/html; charset=utf-8") -> str:
        """Put something under a path; returns its URL."""
        self.pages[path] = (body.encode() if isinstance(body, str) else body, content_type)
        return self.url + path

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(READ_TIMEOUT_S):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await self._answer(head.split(" ")[1], writer)
        finally:
            self._answering.discard(task)
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        self.asked.append(path)
        if path in self.hangs:
            await asyncio.Event().wait()
        if path in self.redirects:
            writer.write(
                f"HTTP/1.1 302 Found\r\nLocation: {self.redirects[path]}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            await writer.drain()
            return
        body, content_type = self.pages.get(path, (b"", "text/plain"))
        status = "200 OK" if path in self.pages else "404 Not Found"
        length = "" if path in self.endless else f"Content-Length: {len(body)}\r\n"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{length}Connection: close\r\n\r\n".encode())
        writer.write(body)
        while path in self.endless:
            writer.write(b" " * 65_536)
            await writer.drain()
        await writer.drain()
