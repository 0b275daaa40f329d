"""The record of one device's session in the `sessions` bucket, as its owner writes it.

Guarantees: the last state that was to be saved is written, however long the bus is away, unless the lease is lost or a
later owner has written. Not guaranteed: each state between; who wants all reads the events.
"""

import asyncio
from datetime import UTC, datetime

import msgspec
import structlog

from kurir.contracts.events import ConnectionUpdate
from kurir.contracts.records import Session
from kurir.runtime.broker import PublishError
from kurir.runtime.lease import Lease
from kurir.runtime.registry import KeyExists, RevisionConflict, key_of
from kurir.session_node.shared import Shared
from kurir.session_node.tasks import ended

log = structlog.get_logger(__name__)

SAVE_PAUSE_S = 0.5
NEVER = datetime.fromtimestamp(0, UTC)


class SessionRecord:
    """`now` is the session as we know it; it is in the bucket when it was saved."""

    def __init__(self, tenant: str, device: str, shared: Shared, lease: Lease) -> None:
        self._sessions = shared.sessions
        self._key = key_of(tenant, device)
        self._lease = lease
        self._node = shared.node
        self._shard = shared.shard
        known = shared.sessions.entry(self._key)
        self.now: Session = (
            known.value if known is not None else Session(device=device, tenant=tenant, state="disconnected", at=NEVER)
        )
        self._unsaved: Session | None = None
        self._saving: asyncio.Task[None] | None = None

    async def catch_up(self) -> bool:
        """Take what the server holds, if memory was a moment behind a former owner's last word; whether it was.

        Raises PublishError, or msgspec.DecodeError for a record that is none.
        """
        known = self._sessions.entry(self._key)
        entry = await self._sessions.fetch(self._key)
        if (
            entry is None
            or (known is not None and entry.revision <= known.revision)
            or entry.value.epoch >= self._lease.token
        ):
            return False
        self.now = msgspec.structs.replace(entry.value, is_backlog_full=self.now.is_backlog_full)
        return True

    def take(self, said: ConnectionUpdate) -> bool:
        """Take from the device's last event what its writer did not come to save before it died; whether it had not."""
        # A former owner's late word may be the younger one.
        if said.epoch < self.now.epoch or said.at <= self.now.at:
            return False
        self.now = msgspec.structs.replace(
            self.now,
            state=said.state,
            reason=said.reason,
            paired=said.jid is not None,
            jid=said.jid,
            lid=said.lid,
            phone=said.phone,
            push_name=said.push_name,
            banned_until=said.banned_until,
        )
        return True

    def adopt(self, record: Session) -> None:
        """Take over a record that no shard has signed: an operator gave the device other keys, or took them away."""
        self.now = msgspec.structs.replace(record, is_backlog_full=self.now.is_backlog_full)
        self._unsaved = None

    def sign(self, record: Session, generation: int) -> None:
        """Make `record` the session's, in the owner's name. `generation` is the connect_generation it answers."""
        self.now = msgspec.structs.replace(
            record, node=self._node, shard=self._shard, epoch=self._lease.token, generation=generation
        )

    def save(self) -> None:
        """Have what we know now written."""
        self._unsaved = self.now
        if self._saving is None:
            self._saving = asyncio.create_task(self._write_all())

    async def saved(self) -> None:
        """Wait until nothing is left to write, or the lease is lost."""
        await ended(self._saving)

    async def delete(self) -> None:
        """Take the record out of the bucket. Raises PublishError."""
        self._unsaved = None
        await self.saved()
        await self._sessions.delete(self._key)

    async def _write_all(self) -> None:
        try:
            while self._unsaved is not None and self._lease.valid():
                record, self._unsaved = self._unsaved, None
                try:
                    await self._write(record)
                except (PublishError, RevisionConflict, KeyExists) as error:
                    log.warning("session.record_not_written", device=record.device, error=repr(error))
                    self._unsaved = self._unsaved or record
                    await asyncio.sleep(SAVE_PAUSE_S)
        finally:
            self._saving = None

    async def _write(self, record: Session) -> None:
        """Write unless a later owner has. Raises PublishError, or a conflict that came between."""
        entry = self._sessions.entry(self._key) or await self._sessions.fetch(self._key)
        try:
            if entry is None:
                await self._sessions.create(self._key, record)
            elif entry.value.epoch <= record.epoch:
                await self._sessions.update(self._key, record, entry.revision)
        except (RevisionConflict, KeyExists):
            entry = await self._sessions.fetch(self._key)
            if entry is not None and entry.value.shard and entry.value.epoch <= record.epoch:
                await self._sessions.update(self._key, record, entry.revision)
