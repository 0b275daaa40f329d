"""By which proxy a device's connection leaves, and what it means when it does not come to be.

A device's own proxy was written by its tenant: it leads to public addresses only, unless the operator allows others. It
takes the place of the operator's proxy, which may be anywhere.
"""

import re

from kurir.contracts.states import Reason
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.proxies import ProxyNotAllowed, dialable
from kurir.runtime.resolver import NameNotResolved, Resolver

LOOKUP_TIMEOUT_S = 5.0


class NoWayOut(Exception):
    """The device's proxy cannot be dialled now; the text has no credentials."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class WayOut:
    """`proxy` is the operator's, None for dialling WhatsApp directly. Belongs to one loop."""

    def __init__(self, proxy: str | None, guard: AddressGuard) -> None:
        self._proxy = proxy
        self._guard = guard
        self._resolver = Resolver()

    async def of(self, own: str | None) -> str | None:
        """The proxy to dial for a device that has this one of its own. Raises NoWayOut."""
        if own is None:
            return self._proxy
        try:
            return await dialable(own, self._guard, self._look_up)
        except (ProxyNotAllowed, ValueError) as error:
            raise NoWayOut("proxy_refused", str(error)) from error
        except (NameNotResolved, TimeoutError) as error:
            raise NoWayOut("proxy_unreachable", f"the proxy's name has no address: {error}") from error

    async def _look_up(self, name: str) -> tuple[str, ...]:
        return (await self._resolver.resolve(name, LOOKUP_TIMEOUT_S)).texts

    def close(self) -> None:
        self._resolver.close()


# Texts of neonize and whatsmeow. What a dial through a proxy fails at is said in a hundred ways, by whoever failed.
_STORE = re.compile(r"\bdatabase\b|\bpq: |failed to (?:get|load) (?:first )?device", re.IGNORECASE)
_DIAL = "failed to dial"


def reason_not_opened(why: str, own_proxy: str | None) -> Reason:
    """What a connection failed at, by the library's words."""
    if _STORE.search(why):
        return "device_store_unavailable"
    return "proxy_unreachable" if own_proxy is not None and _DIAL in why else "server_unavailable"
