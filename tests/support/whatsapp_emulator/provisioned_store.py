"""The stores of devices that were never paired, as whatsmeow would have left them: SQLite files with keys of their own.

The tables come from a store that the library made itself when it paired one device; its rows are replaced by those of
another device. A few prekeys instead of 812, whose making is what pairing costs. Test-only.
"""

import secrets
import shutil
import sqlite3
from pathlib import Path

from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.keys import KeyPair
from tests.support.whatsapp_emulator.protobufs import adv
from tests.support.whatsapp_emulator.provision import DeviceKeys, Provided

PREKEYS = 30  # the library makes new ones when fewer than 5 are left
KEY_TYPE = b"\x05"
DEVICE_SIGNATURE = b"\x06\x01"
SIGNED_PREKEY_ID = 1


class StoreTemplate:
    """The tables of `paired`, a store of any device, kept in `folder` without what is in them."""

    def __init__(self, paired: Path, folder: Path) -> None:
        self._file = folder / "template.db"
        original, store = sqlite3.connect(paired), sqlite3.connect(self._file)
        original.backup(store)  # also of one that is in use
        original.close()
        store.execute("PRAGMA foreign_keys = ON")
        store.execute("DELETE FROM whatsmeow_device")
        for table in ("whatsmeow_lid_map", "whatsmeow_privacy_tokens"):  # they hang on no device
            store.execute(f"DELETE FROM {table}")
        store.commit()
        store.execute("PRAGMA journal_mode = DELETE")  # one file, which can be copied
        store.execute("VACUUM")
        store.close()

    async def write(self, file: Path, whatsapp: EmulatorClient, phone: str, *, name: str) -> Provided:
        """Make a device of this number, known to the emulator, and its store at `file`. It can log in at once."""
        noise, identity, signed = KeyPair(), KeyPair(), KeyPair()
        signature = identity.sign(KEY_TYPE + signed.public)
        registration_id = secrets.randbelow(1 << 31) + 1
        prekeys = {SIGNED_PREKEY_ID + 1 + n: KeyPair() for n in range(PREKEYS)}
        provided = await whatsapp.provide(
            phone,
            DeviceKeys(
                noise_key=noise.public,
                identity=identity.public,
                registration_id=registration_id,
                signed_prekey_id=SIGNED_PREKEY_ID,
                signed_prekey=signed.public,
                signed_prekey_signature=signature,
                prekeys={number: key.public for number, key in prekeys.items()},
            ),
        )
        account = adv.ADVSignedDeviceIdentity.FromString(provided.signed_identity)
        device = {
            "jid": provided.jid,
            "lid": provided.lid,
            "registration_id": registration_id,
            "noise_key": noise.private,
            "identity_key": identity.private,
            "signed_pre_key": signed.private,
            "signed_pre_key_id": SIGNED_PREKEY_ID,
            "signed_pre_key_sig": signature,
            "adv_key": secrets.token_bytes(32),
            "adv_details": account.details,
            "adv_account_sig": account.accountSignature,
            "adv_account_sig_key": account.accountSignatureKey,
            "adv_device_sig": identity.sign(
                DEVICE_SIGNATURE + account.details + identity.public + account.accountSignatureKey
            ),
            "platform": "android",
            "push_name": name,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._file, file)
        store = sqlite3.connect(file)
        columns, marks = ", ".join(device), ", ".join("?" * len(device))
        store.execute(f"INSERT INTO whatsmeow_device ({columns}) VALUES ({marks})", tuple(device.values()))
        store.executemany(
            "INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) VALUES (?, ?, ?, 1)",
            [(provided.jid, number, key.private) for number, key in prekeys.items()],
        )
        # So that it knows its own phone, whose identity it was told when it was linked.
        lid = provided.lid.partition("@")[0].partition(":")[0]
        store.execute(
            "INSERT INTO whatsmeow_identity_keys (our_jid, their_id, identity) VALUES (?, ?, ?)",
            (provided.jid, f"{lid}_1:0", account.accountSignatureKey),
        )
        store.execute("INSERT INTO whatsmeow_lid_map (lid, pn) VALUES (?, ?)", (lid, phone))
        store.commit()
        store.close()
        return provided
