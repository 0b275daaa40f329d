"""Tenants and keys as operators see them."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from kurir.contracts.commands import OnUnknown
from kurir.contracts.records import ApiKey, Tenant

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
PerMinute = Annotated[int, Meta(ge=1, le=1_000_000)]
PerMonth = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Days = Annotated[int, Meta(ge=1, le=3650)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class NewTenant(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`country` is where numbers without country code are read, `ratePerMinute` messages a minute and device,
    `messagesPerMonth` the most that is accepted of them all in a calendar month (UTC), null without a limit. `timeZone`
    is that of times told without one, e.g. Asia/Jakarta.
    `keepDays` is how long events and delivery attempts are kept; absent means as long as this installation does."""

    name: Name
    email: str | None = None
    plan: str = "standard"
    country: Country = "ID"
    time_zone: str = "Asia/Jakarta"
    rate_per_minute: PerMinute = 30
    messages_per_month: PerMonth | None = None
    on_unknown: OnUnknown = "report"
    max_devices: Count = 100
    max_endpoints: Count = 100
    keep_days: Days | None = None


class TenantChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays. A tenant that is not active is refused with 403; what it has is kept.
    `messagesPerMonth` counts from when it is first set, and null ends it."""

    name: Name | UnsetType = UNSET
    email: str | UnsetType | None = UNSET
    plan: str | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    rate_per_minute: PerMinute | UnsetType = UNSET
    messages_per_month: PerMonth | UnsetType | None = UNSET
    on_unknown: OnUnknown | UnsetType = UNSET
    max_devices: Count | UnsetType = UNSET
    max_endpoints: Count | UnsetType = UNSET
    keep_days: Days | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET


class TenantView(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    email: str | None
    plan: str
    country: str
    time_zone: str
    rate_per_minute: int
    messages_per_month: int | None
    on_unknown: OnUnknown
    max_devices: int
    max_endpoints: int
    keep_days: int | None
    active: bool
    created_at: datetime


class NewKey(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`deviceId` binds the key to one device. A `signed` key comes with a secret, and is good for RK Connect's API
    alone, whose requests are signed with it."""

    name: Name = "default"
    device_id: str | None = None
    signed: bool = False


class KeyView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A key. `apiKey` and the `apiSecret` of a signed one are there once, in the answer that made it; `hint` is its
    end."""

    id: str
    name: str
    hint: str
    created_at: datetime
    device_id: str | None = None
    api_key: str | UnsetType = UNSET
    signed: bool = False
    api_secret: str | UnsetType = UNSET


def view_of(tenant: Tenant) -> TenantView:
    return TenantView(
        id=tenant.id,
        name=tenant.name,
        email=tenant.email,
        plan=tenant.plan,
        country=tenant.country,
        time_zone=tenant.time_zone,
        rate_per_minute=tenant.rate_per_minute,
        messages_per_month=tenant.messages_per_month,
        on_unknown=tenant.on_unknown,
        max_devices=tenant.max_devices,
        max_endpoints=tenant.max_endpoints,
        keep_days=tenant.keep_days,
        active=tenant.active,
        created_at=tenant.created_at,
    )


def key_view_of(key: ApiKey, api_key: str | None = None, api_secret: str | None = None) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        created_at=key.created_at,
        device_id=key.device,
        api_key=api_key if api_key is not None else UNSET,
        signed=key.sealed_secret is not None,
        api_secret=api_secret if api_secret is not None else UNSET,
    )
