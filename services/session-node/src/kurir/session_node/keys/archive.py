"""The file that `kurir devices export` writes: one device's keys, encrypted and authenticated.

`KURIR DEVICE KEYS 1`, a line of JSON that says how the key is found, and the device under AES-256-GCM, which covers
those two lines as well. The key is random for each file and sealed under the master key, or made of a passphrase by
scrypt. Nothing of the device stands outside the encryption. Pure, but for random numbers.
"""

import base64
import os
import zlib
from typing import Annotated, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta, Struct

from kurir.contracts.records import When
from kurir.runtime.secrets import MasterKey, SealBroken

MAGIC, FORMAT = b"KURIR DEVICE KEYS ", 1
KEY_BYTES, NONCE_BYTES, SALT_BYTES = 32, 12, 16
SHORTEST_PASSPHRASE = 12
SCRYPT_N = 2**16  # 64 MB and a fifth of a second for each guess
MOST_BYTES = 1024**3  # unpacked; a device has some 0.2 MB
_CONTEXT = "device keys"
_CHECK = b"is it this key?"


class ArchiveRefused(Exception):
    """The file cannot be opened, or the key is none to close it with; the text is a sentence for who asked."""


class DeviceKeys(Struct, frozen=True, kw_only=True):
    """What is in a file: whose keys, as whom it is linked, and `store`, a SQLite database of the library's tables."""

    tenant: str
    device: str
    jid: str
    exported_at: When
    store: bytes
    lid: str | None = None
    phone: str | None = None
    push_name: str | None = None


class Lock(Protocol):
    """Where the key of a file comes from."""

    def new_key(self) -> "tuple[bytes, ByMasterKey | ByPassphrase]":
        """A key for one file, and what its header says of it."""
        ...

    def key_of(self, header: "ByMasterKey | ByPassphrase") -> bytes:
        """The key of a file. Raises ArchiveRefused."""
        ...


class ByMasterKey(Struct, frozen=True, tag="master", tag_field="by"):
    """The file's key, sealed."""

    sealed: str


class ByPassphrase(Struct, frozen=True, tag="passphrase", tag_field="by"):
    """Of what scrypt makes the file's key. The bounds keep a forged header from taking all memory."""

    salt: bytes
    n: Annotated[int, Meta(ge=2**14, le=2**20)]
    r: Annotated[int, Meta(ge=8, le=16)]
    p: Annotated[int, Meta(ge=1, le=4)]


class _Header(Struct, frozen=True, kw_only=True):
    """`check` tells a wrong key from a damaged file, `size` a file that was cut."""

    key: ByMasterKey | ByPassphrase
    check: bytes
    nonce: bytes
    size: int


class MasterKeyLock:
    def __init__(self, master_key: MasterKey) -> None:
        self._master_key = master_key

    def new_key(self) -> tuple[bytes, ByMasterKey]:
        key = os.urandom(KEY_BYTES)
        return key, ByMasterKey(self._master_key.seal(base64.b64encode(key).decode(), _CONTEXT))

    def key_of(self, header: ByMasterKey | ByPassphrase) -> bytes:
        if not isinstance(header, ByMasterKey):
            raise ArchiveRefused("The file was encrypted with a passphrase, not under the master key.")
        try:
            return base64.b64decode(self._master_key.open(header.sealed, _CONTEXT))
        except SealBroken:
            raise ArchiveRefused(
                "The file was encrypted under another master key: put that one into KURIR_MASTER_KEY, behind the "
                "present one and split by a comma."
            ) from None


class PassphraseLock:
    """Raises ArchiveRefused for a passphrase that is too short."""

    def __init__(self, passphrase: str) -> None:
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise ArchiveRefused(f"The passphrase has to be {SHORTEST_PASSPHRASE} characters long at least.")
        self._passphrase = passphrase.encode()

    def new_key(self) -> tuple[bytes, ByPassphrase]:
        header = ByPassphrase(os.urandom(SALT_BYTES), SCRYPT_N, 8, 1)
        return self._derived(header), header

    def key_of(self, header: ByMasterKey | ByPassphrase) -> bytes:
        if not isinstance(header, ByPassphrase):
            raise ArchiveRefused("The file was encrypted under a master key, not with a passphrase.")
        return self._derived(header)

    def _derived(self, header: ByPassphrase) -> bytes:
        return Scrypt(salt=header.salt, length=KEY_BYTES, n=header.n, r=header.r, p=header.p).derive(self._passphrase)


def close(device: DeviceKeys, lock: Lock) -> bytes:
    """The file."""
    key, said = lock.new_key()
    body = zlib.compress(msgspec.msgpack.encode(device))
    nonce = os.urandom(NONCE_BYTES)
    header = _Header(key=said, check=_check_of(key), nonce=nonce, size=len(body))
    head = MAGIC + b"%d\n" % FORMAT + msgspec.json.encode(header) + b"\n"
    return head + AESGCM(key).encrypt(nonce, body, head)


def open_archive(data: bytes, lock: Lock) -> DeviceKeys:
    """What is in the file. Raises ArchiveRefused."""
    header, head, sealed = _split(data)
    key = lock.key_of(header.key)
    if _check_of(key) != header.check:
        raise ArchiveRefused("The passphrase is not the one that the file was encrypted with.")
    try:
        body = AESGCM(key).decrypt(header.nonce, sealed, head)
    except (InvalidTag, ValueError):
        raise ArchiveRefused("The file is damaged: something in it was changed since it was written.") from None
    try:
        unpacked = zlib.decompressobj()
        packed = unpacked.decompress(body, MOST_BYTES)
        return msgspec.msgpack.decode(packed, type=DeviceKeys)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ArchiveRefused(f"The file cannot be read by this release: {error}.") from None


def is_by_master_key(data: bytes) -> bool:
    """Whether the file needs the master key to be opened. Raises ArchiveRefused."""
    return isinstance(_split(data)[0].key, ByMasterKey)


def _split(data: bytes) -> tuple[_Header, bytes, bytes]:
    """Header, the bytes that say it, and what is encrypted. Raises ArchiveRefused."""
    first, _, rest = data.partition(b"\n")
    number = first.removeprefix(MAGIC)
    if not first.startswith(MAGIC) or not number.isdigit():
        if data and (MAGIC.startswith(data) or first.startswith(MAGIC)):
            raise ArchiveRefused("The file was cut short: not even its header is whole.")
        raise ArchiveRefused("This is not a file of `kurir devices export`.")
    if int(number) != FORMAT:
        raise ArchiveRefused(
            f"The file is of format {int(number)}, and this release reads format {FORMAT}: use the release "
            "that wrote it, or a later one."
        )
    line, end, sealed = rest.partition(b"\n")
    if not end:
        raise ArchiveRefused("The file was cut short: not even its header is whole.")
    try:
        header = msgspec.json.decode(line, type=_Header)
    except msgspec.DecodeError as error:
        raise ArchiveRefused(f"The file is damaged: its header cannot be read ({error}).") from None
    missing = header.size + 16 - len(sealed)  # AES-GCM adds a tag of 16 bytes
    if missing > 0:
        raise ArchiveRefused(f"The file was cut short: its last {missing} bytes are missing.")
    return header, data[: len(data) - len(sealed)], sealed


def _check_of(key: bytes) -> bytes:
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(_CHECK)
    return mac.finalize()[:16]
