"""WhatsApp's media host: takes encrypted files and gives them back. The virtual phones encrypt and decrypt here too."""

import asyncio
import base64
import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from tests.support.whatsapp_emulator.faults import Faults
from tests.support.whatsapp_emulator.front_door import MEDIA_HOST
from tests.support.whatsapp_emulator.http import Answer, Request, json_answer
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.keys import cbc_decrypt, cbc_encrypt, hkdf, mac

MAC_BYTES = 10
MAX_KEPT_BYTES = 1 << 30
DOWNLOAD_PATH = "/v/t62/"
UPLOAD_PATH = "/mms/"
PICTURE_PATH = "/pictures/"

KEY_LABEL = {
    "image": b"WhatsApp Image Keys",
    "sticker": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "ptv": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
    "md-app-state": b"WhatsApp App State Keys",
}


class MediaGone(Exception):
    """Nothing is kept under that path, or it is not what the key opens."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a message says of its media."""

    url: str
    direct_path: str
    key: bytes
    sha256: bytes
    encrypted_sha256: bytes
    size: int
    encrypted_size: int


class MediaHost:
    """Files in memory, the oldest forgotten when they are more than MAX_KEPT_BYTES together."""

    def __init__(self, journal: Journal, faults: Faults) -> None:
        self._journal = journal
        self._faults = faults
        self._pictures: dict[str, bytes] = {}
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def answer(self, request: Request) -> Answer:
        """One request of a client."""
        if request.method == "POST" and request.path.startswith(UPLOAD_PATH):
            return self._upload(request)
        if request.method == "GET":
            await asyncio.sleep(self._faults.download_delay_s)
            return self._download(request)
        return Answer(405)

    def _upload(self, request: Request) -> Answer:
        if self._faults.upload_status is not None:
            return Answer(self._faults.upload_status)
        kind = request.path.removeprefix(UPLOAD_PATH).partition("/")[0]
        direct_path = self._put(kind, request.body)
        self._journal.record("media.uploaded", media=kind, size=len(request.body))
        return json_answer({"url": _url(direct_path), "direct_path": direct_path, "handle": "handle"})

    def _download(self, request: Request) -> Answer:
        if self._faults.download_status is not None:
            return Answer(self._faults.download_status)
        found = self._files.get(request.path) or self._pictures.get(request.path)
        if found is None:
            return Answer(404)
        self._journal.record("media.downloaded", size=len(found))
        return Answer(body=found)

    def keep(self, data: bytes, kind: str) -> Stored:
        """Encrypt as a phone does, and keep."""
        key = secrets.token_bytes(32)
        iv, cipher_key, mac_key = _keys(key, kind)
        sealed = cbc_encrypt(cipher_key, iv, data)
        sealed += mac(mac_key, iv + sealed)[:MAC_BYTES]
        direct_path = self._put(kind, sealed)
        return Stored(
            url=_url(direct_path),
            direct_path=direct_path,
            key=key,
            sha256=hashlib.sha256(data).digest(),
            encrypted_sha256=hashlib.sha256(sealed).digest(),
            size=len(data),
            encrypted_size=len(sealed),
        )

    def open(self, media: Any, kind: str) -> bytes:
        """The bytes behind a message's media, such as its imageMessage. Raises MediaGone."""
        found = self._files.get(media.directPath.partition("?")[0])
        if found is None:
            raise MediaGone(media.directPath)
        iv, cipher_key, mac_key = _keys(media.mediaKey, kind)
        sealed, tag = found[:-MAC_BYTES], found[-MAC_BYTES:]
        if mac(mac_key, iv + sealed)[:MAC_BYTES] != tag:
            raise MediaGone("the message has another key")
        return cbc_decrypt(cipher_key, iv, sealed)

    def picture_url(self, name: str, picture: bytes) -> tuple[str, str]:
        """Keep a profile picture, which is not encrypted: its URL and its direct path."""
        path = f"{PICTURE_PATH}{name}.jpg"
        self._pictures[path] = picture
        return _url(path), path

    def _put(self, kind: str, data: bytes) -> str:
        name = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        path = f"{DOWNLOAD_PATH}{kind}/{name}"
        if path not in self._files:
            self._files[path] = data
            self._kept_bytes += len(data)
        while self._kept_bytes > MAX_KEPT_BYTES:
            _, forgotten = self._files.popitem(last=False)
            self._kept_bytes -= len(forgotten)
        # Clients append "&hash=…", so there has to be a query already.
        return f"{path}?ccb=11-4"


def _url(direct_path: str) -> str:
    return f"https://{MEDIA_HOST}{direct_path}"


def _keys(key: bytes, kind: str) -> tuple[bytes, bytes, bytes]:
    keys = hkdf(key, 112, info=KEY_LABEL[kind])
    return keys[:16], keys[16:48], keys[48:80]
