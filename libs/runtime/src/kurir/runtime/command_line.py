"""What commands of services need: the bus that the environment names, and errors as one sentence with exit code 1."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import click

from kurir.runtime import logs
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.registry import Registry
from kurir.runtime.settings import RuntimeSettings, SettingsRefused, load

CONNECT_TIMEOUT_S = 10.0
ACTOR = "command-line"
"""Who did it, in the audit log."""

S = TypeVar("S", bound=RuntimeSettings)
T = TypeVar("T")


def run(settings: type[S], work: Callable[[Bus, S], Awaitable[T]], *refusals: type[Exception]) -> T:
    """Do `work` over the bus that the environment names. `refusals` are exceptions whose text is for the caller."""
    refused_by: tuple[type[Exception], ...] = (SettingsRefused, *refusals)
    try:
        return asyncio.run(_connected(settings, work))
    except refused_by as refused:
        raise click.ClickException(str(refused)) from None
    except TimeoutError as error:
        raise click.ClickException(
            f"NATS did not answer, or `kurir topology apply` has not been run yet. {error}".strip()
        ) from None
    except PublishError as error:
        raise click.ClickException(f"NATS did not confirm: {error}") from None


async def _connected(settings: type[S], work: Callable[[Bus, S], Awaitable[T]]) -> T:
    known = load(settings)
    # Standard output is for what was asked for: scripts read it.
    logs.configure("command-line", known.node_name, level="WARNING", form="console", stream=sys.stderr)
    creds = str(known.nats_creds) if known.nats_creds else None
    bus = await asyncio.wait_for(
        Bus.connect(known.nats_url, name="command line", creds=creds, on_closed=sys.exit), CONNECT_TIMEOUT_S
    )
    try:
        return await work(bus, known)
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def started(*registries: Registry[Any]) -> AsyncIterator[None]:
    """Registries that are read, until the end of the block. Raises TimeoutError."""
    async with contextlib.AsyncExitStack() as stack:
        for registry in registries:
            await registry.start(CONNECT_TIMEOUT_S)
            stack.push_async_callback(registry.stop)
        yield
