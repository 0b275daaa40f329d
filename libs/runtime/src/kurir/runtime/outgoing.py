"""What we are willing to send: a URL taken apart, headers checked, and the failure that everything here raises.

Nothing is opened here. URLs are read by libcurl itself, so that what is judged is what is called.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

import pycurl

Kind = Literal[
    "request",  # the URL or a header cannot be sent
    "guard",  # the address, or plain HTTP to it, is not allowed
    "dns",
    "connect",
    "tls",
    "timeout",
    "reset",  # the connection ended before the answer was whole
    "protocol",  # the answer is not HTTP as we accept it
    "too_large",
    "redirects",
    "busy",  # too many requests wait here already
    "canceled",  # this Egress was closed
]

Origin = tuple[bool, str, int]  # TLS or not, host, port

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class TransportFailure(Exception):
    """No whole answer came. `detail` is for people; it names no secret of ours.

    `address` is the peer's when one was reached or refused, `status` is there when the answer had begun.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        address: str | None = None,
        milliseconds: float = 0.0,
        status: int | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: Kind = kind
        self.detail = detail
        self.address = address
        self.milliseconds = milliseconds
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its normal form, and whom it names: a host in lower case and punycode, addresses in brackets."""

    url: str
    tls: bool
    host: str
    port: int
    is_literal: bool

    @property
    def origin(self) -> Origin:
        return self.tls, self.host, self.port


@functools.lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """Taken apart by libcurl itself, so that what is judged is what is called. Raises TransportFailure."""
    try:
        parsed = pycurl.CurlUrl()
        parsed.setpart(pycurl.UPART_URL, url.encode(), pycurl.U_URLENCODE)
        if parsed.scheme not in ("http", "https"):
            raise TransportFailure("request", f"{parsed.scheme} is not http or https")
        normal = parsed.getpart(pycurl.UPART_URL, pycurl.U_PUNYCODE)
        host = parsed.getpart(pycurl.UPART_HOST, pycurl.U_PUNYCODE).lower()
        port = int(parsed.getpart(pycurl.UPART_PORT, pycurl.U_DEFAULT_PORT))
    except (pycurl.error, UnicodeError) as error:
        raise TransportFailure("request", f"not a URL we can call: {error.args[-1]}") from None
    return Target(normal, parsed.scheme == "https", host, port, _is_address(host.strip("[]")))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def header_refusal(name: str, value: str) -> str | None:
    """Why a header cannot be sent with a request, in a sentence; None when it can. For checks before storing it."""
    if refusal := _name_refusal(name):
        return refusal
    if value.isprintable() or not _CONTROL_CHARACTER.search(value):
        return None
    return f"the value of {name} holds control characters"


def header_lines(headers: Sequence[tuple[str, str]]) -> list[bytes]:
    """As libcurl takes them. Raises TransportFailure when one must not be sent."""
    lines = []
    for name, value in headers:
        if (_name_refusal(name) is not None or not value.isprintable()) and (refusal := header_refusal(name, value)):
            raise TransportFailure("request", f"header: {refusal}")
        # libcurl takes "Name:" as an order to leave the header out, and "Name;" as the header with no value.
        line = f"{name};" if not value or value.isspace() else f"{name}: {value}"
        lines.append(line.encode("utf-8", "replace"))
    if not any(_is_content_type(name) for name, _ in headers):
        lines.append(b"Content-Type:")  # libcurl would claim a form
    return lines


@functools.lru_cache(maxsize=4096)
def _is_content_type(name: str) -> bool:
    return name.lower() == "content-type"


@functools.lru_cache(maxsize=4096)
def _name_refusal(name: str) -> str | None:
    if name.lower() in _CONNECTION_HEADERS:
        return f"{name} is set by the connection itself"
    return None if _TOKEN.fullmatch(name) else f"{name!r} is no header name"
