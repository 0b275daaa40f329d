"""The kurir command. Services bring their own subcommands by entry point, so an image with one service has one.

The entry points' group is `kurir.commands`; each names a click command. This module imports no service.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar, get_args

import click

from kurir.cli.doctor.command import doctor_command
from kurir.contracts.records import Engine
from kurir.runtime.broker import Bus
from kurir.runtime.settings import RuntimeSettings, SettingsRefused, load, mask_url_password
from kurir.runtime.topology import apply, show

CONNECT_WITHIN_S: Final = 10.0

T = TypeVar("T")


class InstalledCommands(click.Group):
    """A group whose subcommands are its own and those of every installed service, loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_installed()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _installed():
            return own
        command: click.Command = _installed()[cmd_name].load()
        return command


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="kurir.commands")}


@click.group(cls=InstalledCommands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kurir: a WhatsApp gateway on a message bus."""


@main.command("up")
@click.option("--demo", is_flag=True, help="Pair a device and show what it does.")
@click.option(
    "--engine",
    type=click.Choice(get_args(Engine)),
    default="sandbox",
    show_default=True,
    help="Of the demonstration's device: sandbox needs no phone, neonize shows a QR code for yours.",
)
@click.option("--once", is_flag=True, help="Stop after the demonstration; the exit code says how it went.")
def up_command(demo: bool, engine: str, once: bool) -> None:
    """Start the whole system on this machine and stay up.

    Ports and folders are settings: see `kurir ports`. With NATS_URL or MONGODB_URL set those servers are used
    instead of the embedded ones.
    """
    with _embedded():
        from kurir.cli.demo import PLAYS
        from kurir.cli.up import run_up
    sys.exit(run_up(play=PLAYS[engine] if demo or once else None, once=once))


@main.command("smoke")
def smoke_command() -> None:
    """Against the system that is up: pair a sandbox device, send, see the webhook arrive."""
    with _embedded():
        from kurir.cli.up import run_smoke
    sys.exit(run_smoke())


@contextlib.contextmanager
def _embedded() -> Iterator[None]:
    """Around imports of what a container has no use for. Raises ClickException when it is not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing.name} is not installed: this command needs kurir[embedded].") from None


main.add_command(doctor_command)


@main.group("topology")
def topology_group() -> None:
    """The NATS server's streams, consumers and buckets."""


@topology_group.command("apply")
def topology_apply() -> None:
    """Make the server agree with the code; says what changed, and fails when something could not be changed."""
    changes = asyncio.run(_with_bus(apply))
    for change in changes:
        click.echo(change)
    if not changes:
        click.echo("Nothing to change.")
    if any(change.is_conflict for change in changes):
        raise click.ClickException("What is marked CONFLICT cannot be changed in place: it needs a decision of yours.")


@topology_group.command("show")
def topology_show() -> None:
    """Show what the server has."""
    for line in asyncio.run(_with_bus(show)):
        click.echo(line)


async def _with_bus(work: Callable[[Bus], Awaitable[T]]) -> T:
    try:
        settings = load(RuntimeSettings)
    except SettingsRefused as refused:
        raise click.ClickException(str(refused)) from None
    creds = str(settings.nats_creds) if settings.nats_creds else None
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            bus = await Bus.connect(settings.nats_url, name="kurir-cli", creds=creds)
    except TimeoutError:
        where = mask_url_password(settings.nats_url)
        raise click.ClickException(f"NATS does not answer at {where}; is it running, and is NATS_URL right?") from None
    try:
        return await work(bus)
    finally:
        await bus.close()
