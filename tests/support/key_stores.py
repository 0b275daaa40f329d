"""Stores with made-up keys in the library's own tables, and what is in them: for what needs no WhatsApp."""

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from kurir.session_node.engines.neonize.key_rows import Keys, read_sqlite
from kurir.session_node.engines.neonize.library_tables import file_database, make_tables

PREKEYS = 40


class KeyStores:
    """Files of a node's `folder` (KURIR_DEVICE_STORE_DIR), made from one empty store of the library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._empty = folder / "empty.db"

    def file(self, device: str, tenant: str = "t1") -> Path:
        return self.folder / "neonize" / tenant / f"{device}.db"

    def make(self, device: str, jid: str, *peers: tuple[str, str], tenant: str = "t1") -> Keys:
        """A store with keys of `jid`, which has sessions with `peers` (hidden id, number); and what is in it."""
        if not self._empty.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            make_tables(file_database(self._empty))
        file = self.file(device, tenant)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self._empty.read_bytes())
        with closing(sqlite3.connect(file)) as store:
            store.execute("PRAGMA journal_mode = WAL")
            self._fill(store, jid, peers)
            store.commit()
        return self.keys(device, jid, tenant)

    def keys(self, device: str, jid: str, tenant: str = "t1") -> Keys:
        return read_sqlite(self.file(device, tenant), jid)

    def use(self, device: str, jid: str) -> None:
        """What sending a message does to the keys."""
        with closing(sqlite3.connect(self.file(device))) as store:
            store.execute("UPDATE whatsmeow_sessions SET session = ? WHERE our_jid = ?", (os.urandom(80), jid))
            store.commit()

    def _fill(self, store: sqlite3.Connection, jid: str, peers: tuple[tuple[str, str], ...]) -> None:
        device: dict[str, Any] = {
            "jid": jid,
            "lid": "77001:1@lid",
            "registration_id": secrets.randbelow(1 << 31),
            "signed_pre_key_id": 1,
            "adv_key": os.urandom(32),
            "adv_details": os.urandom(40),
            "push_name": "Ayu",
            **{name: os.urandom(32) for name in ("noise_key", "identity_key", "signed_pre_key", "adv_account_sig_key")},
            **{name: os.urandom(64) for name in ("signed_pre_key_sig", "adv_account_sig", "adv_device_sig")},
        }
        _insert(store, "whatsmeow_device", device)
        for number in range(PREKEYS):
            row = {"jid": jid, "key_id": number, "key": os.urandom(32), "uploaded": number % 2 == 0}
            _insert(store, "whatsmeow_pre_keys", row)
        _insert(store, "whatsmeow_app_state_version", {"jid": jid, "name": "x", "version": 3, "hash": os.urandom(128)})
        mac = {"jid": jid, "name": "x", "version": 3, "index_mac": os.urandom(32), "value_mac": os.urandom(32)}
        _insert(store, "whatsmeow_app_state_mutation_macs", mac)
        for lid, phone in peers:
            row = {"our_jid": jid, "their_id": f"{lid}_1:0"}
            _insert(store, "whatsmeow_sessions", row | {"session": os.urandom(80)})
            _insert(store, "whatsmeow_identity_keys", row | {"identity": os.urandom(32)})
            _insert(store, "whatsmeow_lid_map", {"lid": lid, "pn": phone})
            settings = {"our_jid": jid, "chat_jid": f"{phone}@s.whatsapp.net", "pinned": True, "archived": False}
            _insert(store, "whatsmeow_chat_settings", settings)


def _insert(store: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    store.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
