"""What clients change of an account's app state: each change is read, kept, and told to whoever asks what is new.

The server numbers the changes of a collection and takes one only on top of the newest. Format: whatsmeow's appstate
package. An account's later devices begin with the snapshot that was handed out last before the first change.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from tests.support.whatsapp_emulator import app_state
from tests.support.whatsapp_emulator.accounts import Account
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.keys import cbc_decrypt, hkdf
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.protobufs import sync, sync_action
from tests.support.whatsapp_emulator.stanza import Stanza, leaf, parent

IV_BYTES, MAC_BYTES = 16, 32


@dataclass(slots=True)
class Collection:
    """`first` is the version that the first of the patches leads to."""

    snapshot: bytes | None = None
    first: int = app_state.VERSION + 1
    patches: list[bytes] = field(default_factory=list)

    @property
    def version(self) -> int:
        return self.first + len(self.patches) - 1


class AppStates:
    """Of all accounts."""

    def __init__(self, media: MediaHost, journal: Journal) -> None:
        self._media = media
        self._journal = journal
        self._collections: dict[tuple[Account, str], Collection] = {}

    def answer(self, account: Account, asked: Stanza) -> Stanza:
        """The answer to one `<collection>` of a client, which may hold a change."""
        name, version = asked.get("name") or "", int(asked.get("version") or 0)
        if not name:
            return Stanza("collection", {"type": "error"}, [Stanza("error", {"code": 400, "text": "bad-request"})])
        kept = self._collections.setdefault((account, name), Collection())
        change = asked.find("patch")
        if change is not None:
            if kept.patches and version != kept.version:
                return parent(
                    "collection", [Stanza("error", {"code": 409, "text": "conflict"})], name=name, type="error"
                )
            self._take(account, name, kept, version, change.data)
            return Stanza("collection", {"name": name, "version": kept.version})
        children = []
        if asked.get("return_snapshot") == "true" and app_state.has_state(account, name):
            if kept.snapshot is None or not kept.patches:
                kept.snapshot = app_state.snapshot(account, name, self._media)
            children.append(leaf("snapshot", kept.snapshot))
            version = app_state.VERSION
        new = kept.patches[max(0, version + 1 - kept.first) :]
        if new:
            children.append(parent("patches", [leaf("patch", patch) for patch in new]))
        return parent(
            "collection", children, name=name, version=max(version, kept.version) if kept.patches else version
        )

    def _take(self, account: Account, name: str, kept: Collection, version: int, data: bytes) -> None:
        patch = sync.SyncdPatch.FromString(data)
        if not kept.patches:
            kept.first = version + 1
        patch.version.version = version + 1
        kept.patches.append(patch.SerializeToString())
        for mutation in patch.mutations:
            action = _opened(account, mutation.record.value.blob)
            self._journal.record(
                "app_state.changed",
                account=account.phone,
                collection=name,
                index=json.loads(action.index),
                value=json_format.MessageToDict(action.value),
            )
            if action.value.HasField("pushNameSetting"):
                account.name = action.value.pushNameSetting.name


def _opened(account: Account, sealed: bytes) -> Any:
    assert account.app_state_key is not None
    value_key = hkdf(account.app_state_key[1], 160, info=b"WhatsApp Mutation Keys")[32:64]
    data = cbc_decrypt(value_key, sealed[:IV_BYTES], sealed[IV_BYTES:-MAC_BYTES])
    return sync_action.SyncActionData.FromString(data)
