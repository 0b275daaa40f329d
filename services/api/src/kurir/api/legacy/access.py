"""Whom a request of another gateway's client speaks for, and which device it means.

A key is the same thing as for the native API, wherever the client puts it. A device is known by its code, which is
what the client calls it, or by its id.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from kurir.api.auth import Authenticator, Caller
from kurir.api.devices.service import Devices
from kurir.api.problems import Problem
from kurir.contracts.records import ApiKey, Device
from kurir.runtime.secrets import MasterKey, key_secret_context

MAX_OPENED = 10_000

_BEARER = re.compile(r"bearer(\s+|$)", re.IGNORECASE)


def credential(headers: Iterable[tuple[bytes, bytes]], *names: str) -> str | None:
    """The key in the first of these headers that is there; of `Authorization` without a `Bearer` before it."""
    given = dict(headers)
    for name in names:
        value = given.get(name.lower().encode(), b"").decode("latin-1").strip()
        if name.lower() == "authorization":
            value = _BEARER.sub("", value, count=1) if _BEARER.match(value) else value
        if value:
            return value
    return None


class Access:
    def __init__(
        self, authenticator: Authenticator, devices: Devices, anonymous: tuple[str, str] | None, master_key: MasterKey
    ) -> None:
        """`anonymous`: the tenant and device (code or id) for which requests without a key act, where they may."""
        self._authenticator = authenticator
        self._devices = devices
        self._anonymous = anonymous
        self._master_key = master_key
        self._opened: dict[tuple[str, str], str] = {}  # secrets in use, by the key's id and their sealed form

    async def caller(self, key: str | None, *, is_signed: bool = False) -> Caller:
        """The tenant of a key. `is_signed`: the caller of this method checks the request's signature itself.

        Raises Problem MISSING_API_KEY, INVALID_API_KEY, ACCOUNT_SUSPENDED, or FORBIDDEN for an operator's key or one
        that is good for signed requests alone.
        """
        return await self._authenticator.tenant_of_key(key, is_signed=is_signed)

    def secret(self, key: ApiKey) -> str | None:
        """What a key's requests are signed with; None for a key whose requests need no signature. Raises SealBroken."""
        if key.sealed_secret is None:
            return None
        secret = self._opened.get((key.id, key.sealed_secret))
        if secret is None:
            secret = self._master_key.open(key.sealed_secret, key_secret_context(key.id))
            if len(self._opened) >= MAX_OPENED:
                self._opened.clear()
            self._opened[key.id, key.sealed_secret] = secret
        return secret

    def anonymous(self) -> Caller | None:
        """Who acts without a key; None where nobody may. Its key is bound to the device. Raises DEVICE_NOT_FOUND."""
        if self._anonymous is None:
            return None
        tenant_id, code = self._anonymous
        tenant = self._authenticator.active_tenant(tenant_id)
        made_at = datetime.fromtimestamp(0, UTC)
        nobody = ApiKey(id="anonymous", role="tenant", name="anonymous", hint="", created_at=made_at, tenant=tenant_id)
        device = self._devices.by_code(Caller(nobody, "", tenant), code)
        bound = ApiKey(
            id="anonymous",
            role="tenant",
            name="anonymous",
            hint="",
            created_at=made_at,
            tenant=tenant_id,
            device=device.id,
        )
        return Caller(bound, "", tenant)

    def device(self, caller: Caller, code: str | None = None) -> Device:
        """The caller's device of this code; without one, the device that the key is bound to, or the only one.

        Raises Problem DEVICE_NOT_FOUND, for another tenant's too.
        """
        if code is not None:
            return self._devices.by_code(caller, code)
        if caller.key.device is not None:
            return self._devices.get(caller, caller.key.device)
        devices = self._devices.all(caller)
        if len(devices) != 1:
            raise Problem("DEVICE_NOT_FOUND", "Bind the key to one device: this account has none, or several.")
        return devices[0]
