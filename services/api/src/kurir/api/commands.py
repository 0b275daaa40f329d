"""`kurir tenant` and `kurir key`: customers and keys from the command line, written where the api reads them."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, get_args

import click
import msgspec

from kurir.api.changes import Changes
from kurir.api.command_line import ACTOR, run, started
from kurir.api.settings import ApiSettings
from kurir.api.tenants.schemas import NewTenant
from kurir.api.tenants.service import Tenants
from kurir.contracts.records import ApiKey, Device, Dialect, DialectOptions, Endpoint, Tenant
from kurir.runtime.broker import Bus
from kurir.runtime.clock import SystemClock
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey, new_api_key
from kurir.runtime.settings import load

T = TypeVar("T")


@click.group()
def tenant() -> None:
    """Customers of this gateway."""


@tenant.command("create")
@click.argument("name")
@click.option("--id", "tenant_id", help="An id of your own; absent makes one.")
@click.option("--email")
@click.option("--country", default="ID", show_default=True, help="Where numbers without country code are read.")
@click.option("--time-zone", default="Asia/Jakarta", show_default=True, help="Of times that are told without one.")
@click.option("--rate-per-minute", default=30, show_default=True, help="Messages a minute for each device.")
@click.option(
    "--messages-per-month",
    type=click.IntRange(min=0),
    help="The most that all devices send together; absent is no limit.",
)
def create_tenant(
    name: str,
    tenant_id: str | None,
    email: str | None,
    country: str,
    time_zone: str,
    rate_per_minute: int,
    messages_per_month: int | None,
) -> None:
    """Create a tenant and print its id."""
    new = NewTenant(
        name=name,
        email=email,
        country=country.upper(),
        time_zone=time_zone,
        rate_per_minute=rate_per_minute,
        messages_per_month=messages_per_month,
    )
    made = _run(lambda tenants: tenants.create(ACTOR, new, tenant_id=tenant_id))
    click.echo(made.id)


@tenant.command("list")
def list_tenants() -> None:
    """List tenants: id, name, whether active."""

    async def all_of(tenants: Tenants) -> list[Tenant]:
        return tenants.all()

    for one in _run(all_of):
        click.echo(f"{one.id}\t{one.name}\t{'active' if one.active else 'inactive'}")


@click.group()
def key() -> None:
    """API keys. A key is shown once, when it is made."""


def _owner(tenant_id: str | None, operator: bool) -> str | None:
    if operator == (tenant_id is not None):
        raise click.UsageError("Give either --tenant ID or --operator.")
    return tenant_id


@key.command("create")
@click.option("--tenant", "tenant_id", help="The tenant that the key acts for.")
@click.option("--operator", is_flag=True, help="A key that manages tenants, and acts for none.")
@click.option("--name", default="default", show_default=True)
@click.option("--device", help="Bind the key to one device of the tenant, by its id or code.")
@click.option("--signed", is_flag=True, help="A key whose requests are signed, for RK Connect's API alone.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="How another API behaves for the key.")
def create_key(
    tenant_id: str | None, operator: bool, name: str, device: str | None, signed: bool, options: tuple[str, ...]
) -> None:
    """Create a key and print it, once; of a signed one the key, a space and its secret, as `kurir key import` reads."""
    owner = _owner(tenant_id, operator)
    if operator and signed:
        raise click.UsageError("An operator's key is not signed.")
    chosen, secret = _options(options), new_api_key() if signed else None
    record, api_key = _run(
        lambda tenants: tenants.create_key(ACTOR, owner, name, device=device, options=chosen, secret=secret)
    )
    click.echo(f"Key {record.id}; it is not shown again:", err=True)
    click.echo(f"{api_key} {secret}" if secret is not None else api_key)


@key.command("import")
@click.option("--tenant", "tenant_id", required=True, help="The tenant that the keys act for.")
@click.option("--name", default="imported", show_default=True)
@click.option("--device", help="Bind the keys to one device of the tenant, by its id or code.")
@click.option("--dialect", type=click.Choice(get_args(Dialect)), help="Whose API answers where several have a path.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="How that API behaves for the keys.")
def import_keys(
    tenant_id: str, name: str, device: str | None, dialect: Dialect | None, options: tuple[str, ...]
) -> None:
    """Take over keys of another gateway, so that its clients keep them: read from standard input, one on a line.

    A line is a key, or a key and the secret that its requests are signed with, with a space between.
    """
    chosen = _options(options)
    lines = [line.split() for line in sys.stdin if line.strip()]
    if not lines or any(len(line) > 2 for line in lines):
        raise click.UsageError("Give one key on each line of standard input, or a key and its secret.")

    async def take(tenants: Tenants) -> list[ApiKey]:
        taken = []
        for line in lines:
            record, _ = await tenants.create_key(
                ACTOR,
                tenant_id,
                name,
                device=device,
                dialect=dialect,
                options=chosen,
                api_key=line[0],
                secret=line[1] if len(line) == 2 else None,
            )
            taken.append(record)
        return taken

    for record in _run(take):
        click.echo(f"{record.id}\t{record.name}\t…{record.hint}")


def _options(given: tuple[str, ...]) -> DialectOptions:
    fields: dict[str, object] = {}
    for one in given:
        name, _, value = one.partition("=")
        fields[name] = tuple(value.split(",")) if name == "networks" else value
    known = DialectOptions.__struct_fields__
    if unknown := fields.keys() - set(known):
        raise click.UsageError(f"There is no option {', '.join(sorted(unknown))}, but {', '.join(known)}.")
    try:
        return msgspec.convert(fields, DialectOptions, strict=False)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None


@key.command("list")
@click.option("--tenant", "tenant_id")
@click.option("--operator", is_flag=True)
def list_keys(tenant_id: str | None, operator: bool) -> None:
    """List keys: id, name, end of the key."""
    owner = _owner(tenant_id, operator)

    async def all_of(tenants: Tenants) -> list[ApiKey]:
        return tenants.keys(owner)

    for one in _run(all_of):
        click.echo(f"{one.id}\t{one.name}\t…{one.hint}")


@key.command("revoke")
@click.argument("key_id")
@click.option("--tenant", "tenant_id")
@click.option("--operator", is_flag=True)
def revoke_key(key_id: str, tenant_id: str | None, operator: bool) -> None:
    """Revoke a key; it ends at once."""
    owner = _owner(tenant_id, operator)
    _run(lambda tenants: tenants.revoke_key(ACTOR, owner, key_id))
    click.echo(f"{key_id} revoked", err=True)


def _master_key() -> MasterKey | None:
    """The master key, where there is one: only keys with a secret need it."""
    settings = load(ApiSettings)
    if settings.master_key is None and settings.master_key_file is None:
        return None
    return MasterKey.load(settings)


def _run(work: Callable[[Tenants], Awaitable[T]]) -> T:
    async def over(bus: Bus) -> T:
        clock = SystemClock()
        registries = (
            Registry(bus, "tenants", Tenant),
            Registry(bus, "keys", ApiKey),
            Registry(bus, "devices", Device),
            Registry(bus, "endpoints", Endpoint),
        )
        async with started(*registries):
            return await work(Tenants(clock, Changes(bus, clock), *registries, master_key=_master_key()))

    return run(over)
