"""One request on one libcurl handle: its options, the judge of its connections, its answer.

`Post` keeps a short answer and is used again and again; `Download` hands out a body as it comes and holds the sender
back while nobody reads. Neither decides when to run: see egress.py.
"""

import asyncio
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import certifi
import msgspec
import pycurl

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.client_certificates import ClientCertificate
from kurir.runtime.outgoing import Kind, Target, TransportFailure

_HEADER_BYTES = 32_768  # of one answer; common servers stop at 8 to 16 kB
_UNREAD_BYTES = 262_144  # of a download, then the sender is made to wait
_DNS_CACHE_S = 120  # longer than the resolver's own answers live, so that libcurl never looks up a name itself

_CONNECTION_LIFE_S = 300  # a receiver whose name moved is followed within this, however busy its connection

_REDIRECTS = (301, 302, 303, 307, 308)
_SUPPRESS_CONNECT_HEADERS = 265  # a name that pycurl does not have; curl/curl.h
_REFUSE_SOCKET: int = pycurl.SOCKET_BAD
_PAUSE: int = pycurl.WRITEFUNC_PAUSE
_KINDS: dict[int, Kind] = {
    pycurl.E_URL_MALFORMAT: "request",
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_RESOLVE_PROXY: "dns",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_SSL_ISSUER_ERROR: "tls",
    pycurl.E_GOT_NOTHING: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_PARTIAL_FILE: "reset",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A whole answer, or its beginning when `truncated`. Times: Unix seconds, and milliseconds it took."""

    status: int
    body: bytes
    truncated: bool
    address: str | None
    milliseconds: float
    started_at: float
    reused_connection: bool
    header_lines: Sequence[bytes]

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; repeated ones joined by commas. Read from the lines at every call."""
        return _headers(self.header_lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressPolicy:
    """What the operator lets out, and how much at once."""

    guard: AddressGuard = field(default_factory=AddressGuard)
    proxy: str = ""  # `http://user:password@host:port`; it then chooses the addresses, and has to guard them
    ca_file: str | None = None  # PEM; None: Mozilla's, as certifi ships them
    user_agent: str = "Kurir"
    connect_timeout_s: float = 5.0  # for the name, and again for connection and TLS
    max_in_flight: int = 1_000
    max_waiting: int = 10_000  # for a place among those
    idle_connections: int = 5_000  # opening one costs more than all else; an idle one over TLS about 80 kB
    connections_per_host: int = 0  # 0: no limit here; per-endpoint limits are the dispatcher's


class Exchange(ABC):
    """One request on one libcurl handle: its options, its judge, the head of its answer."""

    def __init__(self, policy: EgressPolicy, opened: Callable[[], None]) -> None:
        """`opened` is called for each socket that is opened."""
        self._guard = policy.guard
        self._on_opened = opened
        self._proxied = bool(policy.proxy)
        self._ready: asyncio.Future[None] | None = None
        self.header_lines: list[bytes] = []
        self.curl = curl = pycurl.Curl()
        # A cache of names for this handle alone, of which `aim` keeps one: libcurl walks through all of it after each
        # transfer. The usual one would hold every host of the last two minutes: with 5,000 of them a third of all CPU.
        self._names = pycurl.CurlShare()
        self._names.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
        curl.setopt(pycurl.SHARE, self._names)
        self._unpinning: list[str] = []
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROXY, policy.proxy),  # "" keeps libcurl from reading the environment
            (pycurl.NOPROXY, ""),
            (_SUPPRESS_CONNECT_HEADERS, 1),  # a proxy's answer is not the answer
            (pycurl.CAINFO, policy.ca_file or certifi.where()),
            (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),  # or later
            (pycurl.CONNECTTIMEOUT_MS, int(policy.connect_timeout_s * 1000)),
            (pycurl.DNS_CACHE_TIMEOUT, _DNS_CACHE_S),
            (pycurl.MAXLIFETIME_CONN, _CONNECTION_LIFE_S),
            (pycurl.ACCEPT_ENCODING, "identity"),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            (pycurl.USERAGENT, policy.user_agent),
            (pycurl.OPENSOCKETFUNCTION, self._on_open_socket),
            (pycurl.WRITEFUNCTION, self._on_body),
        ):
            curl.setopt(option, value)

    def _reset(self, target: Target, lines: list[bytes]) -> None:
        self.target = target
        self.has_ended = False
        self._has_started = False
        self.header_lines.clear()
        self._header_bytes = 0
        self._opened: str | None = None
        self._refused: tuple[str, str] | None = None
        self._begun = time.perf_counter()
        self.started_at = time.time()
        self.curl.setopt(pycurl.URL, target.url)
        self.curl.setopt(pycurl.HTTPHEADER, lines)

    def aim(self, pins: list[str] | None, remaining_s: float, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """The last options before the start. The future ends when the caller can go on."""
        if pins is not None:
            self.curl.setopt(pycurl.RESOLVE, self._unpinning + pins)
            self._unpinning = ["-" + ":".join(pin[1:].split(":", 2)[:2]) for pin in pins]
        self.curl.setopt(pycurl.TIMEOUT_MS, max(1, int(remaining_s * 1000)))
        self._has_started = True
        self._ready = loop.create_future()
        return self._ready

    def ended(self, code: int, words: str) -> None:
        """Called by the curl loop when the transfer is over."""
        self.has_ended = True
        failure = self._failure_of(code, words) if code else None
        if failure is not None:
            self.fail(failure)
        else:
            self._succeed()

    def fail(self, failure: TransportFailure) -> None:
        """Lets whoever waits for this exchange have the failure."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(failure)

    def failure(self, kind: Kind, detail: str, address: str | None = None) -> TransportFailure:
        """A failure with what this exchange knows of its peer and its time."""
        if address is None and self._has_started:  # before, the handle still tells of the request before
            address = self._opened or self.curl.getinfo(pycurl.PRIMARY_IP) or None
        return TransportFailure(
            kind,
            detail,
            address=address,
            milliseconds=self.milliseconds,
            status=self.status or None,
        )

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter() - self._begun) * 1000

    @property
    def status(self) -> int:
        """Of the answer; 0 while there is none."""
        return _status(self.header_lines)

    def _succeed(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _failure_of(self, code: int, words: str) -> TransportFailure | None:
        if self._header_bytes > _HEADER_BYTES:
            return self.failure("protocol", f"the answer's headers exceed {_HEADER_BYTES} bytes")
        if self._refused is not None and self._opened is None:
            address, reason = self._refused
            return self.failure("guard", f"{self.target.host} is {address}: {reason}", address)
        return self.failure(_KINDS.get(code, "protocol"), words)

    def _on_open_socket(self, _purpose: int, peer: Any) -> "int | _HandedSocket":
        if peer.family not in (socket.AF_INET, socket.AF_INET6):
            return _REFUSE_SOCKET
        text, port = peer.addr[:2]
        if not self._proxied:
            refusal = self._guard.refusal(ip_address(text), port, tls=self.target.tls)
            if refusal is not None:
                self._refused = text, refusal
                return _REFUSE_SOCKET
        self._opened = text
        self._on_opened()
        return _HandedSocket(socket.socket(peer.family, peer.socktype, peer.protocol).detach())

    @abstractmethod
    def _on_body(self, chunk: bytes) -> int | None:
        """Takes a piece of the answer's body, as libcurl's write function: None is all of it, less ends the transfer,
        _PAUSE hands it over again later.
        """


class TooLarge(TransportFailure):
    """The download is larger than the caller takes."""


class Post(Exchange):
    """A request whose short answer is kept. Used again for the next one."""

    def __init__(
        self, policy: EgressPolicy, opened: Callable[[], None], client_certificate: ClientCertificate | None = None
    ) -> None:
        super().__init__(policy, opened)
        # Not a function of ours: it is called for each line. libcurl itself takes no more than 300 kB.
        self.curl.setopt(pycurl.HEADERFUNCTION, self.header_lines.append)
        if client_certificate is not None:
            self.curl.setopt(pycurl.SSLCERTTYPE, "PEM")
            self.curl.setopt(pycurl.SSLCERT_BLOB, client_certificate.certificate.encode())
            self.curl.setopt(pycurl.SSLKEYTYPE, "PEM")
            self.curl.setopt(pycurl.SSLKEY_BLOB, client_certificate.private_key.encode())

    def begin(self, target: Target, lines: list[bytes], body: bytes, response_cap: int) -> None:
        self._reset(target, lines)
        self._parts: list[bytes] = []
        self._room = response_cap
        self._truncated = False
        self.curl.setopt(pycurl.POSTFIELDS, body)

    def answer(self) -> Answer:
        return Answer(
            status=self.curl.getinfo(pycurl.RESPONSE_CODE),
            body=b"".join(self._parts),
            truncated=self._truncated,
            address=self.curl.getinfo(pycurl.PRIMARY_IP) or None,
            milliseconds=self.milliseconds,
            started_at=self.started_at,
            reused_connection=self._opened is None,
            header_lines=self.header_lines.copy(),
        )

    def ended(self, code: int, words: str) -> None:
        self._header_bytes = sum(map(len, self.header_lines))
        if code or self._header_bytes > _HEADER_BYTES:
            super().ended(code or pycurl.E_WRITE_ERROR, words)
            return
        self.has_ended = True
        ready = self._ready
        if ready is not None and not ready.done():
            ready.set_result(None)

    def _failure_of(self, code: int, words: str) -> TransportFailure | None:
        return None if self._truncated else super()._failure_of(code, words)

    def _on_body(self, chunk: bytes) -> int | None:
        self._truncated = len(chunk) > self._room
        self._parts.append(chunk[: self._room])
        self._room -= len(chunk)
        return 0 if self._truncated else None  # taking less than was offered ends the transfer


class Download(Exchange):
    """A GET whose headers are here and whose body is read by `async for chunk in download`."""

    def __init__(
        self, policy: EgressPolicy, opened: Callable[[], None], target: Target, lines: list[bytes], max_bytes: int
    ) -> None:
        super().__init__(policy, opened)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        self._reset(target, lines)
        self._max_bytes = max_bytes
        self._received = 0
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._is_paused = False
        self._failure: TransportFailure | None = None
        self.curl.setopt(pycurl.HTTPGET, 1)

    @property
    def url(self) -> str:
        """Where the body comes from, after redirects."""
        return self.target.url

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; repeated ones joined by commas."""
        return _headers(self.header_lines)

    @property
    def content_type(self) -> str:
        """As the sender claims it, without parameters; empty when it claims none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int | None:
        """As the sender claims it; None when it does not say."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            if self._unread:
                chunk = b"".join(self._unread)
                self._unread.clear()
                self._unread_bytes = 0
                if self._is_paused and not self.has_ended:
                    self._is_paused = False
                    self.curl.pause(pycurl.PAUSE_CONT)
                yield chunk
            elif self._failure is not None:
                raise self._failure
            elif self.has_ended:
                return
            else:
                self._ready = asyncio.get_running_loop().create_future()
                await self._ready

    def redirect_url(self) -> str | None:
        """Where the answer sends us, absolute; None when it is no redirect."""
        location = self.headers.get("location")
        if self.status not in _REDIRECTS or location is None:
            return None
        try:
            absolute = pycurl.CurlUrl(self.target.url)
            absolute.setpart(pycurl.UPART_URL, location.encode("latin-1"), pycurl.U_URLENCODE)
        except pycurl.error as error:
            raise self.failure("redirects", f"redirect to {location[:200]!r}: {error.args[-1]}") from None
        return str(absolute.url)

    def refuse_if_too_large(self) -> None:
        """Raises TooLarge when the sender announces more than the caller takes."""
        if (length := self.content_length) is not None and length > self._max_bytes:
            raise self._too_large(f"{length} bytes are announced")

    def fail(self, failure: TransportFailure) -> None:
        self._failure = failure
        self.has_ended = True
        super().fail(failure)

    def close(self) -> None:
        """Frees what was not read. Reading on raises TransportFailure."""
        self._unread.clear()
        self.fail(TransportFailure("canceled", "the download was closed", status=self.status))
        self.curl.close()

    def _too_large(self, found: str) -> TooLarge:
        return TooLarge(
            "too_large",
            f"{found}, {self._max_bytes} are allowed",
            address=self._opened,
            milliseconds=self.milliseconds,
            status=self.status,
        )

    def _failure_of(self, code: int, words: str) -> TransportFailure | None:
        if self._received > self._max_bytes:
            return self._too_large("more bytes come")
        return super()._failure_of(code, words)

    def _on_header(self, line: bytes) -> int | None:
        self._header_bytes += len(line)
        if self._header_bytes > _HEADER_BYTES:
            return 0
        self.header_lines.append(line)
        if not line.strip() and self.status >= 200:
            self._succeed()
        return None

    def _on_body(self, chunk: bytes) -> int | None:
        if self._unread_bytes >= _UNREAD_BYTES:
            self._is_paused = True
            return _PAUSE
        self._received += len(chunk)
        if self._received > self._max_bytes:
            return 0
        self._unread.append(chunk)
        self._unread_bytes += len(chunk)
        self._succeed()
        return None


class _HandedSocket:
    """A socket on its way to libcurl, which duplicates it; the original must be gone at once.

    A second descriptor of the same socket would keep it in the epoll set after libcurl has closed its own.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


def _status(lines: list[bytes]) -> int:
    for line in reversed(lines):  # the last head is that of the answer: interim ones come before
        if line.startswith(b"HTTP/"):
            code = line.split(None, 2)[1:2]
            return int(code[0]) if code and code[0].isdigit() else 0
    return 0


def _headers(lines: Sequence[bytes]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if name.startswith("HTTP/"):
            headers.clear()  # those before were an interim answer's
        elif colon:
            key, text = name.strip().lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
