"""A proxy of a device, as its tenant wrote it: read, shown without its password, and sealed at rest.

Who dials it does so outside our own guarded requests, by the address in the URL. So `dialable` looks the name up,
judges every address, and puts one of them in the name's place: what is dialled later is what was judged.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from kurir.runtime.addresses import AddressGuard

Scheme = Literal["http", "socks5"]

MAX_URL = 500
_PORTS: dict[Scheme, int] = {"http": 80, "socks5": 1080}
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]{0,200}")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f:.]+")


class ProxyNotAllowed(Exception):
    """The proxy is at an address that must not be dialled; the text names host and reason, no credentials."""


class Proxy(Struct, frozen=True, kw_only=True):
    """`user` and `password` are as the URL has them: percent-encoded."""

    scheme: Scheme
    host: str
    port: int
    user: str = ""
    password: str = ""

    def url(self, host: str | None = None) -> str:
        """The whole URL, with `host` (an address) in place of its own."""
        return self._written(host or self.host, self.password)

    @property
    def shown(self) -> str:
        """The URL with its password left out."""
        return self._written(self.host, "***" if self.password else "")

    def _written(self, host: str, password: str) -> str:
        credentials = f"{self.user}{':' + password if password else ''}@" if self.user or password else ""
        return f"{self.scheme}://{credentials}{f'[{host}]' if ':' in host else host}:{self.port}"


def read_proxy(text: str) -> Proxy:
    """Raises ValueError with a sentence for the tenant, which does not repeat the URL."""
    if len(text) > MAX_URL:
        raise ValueError(f"A proxy URL has at most {MAX_URL} characters.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme == "https":
        raise ValueError(
            "A proxy is dialled by its address, which its certificate does not name, so https:// is not accepted; "
            "use http:// or socks5://. What is said to WhatsApp through it is encrypted in any case."
        )
    scheme = next((known for known in _PORTS if known == parts.scheme), None)
    if scheme is None:
        raise ValueError(_FORM)
    user, password = parts.username or "", parts.password or ""
    is_whole = host is not None and _HOST.fullmatch(host) and parts.path in ("", "/") and port != 0
    if not is_whole or parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(_FORM)
    if not _CREDENTIAL.fullmatch(user) or not _CREDENTIAL.fullmatch(password) or "\0" in unquote(user + password):
        raise ValueError("Write reserved characters of user and password as %XX.")
    assert host is not None
    return Proxy(scheme=scheme, host=host, port=port or _PORTS[scheme], user=user, password=password)


def seal_context(tenant: str, device: str) -> str:
    """What a device's proxy is sealed for, see secrets.MasterKey."""
    return f"{tenant}/{device}/proxy"


async def dialable(url: str, guard: AddressGuard, look_up: Callable[[str], Awaitable[Sequence[str]]]) -> str:
    """The proxy's URL with an address that may be dialled in place of its name.

    Raises ProxyNotAllowed when any of its addresses may not be, ValueError when it is no proxy URL, and what `look_up`
    raises for a name without an address.
    """
    proxy = read_proxy(url)
    addresses = await addresses_of(proxy.host, look_up)
    check_addresses(proxy, addresses, guard)
    return proxy.url(addresses[0])


async def addresses_of(host: str, look_up: Callable[[str], Awaitable[Sequence[str]]]) -> Sequence[str]:
    """The host itself when it is an address, otherwise what is found for it."""
    try:
        return (str(ip_address(host)),)
    except ValueError:
        return await look_up(host)


def check_addresses(proxy: Proxy, addresses: Sequence[str], guard: AddressGuard) -> None:
    """Raises ProxyNotAllowed."""
    for address in addresses:
        reason = guard.refusal(ip_address(address), proxy.port, tls=False)
        if reason is not None:
            raise ProxyNotAllowed(f"{proxy.host} is not allowed: {reason.replace('_', ' ')}.")


_FORM = "A proxy is http://user:password@host:port or socks5://user:password@host:port."
