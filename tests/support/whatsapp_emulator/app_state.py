"""What a phone shares with its linked devices: the app-state key, and a first state that holds the account's name.

Without a name the client cannot say that it is available. Format: whatsmeow's appstate package.
"""

import hashlib
import hmac
import secrets
import time
from typing import Any

from tests.support.whatsapp_emulator.accounts import Account
from tests.support.whatsapp_emulator.keys import cbc_encrypt, hkdf, mac
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.protobufs import e2e, sync, sync_action

NAME_COLLECTION = "critical_block"
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
    """A reference to the account's state, encrypted on the media host: one record, the name."""
    assert account.app_state_key is not None
    key_id, key = account.app_state_key
    keys = hkdf(key, 160, info=b"WhatsApp Mutation Keys")
    index_key, value_key, value_mac_key, snapshot_mac_key = keys[:32], keys[32:64], keys[64:96], keys[96:128]

    action = sync_action.SyncActionData(
        index=NAME_INDEX,
        value=sync_action.SyncActionValue(
            timestamp=_now_ms(), pushNameSetting=sync_action.PushNameSetting(name=account.name)
        ),
        padding=b"",
        version=VERSION,
    ).SerializeToString()
    iv = secrets.token_bytes(16)
    sealed = iv + cbc_encrypt(value_key, iv, action)
    associated = SET_OPERATION + key_id
    value_mac = hmac.digest(value_mac_key, associated + sealed + len(associated).to_bytes(8, "big"), "sha512")[
        :VALUE_MAC_BYTES
    ]

    # The hash of a state is a sum over its records; of one record it is that record's own.
    state_hash = hkdf(value_mac, 128, info=b"WhatsApp Patch Integrity")
    record = sync.SyncdRecord(
        index=sync.SyncdIndex(blob=mac(index_key, NAME_INDEX)),
        value=sync.SyncdValue(blob=sealed + value_mac),
        keyID=sync.KeyId(ID=key_id),
    )
    state = sync.SyncdSnapshot(
        version=sync.SyncdVersion(version=VERSION),
        records=[record],
        mac=mac(snapshot_mac_key, state_hash + VERSION.to_bytes(8, "big") + collection.encode()),
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


def _now_ms() -> int:
    return int(time.time() * 1000)
