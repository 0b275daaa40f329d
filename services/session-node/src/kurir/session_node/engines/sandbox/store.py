"""What WhatsApp's server would keep for a device: receipts and replies that are still to come, and its groups.

Kept in one SQLite file per node, shared by its shards, so that a killed shard's devices still get their receipts from
the next owner. Writes are batched, one transaction per tick. A receipt may be repeated after a restart, never lost;
the power failing may lose the last moments (the files are not synced: nothing real depends on them).
"""

import random
import sqlite3
from pathlib import Path

import msgspec
from msgspec import Struct

from kurir.session_node.engines.engine import ReceiptSeen, Received
from kurir.session_node.engines.requests import Group, Label, Privacy

BUSY_TIMEOUT_S = 0.5  # other shards of the node hold the write lock for single milliseconds


EVERYBODY = Privacy(
    last_seen="all",
    online="all",
    profile_picture="all",
    about="all",
    read_receipts="all",
    groups="all",
    calls="all",
)


LABELS = (
    Label(id="1", name="New customer", color=0),
    Label(id="2", name="New order", color=1),
    Label(id="3", name="Pending payment", color=2),
    Label(id="4", name="Paid", color=3),
    Label(id="5", name="Order complete", color=4),
)
"""With which WhatsApp's business app begins."""


class Mail(Struct, kw_only=True, eq=False):
    """What one sent message leads to. `left` counts what was not reported yet; a reply with media is not kept."""

    tenant: str
    device: str
    receipts: tuple[ReceiptSeen, ...]
    reply: Received | None = None
    id: int = msgspec.field(default_factory=lambda: random.getrandbits(63))
    left: int = 0


class KeptGroup(Struct, frozen=True, kw_only=True):
    """A group as one device is in it; whoever has `invite_code` may join. `picture` is the id of one that was set."""

    group: Group
    invite_code: str
    picture: str | None = None

    def role_of(self, jid: str) -> str | None:
        return next((member.role for member in self.group.members if member.address.jid == jid), None)


class KeptAccount(Struct, frozen=True, kw_only=True):
    """What an account shows of itself and to whom, the JIDs that are blocked, and how its chats stand. `picture` is the
    id of one that was set, "" when it was taken away."""

    name: str | None = None
    about: str | None = None
    picture: str | None = None
    privacy: Privacy = EVERYBODY
    blocked: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    labels: tuple[Label, ...] = LABELS


class _Kept(Struct, frozen=True, array_like=True):
    receipts: tuple[ReceiptSeen, ...]
    reply: Received | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Kept)
_group_decoder = msgspec.msgpack.Decoder(KeptGroup)
_account_decoder = msgspec.msgpack.Decoder(KeptAccount)


class Store:
    """Three tables, clustered by device. `state_dir` None keeps it in memory."""

    def __init__(self, state_dir: Path | None) -> None:
        self._state_dir = state_dir
        self._db: sqlite3.Connection | None = None
        self._new: dict[int, Mail] = {}
        self._done: list[tuple[str, str, int]] = []

    def open(self) -> None:
        """Open or create the file. Raises sqlite3.Error when the folder cannot be written."""
        if self._state_dir is not None:
            self._state_dir.mkdir(parents=True, exist_ok=True)
        path = ":memory:" if self._state_dir is None else str(self._state_dir / "sandbox.db")
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS mail (tenant TEXT, device TEXT, id INTEGER, body BLOB,"
            " PRIMARY KEY (tenant, device, id)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS groups (tenant TEXT, device TEXT, jid TEXT, body BLOB,"
            " PRIMARY KEY (tenant, device, jid)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS accounts (tenant TEXT, device TEXT, body BLOB,"
            " PRIMARY KEY (tenant, device)) WITHOUT ROWID"
        )

    def keep(self, mail: Mail) -> None:
        """Remember until `done`; written with the next flush."""
        self._new[mail.id] = mail

    def done(self, mail: Mail) -> None:
        """Everything of it was reported."""
        if self._new.pop(mail.id, None) is None:
            self._done.append((mail.tenant, mail.device, mail.id))

    def flush(self) -> None:
        """Write what changed since the last flush. Raises sqlite3.Error; what was to be written is given up then."""
        if self._db is None or not (self._new or self._done):
            return
        rows = [(mail.tenant, mail.device, mail.id, _body(mail)) for mail in self._new.values()]
        done = self._done
        self._new, self._done = {}, []
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO mail VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM mail WHERE tenant = ? AND device = ? AND id = ?", done)

    def waiting(self, tenant: str, device: str) -> list[Mail]:
        """All mail of a device that is not done."""
        self.flush()
        if self._db is None:
            return []
        rows = self._db.execute("SELECT id, body FROM mail WHERE tenant = ? AND device = ?", (tenant, device))
        waiting = []
        for number, body in rows:
            kept = _decoder.decode(body)
            waiting.append(Mail(tenant=tenant, device=device, receipts=kept.receipts, reply=kept.reply, id=number))
        return waiting

    def groups(self, tenant: str, device: str) -> list[KeptGroup]:
        """The groups that a device is in."""
        if self._db is None:
            return []
        rows = self._db.execute("SELECT body FROM groups WHERE tenant = ? AND device = ?", (tenant, device))
        return [_group_decoder.decode(body) for (body,) in rows]

    def keep_group(self, tenant: str, device: str, kept: KeptGroup) -> None:
        """Write a new or changed group. Raises sqlite3.Error."""
        if self._db is not None:
            row = (tenant, device, kept.group.jid, _encoder.encode(kept))
            self._db.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?)", row)

    def drop_group(self, tenant: str, device: str, jid: str) -> None:
        if self._db is not None:
            self._db.execute("DELETE FROM groups WHERE tenant = ? AND device = ? AND jid = ?", (tenant, device, jid))

    def account(self, tenant: str, device: str) -> KeptAccount:
        """A device's account, as WhatsApp makes them where nothing was changed."""
        row = None
        if self._db is not None:
            query = "SELECT body FROM accounts WHERE tenant = ? AND device = ?"
            row = self._db.execute(query, (tenant, device)).fetchone()
        return KeptAccount() if row is None else _account_decoder.decode(row[0])

    def keep_account(self, tenant: str, device: str, kept: KeptAccount) -> None:
        """Write what was changed. Raises sqlite3.Error."""
        if self._db is not None:
            row = (tenant, device, _encoder.encode(kept))
            self._db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", row)

    def forget(self, tenant: str, device: str) -> None:
        """Drop all mail and groups of a device, and its account."""
        self.flush()
        if self._db is not None:
            for table in ("mail", "groups", "accounts"):
                self._db.execute(f"DELETE FROM {table} WHERE tenant = ? AND device = ?", (tenant, device))  # noqa: S608

    def close(self) -> None:
        if self._db is not None:
            self.flush()
            self._db.close()
            self._db = None


def _body(mail: Mail) -> bytes:
    reply = mail.reply if mail.reply is None or mail.reply.attachment is None else None
    return _encoder.encode(_Kept(mail.receipts, reply))
