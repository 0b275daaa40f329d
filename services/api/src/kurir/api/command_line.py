"""What every command of the api's needs: the bus that the environment names, and errors as one sentence."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import click

from kurir.api.problems import Problem
from kurir.api.settings import ApiSettings
from kurir.runtime import logs
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKeyRefused
from kurir.runtime.settings import SettingsRefused, load

CONNECT_TIMEOUT_S = 10.0
ACTOR = "command-line"
"""Who did it, in the audit log."""

T = TypeVar("T")


def run(work: Callable[[Bus], Awaitable[T]]) -> T:
    """Do `work` over the bus that the environment names; what goes wrong becomes one sentence and exit code 1."""
    try:
        return asyncio.run(_connected(work))
    except (Problem, SettingsRefused, MasterKeyRefused) as refused:
        raise click.ClickException(str(refused)) from None
    except TimeoutError as error:
        raise click.ClickException(
            f"NATS did not answer, or `kurir topology apply` has not been run yet. {error}".strip()
        ) from None
    except PublishError as error:
        raise click.ClickException(f"NATS did not confirm: {error}") from None


async def _connected(work: Callable[[Bus], Awaitable[T]]) -> T:
    settings = load(ApiSettings)
    # Standard output is for what was asked for: scripts read the key from it.
    logs.configure("command-line", settings.node_name, level="WARNING", form="console", stream=sys.stderr)
    creds = str(settings.nats_creds) if settings.nats_creds else None
    bus = await asyncio.wait_for(
        Bus.connect(settings.nats_url, name="command line", creds=creds, on_closed=sys.exit), CONNECT_TIMEOUT_S
    )
    try:
        return await work(bus)
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
