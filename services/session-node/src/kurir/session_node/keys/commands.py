"""`kurir devices`: the keys of linked devices as files, for a backup or a move, and from files into PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from kurir.contracts.records import Device, Holder, Session
from kurir.runtime.broker import Bus
from kurir.runtime.command_line import run, started
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey, MasterKeyRefused
from kurir.session_node.engines.neonize.device_store import StoreUnavailable
from kurir.session_node.engines.neonize.key_places import FileKeys, KeyPlace, PostgresKeys, Workbench
from kurir.session_node.keys.archive import ArchiveRefused, Lock, MasterKeyLock, PassphraseLock, is_by_master_key
from kurir.session_node.keys.at_rest import Stillness
from kurir.session_node.keys.transfers import REFUSALS, Transfers
from kurir.session_node.settings import SessionNodeSettings, postgres_url

Named = tuple[str, str]
"""Tenant and device."""
_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Whose first line is the passphrase; without it and --master-key it is asked for.",
)
_tenant = click.option("--tenant", help="The tenant whose devices they are.")


@click.group()
def devices() -> None:
    """Keys of linked devices: take them along to another system, or into PostgreSQL.

    Keys are used in one place at a time: a copy is worth nothing, and does harm, once the device was connected again.
    """


@devices.command("export")
@click.argument("device", nargs=-1)
@_tenant
@click.option("--all", "is_all", is_flag=True, help="Every linked WhatsApp device of the tenant.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder.")
@_passphrase
@click.option("--master-key", "by_master_key", is_flag=True, help="Encrypt under KURIR_MASTER_KEY.")
@click.option("--replace", is_flag=True, help="Write over files that are there.")
@click.option("--move", is_flag=True, help="Then remove the keys here, and leave the device linked at WhatsApp.")
def export_command(
    device: tuple[str, ...],
    tenant: str | None,
    is_all: bool,
    folder: Path,
    passphrase_file: Path | None,
    by_master_key: bool,
    replace: bool,
    move: bool,
) -> None:
    """Write the keys of disconnected devices into encrypted files, one for each: FOLDER/<device>.keys."""
    _require_choice(device, tenant, is_all)
    by_passphrase = None if by_master_key else _passphrase_lock(passphrase_file, confirm=True)

    async def work(bus: Bus, settings: SessionNodeSettings) -> int:
        lock = by_passphrase or MasterKeyLock(MasterKey.load(settings))
        async with _moving(bus, settings) as moving:
            names = moving.named(tenant, device)
            place = await moving.store(settings)

            async def one(name: Named) -> str:
                return await moving.transfers.export(*name, place, folder, lock, replace=replace, move=move)

            return await _each(names, one)

    _end(run(SessionNodeSettings, work, *REFUSALS, MasterKeyRefused))


@devices.command("import")
@click.argument("file", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_tenant
@click.option("--device", help="The device that gets the keys; by default the one that they were exported from.")
@_passphrase
@click.option("--replace", is_flag=True, help="Also where the device has other keys, which are lost.")
def import_command(
    file: tuple[Path, ...], tenant: str | None, device: str | None, passphrase_file: Path | None, replace: bool
) -> None:
    """Make the keys of files those of devices, which then connect without a QR code."""
    if device is not None and len(file) != 1:
        raise click.UsageError("--device is for one file.")
    with_key = {each: _needs_master_key(each) for each in file}
    by_passphrase = None if all(with_key.values()) else _passphrase_lock(passphrase_file, confirm=False)

    async def work(bus: Bus, settings: SessionNodeSettings) -> int:
        by_key = MasterKeyLock(MasterKey.load(settings)) if any(with_key.values()) else None
        async with _moving(bus, settings) as moving:
            place = await moving.store(settings)

            async def one(name: Path) -> str:
                lock: Lock | None = by_key if with_key[name] else by_passphrase
                assert lock is not None
                return await moving.transfers.import_(name, place, lock, tenant=tenant, device=device, replace=replace)

            return await _each(file, one)

    _end(run(SessionNodeSettings, work, *REFUSALS, MasterKeyRefused))


@devices.command("migrate")
@click.argument("device", nargs=-1)
@_tenant
@click.option("--all", "is_all", is_flag=True, help="Every linked WhatsApp device, of the tenant or of all tenants.")
@click.option("--to", "url", metavar="URL", help="postgres://user:password@host/database; absent: DEVICE_STORE_URL.")
@click.option("--replace", is_flag=True, help="The file's keys count where the database has other ones of the device.")
def migrate_command(device: tuple[str, ...], tenant: str | None, is_all: bool, url: str | None, replace: bool) -> None:
    """Bring keys from the files of KURIR_DEVICE_STORE_DIR into PostgreSQL, best while no session node runs.

    A file whose keys were found in the database is renamed to <device>.db.migrated. May be stopped and run again.
    """
    if not is_all or device:
        _require_choice(device, tenant, is_all)

    async def work(bus: Bus, settings: SessionNodeSettings) -> int:
        target = _target(url, settings)
        async with _moving(bus, settings) as moving:
            names = moving.named(tenant, device)
            place = await moving.postgres(target)

            async def one(name: Named) -> str:
                return await moving.transfers.migrate(*name, moving.files(settings), place, replace=replace)

            return await _each(names, one)

    _end(run(SessionNodeSettings, work, *REFUSALS))


class _Moving:
    """What a command moves keys with."""

    def __init__(
        self, transfers: Transfers, known: Registry[Device], sessions: Registry[Session], bench: Workbench
    ) -> None:
        self.transfers = transfers
        self._known = known
        self._sessions = sessions
        self._bench = bench
        self.stack = AsyncExitStack()

    def named(self, tenant: str | None, devices: Sequence[str]) -> list[Named]:
        """The devices that were named, or else all linked ones."""
        if tenant is not None and devices:
            return [(tenant, device) for device in devices]
        return sorted(
            (device.tenant, device.id)
            for key, device in self._known.items(tenant)
            if device.engine == "neonize" and (session := self._sessions.get(key)) is not None and session.paired
        )

    async def store(self, settings: SessionNodeSettings) -> KeyPlace:
        """Where the session nodes of these settings keep keys."""
        if settings.device_store_url is not None:
            return await self.postgres(settings.device_store_url.get_secret_value())
        return self.files(settings)

    def files(self, settings: SessionNodeSettings) -> FileKeys:
        return FileKeys(settings.device_store_dir / "neonize", self._bench)

    async def postgres(self, url: str) -> PostgresKeys:
        return await self.stack.enter_async_context(PostgresKeys.open(url, self._bench))


@asynccontextmanager
async def _moving(bus: Bus, settings: SessionNodeSettings) -> AsyncIterator[_Moving]:
    known, sessions = Registry(bus, "devices", Device), Registry(bus, "sessions", Session)
    leases = Registry(bus, "leases", Holder)
    bench = Workbench()
    try:
        async with started(known, sessions, leases):
            stillness = Stillness(bus, known, sessions, leases, node=settings.node_name)
            await stillness.start()
            try:
                moving = _Moving(Transfers(bus, stillness, sessions, bench), known, sessions, bench)
                async with moving.stack:
                    yield moving
            finally:
                await stillness.stop()
    finally:
        await asyncio.to_thread(bench.close)


async def _each(names: Sequence[Named] | Sequence[Path], one: Callable[..., Awaitable[str]]) -> int:
    """Do it for each, and say what came of it; how many failed."""
    failed = 0
    for name in names:
        shown = name.name if isinstance(name, Path) else ".".join(name)
        try:
            click.echo(f"{shown}: {await one(name)}")
        except REFUSALS as refused:
            failed += 1
            click.echo(f"{shown}: {refused}", err=True)
    if not names:
        click.echo("There is no linked WhatsApp device.", err=True)
    return failed


def _end(failed: int) -> None:
    if failed:
        raise click.ClickException(f"{failed} not done; what was done stays done, and may be asked for again.")


def _require_choice(device: Sequence[str], tenant: str | None, is_all: bool) -> None:
    if tenant is None or bool(device) == is_all:
        raise click.UsageError("Give --tenant, and either devices or --all.")


def _passphrase_lock(file: Path | None, *, confirm: bool) -> PassphraseLock:
    if file is None:
        text: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        text = (file.read_text().splitlines() or [""])[0]
    try:
        return PassphraseLock(text)
    except ArchiveRefused as refused:
        raise click.ClickException(str(refused)) from None


def _needs_master_key(file: Path) -> bool:
    """A file that is none is told of in its turn."""
    try:
        return is_by_master_key(file.read_bytes())
    except ArchiveRefused:
        return False


def _target(url: str | None, settings: SessionNodeSettings) -> str:
    """Raises StoreUnavailable."""
    if url is None:
        if settings.device_store_url is None:
            raise StoreUnavailable("Give --to postgres://…, or set DEVICE_STORE_URL.")
        return settings.device_store_url.get_secret_value()
    try:
        return postgres_url(url)
    except ValueError as error:
        raise StoreUnavailable(f"--to is {error}") from None
