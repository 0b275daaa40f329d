"""Moving devices' keys: out into an encrypted file, in from one, and from files into PostgreSQL.

Guarantees: the device is held still meanwhile; a file or a database that is said to have the keys was read back and
compared; what the keys were taken from stays until then. Each step may be killed and done again: done already, it says
so. Not guaranteed: that nobody uses an exported copy beside the device; such a copy is worthless from then on.
"""

import asyncio
import contextlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kurir.contracts import ids, subjects
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.contracts.records import Session
from kurir.runtime.broker import Bus
from kurir.runtime.command_line import ACTOR
from kurir.runtime.registry import Registry
from kurir.session_node.engines.neonize.device_store import StoreUnavailable
from kurir.session_node.engines.neonize.key_places import FileKeys, KeyPlace, PlaceTaken, PostgresKeys, Workbench
from kurir.session_node.engines.neonize.key_rows import Keys, KeysMissing, KeysUnreadable
from kurir.session_node.keys.archive import ArchiveRefused, DeviceKeys, Lock, close, open_archive
from kurir.session_node.keys.at_rest import DeviceBusy, Still, Stillness, unsigned

FILE_SUFFIX = ".keys"


class NotMoved(Exception):
    """Nothing was changed, or it can be done again; the text is a sentence for who asked."""


REFUSALS = (DeviceBusy, ArchiveRefused, PlaceTaken, KeysMissing, KeysUnreadable, StoreUnavailable, NotMoved)
"""What is said of one device, and does not stop the others."""


class Transfers:
    def __init__(self, bus: Bus, stillness: Stillness, sessions: Registry[Session], bench: Workbench) -> None:
        self._bus = bus
        self._stillness = stillness
        self._sessions = sessions
        self._bench = bench

    async def export(
        self, tenant: str, device: str, place: KeyPlace, folder: Path, lock: Lock, *, replace: bool, move: bool
    ) -> str:
        """Write the device's keys into a file of `folder`; what was done, in words. Raises one of REFUSALS.

        With `move` the device is no linked device here any more, and is still one at WhatsApp.
        """
        file = folder / f"{device}{FILE_SUFFIX}"
        async with self._stillness.hold(tenant, device) as still:
            session = _paired(still)
            if still.device.wanted != "disconnected":  # by nobody now, but by the next node that starts
                raise DeviceBusy("it is wanted connected, and then the file would be worthless: disconnect it first")
            keys = await place.read(tenant, device, session.jid)
            is_new = await asyncio.to_thread(self._write_archive, file, keys, session, lock, replace)
            await self._confirm_or_remove(still, file, is_new)
            if move:
                gone = unsigned(session, still.device, paired=False, jid=None, lid=None, phone=None, push_name=None)
                await self._stillness.write(still, gone)
                await place.forget(tenant, device)
        await self._tell("device.keys_moved_away" if move else "device.keys_exported", still)
        return f"{'exported to' if is_new else 'is already in'} {file}{', and no longer linked here' if move else ''}"

    async def import_(
        self, file: Path, place: KeyPlace, lock: Lock, *, tenant: str | None, device: str | None, replace: bool
    ) -> str:
        """Make the keys of `file` those of a device, by default of the one that they were exported from; what was done,
        in words. Raises one of REFUSALS.
        """
        opened = await asyncio.to_thread(_read_archive, file, lock)
        async with self._stillness.hold(tenant or opened.tenant, device or opened.device) as still:
            session = still.session
            _require_keys(still)
            if session is not None and session.paired and session.jid != opened.jid and not replace:
                raise PlaceTaken(
                    f"{still.key} is linked as {session.jid}: log it out first, or take --replace, which leaves that "
                    "link on the phone without anybody to use it"
                )
            self._require_nobody_else(still, opened.jid)
            keys = await asyncio.to_thread(self._unpacked, opened)
            is_new = await place.put(still.device.tenant, still.device.id, keys, replace=replace)
            linked = unsigned(
                session,
                still.device,
                paired=True,
                jid=opened.jid,
                lid=opened.lid,
                phone=opened.phone,
                push_name=opened.push_name,
            )
            is_known = session is not None and session.paired and session.jid == opened.jid
            if is_new or not is_known:
                await self._stillness.write(still, linked)
        await self._tell("device.keys_imported", still)
        return f"{'imported' if is_new else 'had these keys already'}: {still.key} is {opened.jid}"

    async def migrate(self, tenant: str, device: str, files: FileKeys, to: PostgresKeys, *, replace: bool) -> str:
        """Bring the device's keys from its file into PostgreSQL; what was done, in words. Raises one of REFUSALS."""
        async with self._stillness.hold(tenant, device) as still:
            session = _paired(still)
            try:
                keys = await files.read(tenant, device, session.jid)
            except KeysMissing as missing:
                await self._require_there(to, still, session, missing)
                return "was migrated before"
            await self._stillness.confirm(still)
            is_new = await to.put(tenant, device, keys, replace=replace)
            await self._stillness.confirm(still)
            await files.retire(tenant, device)
        await self._tell("device.keys_migrated", still)
        return "migrated" if is_new else "was there already; its file is put aside"

    async def _require_there(self, to: PostgresKeys, still: Still, session: "Paired", missing: KeysMissing) -> None:
        try:
            await to.read(still.device.tenant, still.device.id, session.jid)
        except KeysMissing as neither:
            raise NotMoved(f"{missing}, and {neither}: run this where the device's file is") from None

    def _require_nobody_else(self, still: Still, jid: str) -> None:
        others = [key for key, session in self._sessions.items() if session.jid == jid and session.paired]
        if others := [key for key in others if key != still.key]:
            raise PlaceTaken(f"{jid} is {others[0]} here already, and keys are used by one device at a time")

    def _write_archive(self, file: Path, keys: Keys, session: "Paired", lock: Lock, replace: bool) -> bool:
        """Write the file whole or not at all, and read it back; False when it was there with the same keys."""
        if file.exists() and not replace:
            there = _read_archive(file, lock)
            if there.jid == session.jid and self._unpacked(there) == keys:
                return False
            raise PlaceTaken(f"{file} is there with other keys: take --replace, or another folder")
        made = self._bench.write(keys)
        packed = DeviceKeys(
            tenant=session.tenant,
            device=session.device,
            jid=session.jid,
            lid=session.lid,
            phone=session.phone,
            push_name=session.push_name,
            exported_at=datetime.now(UTC),
            store=made.read_bytes(),
        )
        made.unlink()
        arriving = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(arriving, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                out.write(close(packed, lock))
                out.flush()
                os.fsync(out.fileno())
            if self._unpacked(_read_archive(arriving, lock)) != keys:
                raise NotMoved(f"{file} could not be read back as it was written")
            arriving.replace(file)
        except OSError as error:
            raise NotMoved(f"cannot write {file}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                arriving.unlink(missing_ok=True)
        return True

    def _unpacked(self, opened: DeviceKeys) -> Keys:
        file = self._bench.file()
        file.write_bytes(opened.store)
        return self._bench.read(file, opened.jid)

    async def _confirm_or_remove(self, still: Still, file: Path, is_new: bool) -> None:
        """A copy of keys that were used meanwhile is worth nothing."""
        try:
            await self._stillness.confirm(still)
        except DeviceBusy:
            if is_new:
                await asyncio.to_thread(file.unlink, missing_ok=True)
            raise

    async def _tell(self, what: str, still: Still) -> None:
        """Tell the audit log. Raises PublishError."""
        device = still.device
        change = ConfigurationChanged(
            id=ids.uuid7(),
            tenant=device.tenant,
            what=what,
            at=datetime.now(UTC),
            actor=ACTOR,
            target=device.id,
            device=device.id,
        )
        subject = subjects.audit(device.tenant, "configuration.changed")
        await self._bus.publish(subject, msgspec.json.encode(change), msg_id=change.id)


class Paired(Session, frozen=True, kw_only=True):
    """A session whose JID is known."""

    jid: str


def _require_keys(still: Still) -> None:
    if still.device.engine != "neonize":
        raise NotMoved(f"it is a device of the engine {still.device.engine}, which has no keys")


def _paired(still: Still) -> Paired:
    """The session of a device that has keys. Raises NotMoved for another."""
    _require_keys(still)
    session = still.session
    if session is None or not session.paired or session.jid is None:
        raise NotMoved("it is not linked, so it has no keys")
    return Paired(**msgspec.structs.asdict(session))


def _read_archive(file: Path, lock: Lock) -> DeviceKeys:
    try:
        return open_archive(file.read_bytes(), lock)
    except OSError as error:
        raise NotMoved(f"cannot read {file}: {error.strerror or error}") from None
    except ArchiveRefused as refused:
        raise ArchiveRefused(f"{file}: {refused}") from None
