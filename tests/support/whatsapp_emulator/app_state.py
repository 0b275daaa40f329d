"""What a phone shares with its linked devices: the app-state key, and a first state that holds the account's name
and its contacts.

Without a name the client cannot say that it is available. Format: whatsmeow's appstate package.
"""

import hashlib
import hmac
import json
import secrets
import struct
import time
from typing import Any

from tests.support.whatsapp_emulator.accounts import Account
from tests.support.whatsapp_emulator.keys import cbc_encrypt, hkdf, mac
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.protobufs import e2e, sync, sync_action

NAME_COLLECTION = "critical_block"
CONTACTS_COLLECTION = "critical_unblock_low"
NAME_INDEX = b'["setting_pushName"]'
SET_OPERATION = b"\x01"
VALUE_MAC_BYTES = 32
VERSION = 1


def key_share(account: Account) -> Any:
    """The message by which the phone gives its app-state key to a linked device."""
    if account.app_state_key is None:
        account.app_state_key = (b"\0\0" + secrets.token_bytes(4), secrets.token_bytes(32))
    key_id, key = account.app_state_key
    fingerprint = e2e.AppStateSyncKeyFingerprint(rawID=1, currentIndex=0, deviceIndexes=[0])
    shared = e2e.AppStateSyncKey(
        keyID=e2e.AppStateSyncKeyId(keyID=key_id),
        keyData=e2e.AppStateSyncKeyData(keyData=key, timestamp=_now_ms(), fingerprint=fingerprint),
    )
    return e2e.Message(
        protocolMessage=e2e.ProtocolMessage(
            type=e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE,
            appStateSyncKeyShare=e2e.AppStateSyncKeyShare(keys=[shared]),
        )
    )


def snapshot(account: Account, collection: str, media: MediaHost) -> bytes:
    """A reference to a collection of the account's state, encrypted on the media host."""
    assert account.app_state_key is not None
    key_id, key = account.app_state_key
    keys = hkdf(key, 160, info=b"WhatsApp Mutation Keys")
    index_key, value_key, value_mac_key, snapshot_mac_key = keys[:32], keys[32:64], keys[64:96], keys[96:128]

    state_sum = bytes(128)
    records = []
    for index, value in _records(account, collection):
        action = sync_action.SyncActionData(index=index, value=value, padding=b"", version=VERSION).SerializeToString()
        iv = secrets.token_bytes(16)
        sealed = iv + cbc_encrypt(value_key, iv, action)
        associated = SET_OPERATION + key_id
        value_mac = hmac.digest(value_mac_key, associated + sealed + len(associated).to_bytes(8, "big"), "sha512")[
            :VALUE_MAC_BYTES
        ]
        state_sum = _added(state_sum, hkdf(value_mac, 128, info=b"WhatsApp Patch Integrity"))
        records.append(
            sync.SyncdRecord(
                index=sync.SyncdIndex(blob=mac(index_key, index)),
                value=sync.SyncdValue(blob=sealed + value_mac),
                keyID=sync.KeyId(ID=key_id),
            )
        )
    state = sync.SyncdSnapshot(
        version=sync.SyncdVersion(version=VERSION),
        records=records,
        mac=mac(snapshot_mac_key, state_sum + VERSION.to_bytes(8, "big") + collection.encode()),
        keyID=sync.KeyId(ID=key_id),
    ).SerializeToString()

    stored = media.keep(state, "md-app-state")
    reference: bytes = sync.ExternalBlobReference(
        mediaKey=stored.key,
        directPath=stored.direct_path,
        handle="handle",
        fileSizeBytes=stored.encrypted_size,
        fileSHA256=hashlib.sha256(state).digest(),
        fileEncSHA256=stored.encrypted_sha256,
    ).SerializeToString()
    return reference


def has_state(account: Account, collection: str) -> bool:
    return account.app_state_key is not None and bool(_records(account, collection))


def _records(account: Account, collection: str) -> list[tuple[bytes, Any]]:
    """The index and the value of each."""
    value = sync_action.SyncActionValue
    if collection == NAME_COLLECTION:
        name = sync_action.PushNameSetting(name=account.name)
        return [(NAME_INDEX, value(timestamp=_now_ms(), pushNameSetting=name))]
    if collection == CONTACTS_COLLECTION:
        return [
            (
                json.dumps(["contact", f"{phone}@s.whatsapp.net"]).encode(),
                value(timestamp=_now_ms(), contactAction=sync_action.ContactAction(fullName=name, firstName=name)),
            )
            for phone, name in account.contacts.items()
        ]
    return []


def _added(one: bytes, other: bytes) -> bytes:
    """The hash of a state is the sum of its records', in words of 16 bits."""
    pairs = zip(struct.unpack("<64H", one), struct.unpack("<64H", other), strict=True)
    return struct.pack("<64H", *((a + b) % 2**16 for a, b in pairs))


def _now_ms() -> int:
    return int(time.time() * 1000)
