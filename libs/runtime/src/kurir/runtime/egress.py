"""Requests to addresses that others choose: webhook posts and media downloads, through libcurl.

Guarantees: every connection is judged by its concrete address just before it is opened; no proxy, redirect, cookie
or credential that was not asked for; a total deadline; bounded answers; the loop is never blocked. It does not
retry, with one exception of libcurl's own: a kept-alive connection that turns out dead before the first byte of an
answer is replaced once, so a receiver may see such a request twice.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from kurir.runtime.client_certificates import ClientCertificate
from kurir.runtime.curl_exchange import Answer, Download, EgressPolicy, Exchange, Post, TooLarge
from kurir.runtime.curl_loop import CurlLoop
from kurir.runtime.outgoing import Origin, Target, TransportFailure, header_lines, header_refusal, target_of
from kurir.runtime.resolver import Addresses, NameNotResolved, Resolver

__all__ = ["Answer", "Download", "Egress", "EgressPolicy", "TooLarge", "TransportFailure", "header_refusal"]

_EXPECT_BYTES = 1_048_576  # libcurl would ask for "100 Continue" from here on, and wait a second for it
_MOST_JUDGED = 10_000


class Egress:
    """A pool of connections on the running asyncio loop; create, use and close it there."""

    def __init__(self, policy: EgressPolicy | None = None) -> None:
        self.policy = policy or EgressPolicy()
        self._loop = asyncio.get_running_loop()
        self._curl_loop = CurlLoop(
            idle_connections=self.policy.idle_connections,
            connections_per_host=self.policy.connections_per_host,
        )
        self._resolver = Resolver()
        self._proxy = target_of(self.policy.proxy) if self.policy.proxy else None
        self._judged: dict[Origin, _Judged] = {}
        self._idle_posts: list[Post] = []
        self._active: set[Exchange] = set()
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Requests under way now, those waiting for a place not counted."""
        return self._in_flight

    async def post(
        self,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline_s: float,
        response_cap: int = 16_384,
        client_certificate: ClientCertificate | None = None,
    ) -> Answer:
        """Posts these very bytes; order and case of the headers are kept. Redirects are answers like any other.

        The deadline covers waiting for a place, the name, connection, TLS and the whole answer. Of the answer's body
        `response_cap` bytes are kept. A connection that was opened with a client certificate serves no request but
        those with the same one. Raises TransportFailure when there is no answer.
        """
        due_at = self._loop.time() + deadline_s
        target = target_of(url)
        lines = header_lines(headers)
        if len(body) >= _EXPECT_BYTES:
            lines.append(b"Expect:")
        if not self._is_admitted():
            await self._admit(due_at)
        if client_certificate is not None:
            post = Post(self.policy, self._curl_loop.opened, client_certificate)
        else:
            post = self._idle_posts.pop() if self._idle_posts else Post(self.policy, self._curl_loop.opened)
        try:
            post.begin(target, lines, body, response_cap)
            peer = self._peer_of(post)
            pins = None if peer.is_literal else self._pins_at_hand(post, peer) or await self._pins(post, peer, due_at)
            ready = self._start(post, pins, due_at)
            try:
                await ready
            finally:
                self._active.discard(post)
                if not post.has_ended:
                    self._curl_loop.cancel(post.curl)
            return post.answer()
        finally:
            if client_certificate is None:
                self._idle_posts.append(post)
            self._release()

    @asynccontextmanager
    async def download(
        self,
        url: str,
        *,
        deadline_s: float,
        max_bytes: int,
        max_redirects: int = 3,
        headers: Sequence[tuple[str, str]] = (),
    ) -> AsyncIterator[Download]:
        """Opens a GET and yields it when its headers are here; the body is read by iterating, with back-pressure.

        Follows redirects, each judged anew; the caller's headers go along to the same origin only. The deadline
        covers all of it, the reading too. Raises TooLarge, at once when the sender says so, else while iterating;
        TransportFailure for everything else that goes wrong. Any status is yielded: look at it.
        """
        due_at = self._loop.time() + deadline_s
        origin = target = target_of(url)
        lines = header_lines(headers)
        if not self._is_admitted():
            await self._admit(due_at)
        try:
            for _ in range(max_redirects + 1):
                own_lines = lines if target.origin == origin.origin else []
                download = Download(self.policy, self._curl_loop.opened, target, own_lines, max_bytes)
                try:
                    await self._opened(download, due_at)
                    redirect_url = download.redirect_url()
                    if redirect_url is None:
                        download.refuse_if_too_large()
                        yield download
                        return
                finally:
                    self._end(download)
                    download.close()
                target = target_of(redirect_url)
            raise TransportFailure("redirects", f"more than {max_redirects}, the last one to {target.host}")
        finally:
            self._release()

    async def close(self) -> None:
        """Ends everything in flight or waiting with TransportFailure("canceled") and closes all connections."""
        self._closed = True
        for exchange in list(self._active):
            self._end(exchange)
            exchange.fail(_shut_down())
        for place in self._waiting:
            if not place.done():
                place.set_exception(_shut_down())
        self._resolver.close()
        self._curl_loop.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _opened(self, download: Download, due_at: float) -> None:
        """Until the headers of the download are here."""
        peer = self._peer_of(download)
        ready = self._start(download, None if peer.is_literal else await self._pins(download, peer, due_at), due_at)
        try:
            await ready
        finally:
            # It goes on after its headers; whatever else brings us here must not.
            if download.has_ended or not ready.done() or ready.cancelled():
                self._end(download)

    def _start(self, exchange: Exchange, pins: list[str] | None, due_at: float) -> asyncio.Future[None]:
        """The future ends when the exchange has what its caller waits for: a post its end, a download its headers.

        `pins` are None when the URL holds an address already.
        """
        if self._closed:
            raise _shut_down()
        remaining_s = due_at - self._loop.time()
        if remaining_s <= 0:
            raise exchange.failure("timeout", "the deadline passed before the request could begin")
        ready = exchange.aim(pins, remaining_s, self._loop)
        self._active.add(exchange)
        self._curl_loop.start(exchange.curl, exchange.ended)
        return ready

    def _end(self, exchange: Exchange) -> None:
        self._curl_loop.cancel(exchange.curl)
        self._active.discard(exchange)

    def _peer_of(self, exchange: Exchange) -> Target:
        """Whom we connect to."""
        target = exchange.target
        if self._proxy is None:
            return target
        if self.policy.guard.require_https and not target.tls:
            raise exchange.failure("guard", f"{target.host}: https_required")
        return self._proxy

    def _pins_at_hand(self, exchange: Exchange, peer: Target) -> list[str] | None:
        found = self._resolver.known(peer.host)
        return None if found is None else self._pins_for(exchange, peer, found)

    async def _pins(self, exchange: Exchange, peer: Target, due_at: float) -> list[str]:
        return self._pins_for(exchange, peer, await self._resolved(exchange, peer, due_at))

    def _pins_for(self, exchange: Exchange, peer: Target, found: Addresses) -> list[str]:
        """libcurl's `+name:port:addresses` for whom we connect to."""
        judged = self._judged.get(peer.origin)
        if judged is None or judged.found is not found:
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()  # cheap to make again
            judged = self._judged[peer.origin] = self._judge(peer, found)
        if judged.pins is None:
            raise exchange.failure("guard", judged.refusal, judged.refused_address)
        return judged.pins

    async def _resolved(self, exchange: Exchange, peer: Target, due_at: float) -> Addresses:
        timeout_s = min(self.policy.connect_timeout_s, due_at - self._loop.time())
        try:
            return await self._resolver.resolve(peer.host, timeout_s)
        except NameNotResolved as error:
            if self._closed:
                raise _shut_down() from None
            raise exchange.failure("dns", f"{peer.host}: {error}") from None
        except TimeoutError:
            raise exchange.failure("dns", f"{peer.host}: no answer in {timeout_s:.1f} s") from None

    def _judge(self, peer: Target, found: Addresses) -> "_Judged":
        """Only the allowed addresses of a name are tried; it is refused when there is none."""
        allowed, refused = [], []
        for text in found.texts:
            refusal = None
            if self._proxy is None:
                refusal = self.policy.guard.refusal(ip_address(text), peer.port, tls=peer.tls)
            if refusal is None:
                allowed.append(f"[{text}]" if ":" in text else text)
            else:
                refused.append((text, f"{peer.host} is {text}: {refusal}"))
        if allowed:
            # libcurl looks names up without their final dot
            return _Judged(found, [f"+{peer.host.rstrip('.')}:{peer.port}:{','.join(allowed)}"])
        return _Judged(found, None, *refused[0])

    def _is_admitted(self) -> bool:
        """Whether there was a place at once."""
        if self._closed:
            raise _shut_down()
        if self._in_flight >= self.policy.max_in_flight:
            return False
        self._in_flight += 1
        return True

    async def _admit(self, due_at: float) -> None:
        if len(self._waiting) >= self.policy.max_waiting:
            raise TransportFailure("busy", f"{len(self._waiting)} requests wait for a place already")
        place: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout_at(due_at):
                await place
        except BaseException as error:
            if place.cancelled():
                with suppress(ValueError):  # passed over already by a release
                    self._waiting.remove(place)
            elif place.exception() is None:
                self._release()  # it was given to us while we were leaving
            if isinstance(error, TimeoutError):
                raise TransportFailure("timeout", "no place among the requests in flight") from None
            raise

    def _release(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._in_flight -= 1


@dataclass(frozen=True, slots=True)
class _Judged:
    """The verdict on what a name stood for."""

    found: Addresses
    pins: list[str] | None
    refused_address: str | None = None
    refusal: str = ""


def _shut_down() -> TransportFailure:
    return TransportFailure("canceled", "the sender was shut down")
