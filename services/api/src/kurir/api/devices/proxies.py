"""Devices' own proxies: checked when they are given, and kept sealed under the master key.

The session node judges the address again, whenever it connects; here the tenant learns of a mistake at once.
"""

import contextlib

from kurir.api.problems import Problem
from kurir.api.urls import addresses_of_name
from kurir.contracts.records import SealedProxy
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.proxies import ProxyNotAllowed, addresses_of, check_addresses, read_proxy, seal_context
from kurir.runtime.secrets import MasterKey, SealBroken

FIELD = "proxy"


class Proxies:
    def __init__(self, master_key: MasterKey, guard: AddressGuard) -> None:
        self._master_key = master_key
        self._guard = guard

    async def sealed(self, tenant: str, device: str, url: str, former: SealedProxy | None = None) -> SealedProxy:
        """The proxy as it is kept; the `former` one itself when it is the same, so that nobody connects anew for it.

        Raises Problem VALIDATION_ERROR for what is no proxy's URL, URL_NOT_ALLOWED for an address that leads inside. A
        name that cannot be looked up now is let through.
        """
        try:
            proxy = read_proxy(url)
        except ValueError as error:
            raise Problem("VALIDATION_ERROR", str(error), field=FIELD) from None
        try:
            check_addresses(proxy, await addresses_of(proxy.host, addresses_of_name), self._guard)
        except ProxyNotAllowed as error:
            raise Problem("URL_NOT_ALLOWED", str(error), field=FIELD) from None
        context = seal_context(tenant, device)
        if former is not None:
            with contextlib.suppress(SealBroken):
                if self._master_key.open(former.sealed, context) == proxy.url():
                    return former
        sealed = self._master_key.seal(proxy.url(), context)
        return SealedProxy(sealed=sealed, shown=proxy.shown)
