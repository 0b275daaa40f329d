"""`kurir up`: the whole system in one terminal, until Ctrl-C; and the demonstration on top of it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from rich.markup import escape
from rich.panel import Panel

from kurir.cli.console import console, say_plain
from kurir.cli.demo import Finale, Play, sandbox
from kurir.cli.embedded import PortOccupied, ensure_ports_free, servers, service_environment, services
from kurir.cli.processes import ManagedProcess, StartFailed
from kurir.cli.receiver import Arrived, Receiver
from kurir.cli.settings import UpSettings
from kurir.cli.tenancy import DemonstrationFailed, Remembered, Tenancy
from kurir.runtime.settings import SettingsRefused, load


def run_up(*, play: Play | None, once: bool, **overrides: Any) -> int:
    """Run until Ctrl-C or SIGTERM; with `once` until the demonstration is over. Returns the exit code.

    `play` is what is shown when everything is up; `overrides` are settings by field name.
    """
    return _run(lambda settings: _up(settings, play=play, once=once), overrides)


def run_smoke() -> int:
    """Run the demonstration against a system that is up already. Returns the exit code."""
    return _run(_smoke, {})


def _run(work: Callable[[UpSettings], Awaitable[None]], overrides: dict[str, Any]) -> int:
    async def until_told() -> int:
        main = asyncio.ensure_future(work(load(UpSettings, **overrides)))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, main.cancel)
        try:
            await main
        except asyncio.CancelledError:
            console.print("[bold]Stopped.[/] The state is kept; [cyan]make wipe[/] forgets it.")
        return 0

    try:
        return asyncio.run(until_told())
    except (PortOccupied, StartFailed, DemonstrationFailed, SettingsRefused) as failure:
        console.print(f"[bold red]{escape(str(failure))}[/]")
    except TimeoutError:
        console.print("[bold red]A step took too long; the logs in the state folder say what hangs.[/]")
    return 1


async def _up(settings: UpSettings, *, play: Play | None, once: bool) -> None:
    ensure_ports_free(settings)
    settings.state.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        if play is None:
            await _start_all(settings, stack)
            _show_urls(settings, None, None)
        else:
            # Before the services and after them: what a former run left to deliver finds its receiver, where failures
            # would have the dispatcher leave it alone for half a minute.
            tenancy = await stack.enter_async_context(_tenancy(settings, settings.receiver_port))
            await _start_all(settings, stack)
            _show_urls(settings, *await _demonstrate(settings, tenancy, play))
            if once:
                return
        await asyncio.Event().wait()


async def _smoke(settings: UpSettings) -> None:
    # The receiver's own port belongs to a demonstration that may be running.
    async with _tenancy(settings, settings.receiver_port + 1) as tenancy:
        await _demonstrate(settings, tenancy, sandbox)


async def _start_all(settings: UpSettings, stack: contextlib.AsyncExitStack) -> None:
    began = asyncio.get_running_loop().time()
    keepers: list[asyncio.Task[None]] = []
    started: list[ManagedProcess] = []

    async def stop_all() -> None:
        for keeper in keepers:
            keeper.cancel()
        for process in reversed(started):
            await process.stop()

    stack.push_async_callback(stop_all)
    for process in servers(settings):
        started.append(process)
        await _start(process)
    await _apply_topology(settings)
    wanted = services(settings)
    started += wanted
    # Independent of each other: they meet on the bus.
    await asyncio.gather(*(_start(process) for process in wanted))
    keepers += [asyncio.create_task(process.keep(_died), name=f"keep {process.name}") for process in started]
    console.print(f"[green]✓[/] everything is up after {asyncio.get_running_loop().time() - began:.1f} s")


async def _start(process: ManagedProcess) -> None:
    console.print(f"[dim]…[/] {process.name} is starting")
    began = asyncio.get_running_loop().time()
    await process.start()
    took = asyncio.get_running_loop().time() - began
    console.print(f"[green]✓[/] {process.name} [dim]pid {process.pid}, ready in {took:.1f} s, log {process.log}[/]")


def _died(process: ManagedProcess, code: int) -> None:
    console.print(f"[yellow]![/] {process.name} ended with {code}; starting it again [dim]log {process.log}[/]")


async def _apply_topology(settings: UpSettings) -> None:
    output = await _kurir(settings, "topology", "apply")
    console.print(f"[green]✓[/] topology applied [dim]{len(output.splitlines())} lines[/]")


async def _demonstrate(settings: UpSettings, tenancy: Tenancy, play: Play) -> tuple[Remembered, Finale]:
    async def operator_key() -> str:
        output = await _kurir(settings, "key", "create", "--operator", "--name", "demo")
        return output.split()[-1]

    await tenancy.prepare(operator_key)
    return tenancy.made, await play(tenancy)


@contextlib.asynccontextmanager
async def _tenancy(settings: UpSettings, receiver_port: int) -> AsyncIterator[Tenancy]:
    """The demonstration's tenant, whose receiver listens."""
    receiver = Receiver(receiver_port, _print_arrived)
    tenancy = Tenancy(_base_url(settings), settings.state / "demo.json", receiver)
    await receiver.start()
    try:
        yield tenancy
    finally:
        await tenancy.close()
        await receiver.stop()


def _print_arrived(one: Arrived) -> None:
    data: dict[str, Any] = one.body.get("data", {})
    facts = " ".join(str(data[name]) for name in ("id", "status", "type", "reason") if data.get(name))
    signed = {True: "[green]signature ✓[/]", False: "[red]signature ✗[/]", None: "[dim]signature not checked[/]"}
    console.print(f"  [magenta]webhook[/] {one.at:%H:%M:%S.%f} {one.event} {escape(facts)} {signed[one.is_signed]}")


async def _kurir(settings: UpSettings, *arguments: str) -> str:
    """Run one kurir command in the services' environment and return what it printed. Raises StartFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kurir.cli",
        *arguments,
        env={**os.environ, **service_environment(settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    if process.returncode != 0:
        raise StartFailed(f"kurir {' '.join(arguments)} failed: {errors.decode().strip() or output.decode().strip()}")
    return output.decode()


def _base_url(settings: UpSettings) -> str:
    return f"http://127.0.0.1:{settings.api_port}"


def _show_urls(settings: UpSettings, made: Remembered | None, finale: Finale | None) -> None:
    base = _base_url(settings)
    lines = [
        f"API        {base}",
        f"Docs       {base}/api/docs  {base}/llms.txt",
        f"NATS       {os.environ.get('NATS_URL', f'nats://127.0.0.1:{settings.nats_port}')}",
        f"Health     http://127.0.0.1:{settings.health_ports}/health/ready (and the three ports after it)",
    ]
    if made is not None and finale is not None:
        lines += [f"Key        {made.api_key}", f"Device     {finale.device}"]
    console.print(Panel("\n".join(lines), title="Kurir is up", expand=False))
    if made is not None and finale is not None:
        for line in finale.lines:
            say_plain(line)
        body = f'{{"deviceId":"{finale.device}","to":"{finale.to}","text":"{finale.text}"}}'
        say_plain(
            f"curl -s {base}/messages/send-text -H 'X-API-Key: {made.api_key}' \\\n"
            f"  -H 'Content-Type: application/json' -d '{body}'"
        )
    console.print("[dim]Ctrl-C stops everything; kill -9 any process to see it come back.[/]")
