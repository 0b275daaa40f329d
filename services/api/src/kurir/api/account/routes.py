"""`/auth`: who am I, and a new key for me."""

from datetime import datetime
from typing import Any

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from kurir.api.auth import Authenticator
from kurir.api.quota import MonthlyQuota
from kurir.api.tenants.service import Tenants


class Account(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose key this is."""

    id: str
    email: str | None
    name: str
    plan: str
    created_at: datetime


class NewApiKey(Struct, frozen=True, kw_only=True, rename="camel"):
    """The new key, shown once."""

    api_key: str


@get("/me")
async def show_account(
    request: Request[Any, Any, Any],
    authenticator: NamedDependency[Authenticator],
) -> Account:
    """The account of the key that you send; the way to see whether a key is good."""
    await authenticator.learn(request.scope["headers"])
    who = authenticator.anyone(request.scope["headers"])
    if who.tenant is None:
        return Account(id=who.key.id, email=None, name=who.key.name, plan="operator", created_at=who.key.created_at)
    tenant = who.tenant
    return Account(id=tenant.id, email=tenant.email, name=tenant.name, plan=tenant.plan, created_at=tenant.created_at)


class Usage(Struct, frozen=True, kw_only=True, rename="camel"):
    """`messagesThisMonth` of the calendar month (UTC); both are null for an account without a quota."""

    messages_this_month: int | None
    messages_per_month: int | None


@get("/usage")
async def show_usage(
    request: Request[Any, Any, Any],
    authenticator: NamedDependency[Authenticator],
    quota: NamedDependency[MonthlyQuota],
) -> Usage:
    """How much of the account's quota of messages is used."""
    await authenticator.learn(request.scope["headers"])
    tenant = authenticator.tenant(request.scope["headers"]).tenant
    return Usage(messages_this_month=await quota.used(tenant), messages_per_month=tenant.messages_per_month)


@post("/rotate-key", status_code=200)
async def rotate_key(
    request: Request[Any, Any, Any],
    authenticator: NamedDependency[Authenticator],
    tenants: NamedDependency[Tenants],
) -> NewApiKey:
    """A new key in place of the one that you send, which ends at once."""
    await authenticator.learn(request.scope["headers"])
    who = authenticator.anyone(request.scope["headers"])
    return NewApiKey(api_key=await tenants.rotate_key(who.key, who.digest))


routes = (show_account, show_usage, rotate_key)


def router() -> Router:
    return Router("/auth", route_handlers=routes, tags=["Account"])
