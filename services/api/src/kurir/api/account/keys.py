"""`/auth/keys`: the account's own keys. A key that is bound to a device manages none."""

from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.problems import Problem
from kurir.api.tenants.schemas import KeyView, NewKey, key_view_of
from kurir.api.tenants.service import Tenants
from kurir.runtime import secrets


@get("/")
async def list_own_keys(caller: NamedDependency[Caller], tenants: NamedDependency[Tenants]) -> list[KeyView]:
    """All keys of your account, without the keys themselves."""
    return [key_view_of(key) for key in tenants.keys(_account(caller))]


@post("/")
async def create_own_key(
    data: JSONBody[NewKey], caller: NamedDependency[Caller], tenants: NamedDependency[Tenants]
) -> KeyView:
    """Create another key for your account. The answer shows it, and its secret if it has one, once."""
    secret = secrets.new_api_key() if data.signed else None
    record, api_key = await tenants.create_key(
        caller.key, _account(caller), data.name, device=data.device_id, secret=secret
    )
    return key_view_of(record, api_key, secret)


@delete("/{key_id:str}")
async def revoke_own_key(
    key_id: FromPath[str], caller: NamedDependency[Caller], tenants: NamedDependency[Tenants]
) -> None:
    """Revoke a key of your account; it ends at once, also if it is the one that you send."""
    await tenants.revoke_key(caller.key, _account(caller), key_id)


def _account(caller: Caller) -> str:
    if caller.key.device is not None:
        raise Problem("FORBIDDEN", "This key is bound to one device.")
    return caller.tenant.id


def router() -> Router:
    return Router("/auth/keys", route_handlers=(list_own_keys, create_own_key, revoke_own_key), tags=["Account"])
