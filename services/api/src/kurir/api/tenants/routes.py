"""`/tenants`: customers and their keys, for operators."""

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.address_book.service import AddressBook
from kurir.api.auth import Operator
from kurir.api.tenants.schemas import KeyView, NewKey, NewTenant, TenantChange, TenantView, key_view_of, view_of
from kurir.api.tenants.service import Tenants
from kurir.runtime import secrets


@get("/")
async def list_tenants(operator: NamedDependency[Operator], tenants: NamedDependency[Tenants]) -> list[TenantView]:
    """All tenants, oldest first."""
    return [view_of(tenant) for tenant in tenants.all()]


@post("/")
async def create_tenant(
    data: JSONBody[NewTenant], operator: NamedDependency[Operator], tenants: NamedDependency[Tenants]
) -> TenantView:
    """Create a tenant; then a key for it."""
    return view_of(await tenants.create(operator.key, data))


@get("/{tenant_id:str}")
async def show_tenant(
    tenant_id: FromPath[str], operator: NamedDependency[Operator], tenants: NamedDependency[Tenants]
) -> TenantView:
    """One tenant."""
    return view_of(tenants.get(tenant_id))


@patch("/{tenant_id:str}")
async def change_tenant(
    tenant_id: FromPath[str],
    data: JSONBody[TenantChange],
    operator: NamedDependency[Operator],
    tenants: NamedDependency[Tenants],
) -> TenantView:
    """Change a tenant, or switch it off and on."""
    return view_of(await tenants.change(operator.key, tenant_id, data))


@delete("/{tenant_id:str}")
async def delete_tenant(
    tenant_id: FromPath[str],
    operator: NamedDependency[Operator],
    tenants: NamedDependency[Tenants],
    address_book: NamedDependency[AddressBook],
) -> None:
    """Delete a tenant with its keys, webhooks, devices and saved contacts."""
    await address_book.forget(tenants.get(tenant_id).id)
    await tenants.delete(operator.key, tenant_id)


@get("/{tenant_id:str}/keys")
async def list_keys(
    tenant_id: FromPath[str], operator: NamedDependency[Operator], tenants: NamedDependency[Tenants]
) -> list[KeyView]:
    """The tenant's keys, without the keys themselves."""
    return [key_view_of(key) for key in tenants.keys(tenants.get(tenant_id).id)]


@post("/{tenant_id:str}/keys")
async def create_key(
    tenant_id: FromPath[str],
    operator: NamedDependency[Operator],
    tenants: NamedDependency[Tenants],
    data: JSONBody[NewKey | None] = None,
) -> KeyView:
    """Create a key. The answer shows it, and its secret if it has one, once."""
    new = data or NewKey()
    secret = secrets.new_api_key() if new.signed else None
    record, api_key = await tenants.create_key(operator.key, tenant_id, new.name, device=new.device_id, secret=secret)
    return key_view_of(record, api_key, secret)


@delete("/{tenant_id:str}/keys/{key_id:str}")
async def revoke_key(
    tenant_id: FromPath[str],
    key_id: FromPath[str],
    operator: NamedDependency[Operator],
    tenants: NamedDependency[Tenants],
) -> None:
    """Revoke a key; it ends at once."""
    await tenants.revoke_key(operator.key, tenants.get(tenant_id).id, key_id)


routes = (
    list_tenants,
    create_tenant,
    show_tenant,
    change_tenant,
    delete_tenant,
    list_keys,
    create_key,
    revoke_key,
)


def router() -> Router:
    return Router("/tenants", route_handlers=routes, tags=["Operators"])
