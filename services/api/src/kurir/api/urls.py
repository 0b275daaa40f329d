"""May a webhook or a medium live at this URL? Asked when it is given, so that its owner learns of it at once.

What counts is asked again at every connection, by address; a name that leads inside only later is caught there.
"""

import asyncio
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

import idna

from kurir.api.problems import Problem
from kurir.runtime.addresses import AddressGuard

LOOKUP_TIMEOUT_S = 3.0


async def checked_url(url: str, guard: AddressGuard, *, field: str = "url") -> str:
    """The URL as it is to be kept: a name in other letters than ASCII's is written in its ASCII form (`xn--…`).

    Raises Problem: VALIDATION_ERROR for what is no http(s) URL, URL_NOT_ALLOWED for one that leads inside. A name that
    cannot be looked up now is let through.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or any(c.isspace() or not c.isprintable() for c in url):
        raise Problem("VALIDATION_ERROR", "This is not an http or https URL.", field=field)
    if parts.username is not None or parts.password is not None:
        raise Problem("VALIDATION_ERROR", "A URL with credentials is not accepted; use headers.", field=field)
    if not host.isascii():
        host = _in_ascii(host, field)
        url = urlunsplit(parts._replace(netloc=host if port is None else f"{host}:{port}"))
    tls = parts.scheme == "https"
    for address in await addresses_of_name(host):
        reason = guard.refusal(ip_address(address), port or (443 if tls else 80), tls=tls)
        if reason is not None:
            raise Problem("URL_NOT_ALLOWED", f"{host} is not allowed: {reason.replace('_', ' ')}.", field=field)
    return url


def _in_ascii(host: str, field: str) -> str:
    """The name as browsers look it up (UTS #46). Raises Problem."""
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise Problem("VALIDATION_ERROR", f"{host} is no name of a host: {error}.", field=field) from None


async def addresses_of_name(host: str) -> list[str]:
    """What the system's resolver finds; nothing when it finds nothing in time."""
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
