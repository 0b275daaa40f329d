"""Customers and their keys. Used by operators over HTTP, and by the command line."""

import ipaddress
import zoneinfo
from collections.abc import Iterable

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.changes import Changes
from kurir.api.problems import Problem
from kurir.api.tenants.schemas import NewTenant, TenantChange
from kurir.contracts import ids
from kurir.contracts.records import ApiKey, Device, Dialect, DialectOptions, Endpoint, Tenant
from kurir.runtime import secrets
from kurir.runtime.clock import Clock
from kurir.runtime.registry import KeyExists, KeyMissing, Registry, RevisionConflict, key_of
from kurir.runtime.secrets import MasterKey, MasterKeyRefused, key_secret_context

OPERATORS = "operators"
"""Whose audit log tells of operators' keys. No tenant has this id."""

MIN_KEY_LENGTH = 16  # of a key made elsewhere: shorter ones can be guessed
MAX_KEY_LENGTH = 512
NO_OPTIONS = DialectOptions()

Actor = ApiKey | str


class Tenants:
    def __init__(
        self,
        clock: Clock,
        changes: Changes,
        tenants: Registry[Tenant],
        keys: Registry[ApiKey],
        devices: Registry[Device],
        endpoints: Registry[Endpoint],
        master_key: MasterKey | None = None,
    ) -> None:
        """`master_key` is for keys that have a secret."""
        self._clock = clock
        self._changes = changes
        self._tenants = tenants
        self._keys = keys
        self._devices = devices
        self._endpoints = endpoints
        self._master_key = master_key

    def get(self, tenant_id: str) -> Tenant:
        """Raises Problem TENANT_NOT_FOUND."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise Problem("TENANT_NOT_FOUND")
        return tenant

    def all(self) -> list[Tenant]:
        """Oldest first."""
        return sorted((tenant for _, tenant in self._tenants.items()), key=lambda tenant: tenant.created_at)

    async def create(self, actor: Actor, new: NewTenant, *, tenant_id: str | None = None) -> Tenant:
        """Raises Problem CONFLICT when `tenant_id` is given and taken, VALIDATION_ERROR when it is no token."""
        tenant_id = tenant_id or ids.short_id("ten_")
        if not ids.is_token(tenant_id) or tenant_id == OPERATORS:
            raise Problem("VALIDATION_ERROR", "An id is 1 to 64 of A-Z a-z 0-9 _ and -.", field="id")
        _check_zone(new.time_zone)
        tenant = Tenant(
            id=tenant_id,
            name=new.name,
            created_at=self._clock.now(),
            email=new.email,
            plan=new.plan,
            country=new.country,
            time_zone=new.time_zone,
            rate_per_minute=new.rate_per_minute,
            messages_per_month=new.messages_per_month,
            on_unknown=new.on_unknown,
            max_devices=new.max_devices,
            max_endpoints=new.max_endpoints,
            keep_days=new.keep_days,
        )
        try:
            await self._tenants.create(key_of(tenant.id), tenant)
        except KeyExists:
            raise Problem("CONFLICT", "There is a tenant of this id already.", field="id") from None
        await self._changes.tell(tenant.id, "tenant.created", actor=actor, target=tenant.id, name=tenant.name)
        return tenant

    async def change(self, actor: Actor, tenant_id: str, change: TenantChange) -> Tenant:
        given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        if isinstance(change.time_zone, str):
            _check_zone(change.time_zone)
        try:
            tenant = await self._tenants.change(self.get(tenant_id).id, lambda known: replace(known, **given))
        except KeyMissing:
            raise Problem("TENANT_NOT_FOUND") from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None
        await self._changes.tell(tenant.id, "tenant.changed", actor=actor, target=tenant.id, fields=",".join(given))
        return tenant

    async def delete(self, actor: Actor, tenant_id: str) -> None:
        """Keys first, so that nothing new comes; then what they could reach; then the tenant. Safe to repeat."""
        tenant = self.get(tenant_id)
        for digest, key in self._keys.items():
            if key.tenant == tenant.id:
                await self._keys.delete(digest)
        for key_, _ in self._endpoints.items(tenant.id):
            await self._endpoints.delete(key_)
        for key_, _ in self._devices.items(tenant.id):
            await self._devices.delete(key_)
        await self._tenants.delete(tenant.id)
        await self._changes.tell(tenant.id, "tenant.deleted", actor=actor, target=tenant.id, name=tenant.name)

    def keys(self, tenant_id: str | None) -> list[ApiKey]:
        """The keys of a tenant, or with None those of operators, oldest first."""
        found = (key for _, key in self._keys.items() if key.tenant == tenant_id)
        return sorted(found, key=lambda key: key.created_at)

    async def create_key(
        self,
        actor: Actor,
        tenant_id: str | None,
        name: str,
        *,
        device: str | None = None,
        dialect: Dialect | None = None,
        options: DialectOptions = NO_OPTIONS,
        secret: str | None = None,
        api_key: str | None = None,
        allowed_origins: tuple[str, ...] | None = None,
    ) -> tuple[ApiKey, str]:
        """A key and its record; the key itself is kept nowhere. `tenant_id` None makes an operator's key.

        With `secret` the key is good for requests signed with it alone. `api_key` is a key that its clients have
        already, of any form of MIN_KEY_LENGTH to MAX_KEY_LENGTH characters. `device` is an id or a code;
        `allowed_origins` makes it the key of a project.

        Raises Problem TENANT_NOT_FOUND, DEVICE_NOT_FOUND, VALIDATION_ERROR, or CONFLICT for a key that is known.
        """
        if api_key is not None and not MIN_KEY_LENGTH <= len(api_key) <= MAX_KEY_LENGTH:
            raise Problem(
                "VALIDATION_ERROR", f"A key has {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} characters.", field="key"
            )
        _check_networks(options.networks)
        if tenant_id is not None:
            self.get(tenant_id)
            device = self._device_id(tenant_id, device) if device is not None else None
        api_key = api_key or secrets.new_api_key()
        identifier = ids.short_id("key_")
        record = ApiKey(
            id=identifier,
            role="operator" if tenant_id is None else "tenant",
            name=name,
            hint=api_key[-4:],
            created_at=self._clock.now(),
            tenant=tenant_id,
            device=device,
            dialect=dialect,
            options=options,
            allowed_origins=allowed_origins,
            sealed_secret=self._sealed(secret, identifier) if secret is not None else None,
        )
        try:
            await self._keys.create(secrets.api_key_digest(api_key), record)
        except KeyExists:
            raise Problem("CONFLICT", "This key is known already.", field="key") from None
        await self._changes.tell(
            tenant_id or OPERATORS, "key.created", actor=actor, target=record.id, device=device, name=name
        )
        return record, api_key

    def _device_id(self, tenant_id: str, device: str) -> str:
        for _, known in self._devices.items(tenant_id):
            if device in (known.code, known.id):
                return known.id
        raise Problem("DEVICE_NOT_FOUND", field="deviceId")

    def _sealed(self, secret: str, key_id: str) -> str:
        if self._master_key is None:
            raise MasterKeyRefused("a key with a secret needs the master key (KURIR_MASTER_KEY)")
        return self._master_key.seal(secret, key_secret_context(key_id))

    async def rotate_key(self, key: ApiKey, digest: str) -> str:
        """A new key in place of the one with this digest, which ends at once. Raises PublishError.

        The new one is stored first: whatever happens in between, one of the two works.
        """
        api_key = secrets.new_api_key()
        await self._keys.create(secrets.api_key_digest(api_key), replace(key, hint=api_key[-4:]))
        await self._keys.delete(digest)
        await self._changes.tell(key.tenant or OPERATORS, "key.rotated", actor=key, target=key.id, device=key.device)
        return api_key

    async def revoke_key(self, actor: Actor, tenant_id: str | None, key_id: str) -> None:
        """Raises Problem NOT_FOUND for a key that this tenant (None: operators) does not have."""
        digest = next((d for d, key in self._keys.items() if key.id == key_id and key.tenant == tenant_id), None)
        if digest is None:
            raise Problem("NOT_FOUND", "There is no such key.")
        await self._keys.delete(digest)
        await self._changes.tell(tenant_id or OPERATORS, "key.revoked", actor=actor, target=key_id)


def _check_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise Problem("VALIDATION_ERROR", "A time zone is a name such as Asia/Jakarta.", field="timeZone")


def _check_networks(networks: Iterable[str]) -> None:
    try:
        for network in networks:
            ipaddress.ip_network(network)
    except ValueError as error:
        raise Problem("VALIDATION_ERROR", f"A network is written as 192.0.2.0/24: {error}.", field="networks") from None
