"""What a dialect says beside the event: of the device, and of the endpoint. In memory, made once and kept until one of
them changes.

The same event is told to an endpoint in the same bytes at each attempt, unless what is told of changed meanwhile: its
URL, the device's code, the account that it is paired with, the tenant's time zone.
"""

import operator
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from kurir.contracts.content import Media
from kurir.contracts.records import Device, Endpoint, Session, Tenant
from kurir.dialects.dialect import JAKARTA, Context
from kurir.runtime.broker import Bus
from kurir.runtime.registry import Registry

KEPT: Final = 20_000  # endpoints times devices that come by


class _Kept(NamedTuple):
    tenant: Tenant | None
    endpoint: Endpoint
    device: Device | None
    session: Session | None
    context: Context


class Contexts:
    """`of` an endpoint and a device, between `start` and `stop`. Clients reach the api at `public_url`."""

    def __init__(self, bus: Bus, public_url: str) -> None:
        self._server_url = public_url.rstrip("/")
        self._tenants = Registry(bus, "tenants", Tenant)
        self._devices = Registry(bus, "devices", Device)
        self._sessions = Registry(bus, "sessions", Session)
        self._kept: dict[tuple[str, str], _Kept] = {}
        self.plain = Context(media_url=self._media_url, server_url=self._server_url)
        """Where neither is told of."""

    async def start(self) -> None:
        await self._tenants.start()
        await self._devices.start()
        await self._sessions.start()

    async def stop(self) -> None:
        await self._sessions.stop()
        await self._devices.stop()
        await self._tenants.stop()

    def of(self, endpoint: Endpoint, device: str, key: str | None) -> Context:
        """`key` is the API key that the endpoint wants repeated, opened."""
        name = f"{endpoint.tenant}.{device}"
        about = self._tenants.get(endpoint.tenant), endpoint, self._devices.get(name), self._sessions.get(name)
        kept = self._kept.get((endpoint.id, name))
        if kept is not None and all(map(operator.is_, kept, about)):
            return kept.context
        tenant, _, record, session = about
        context = Context(
            media_url=self._media_url,
            code=record.code if record is not None else None,
            owner=session.jid if session is not None else None,
            destination=endpoint.url,
            server_url=self._server_url,
            options=endpoint.payload_options,
            key=key,
            zone=ZoneInfo(tenant.time_zone) if tenant is not None else JAKARTA,
        )
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[endpoint.id, name] = _Kept(*about, context)
        return context

    def _media_url(self, media: Media) -> str | None:
        """The api serves a tenant's own media by id; the tenant before it is known from the key."""
        identifier = media.object.partition("/")[2]
        return f"{self._server_url}/media/{identifier}" if identifier else None
