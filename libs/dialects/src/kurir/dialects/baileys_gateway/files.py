"""Which files this API takes: by the extension of their names, as its document prints it. Pure."""

from typing import Final

import msgspec
from msgspec import Struct

from kurir.dialects.orders import FileKind

MIB = 1024 * 1024


class FileType(Struct, frozen=True, kw_only=True):
    """`plural` names the kind in lists, `path` is where it is sent; sizes are in MiB, which the document calls MB."""

    kind: FileKind
    plural: str
    path: str
    extensions: tuple[str, ...]
    max_mib: int
    has_caption: bool = False
    voice: bool = False

    @property
    def max_bytes(self) -> int:
        return self.max_mib * MIB

    @property
    def allowed(self) -> str:
        """The extensions as JavaScript's JSON.stringify writes them."""
        return msgspec.json.encode(self.extensions).decode()

    def takes(self, file_name: str) -> bool:
        """Whether a file of this name may be sent so; its bytes are looked at elsewhere."""
        _, dot, extension = file_name.rpartition(".")
        return bool(dot) and extension.lower() in self.extensions


FILE_TYPES: Final = (
    FileType(
        kind="image",
        plural="images",
        path="/api/send-image",
        extensions=("jpg", "jpeg", "png", "gif", "webp"),
        max_mib=16,
        has_caption=True,
    ),
    FileType(
        kind="document",
        plural="documents",
        path="/api/send-document",
        extensions=("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "txt", "zip", "rar", "7z"),
        max_mib=32,
        has_caption=True,
    ),
    FileType(
        kind="audio",
        plural="audio",
        path="/api/send-audio",
        extensions=("mp3", "wav", "ogg", "m4a", "aac", "flac"),
        max_mib=16,
        voice=True,
    ),
    FileType(
        kind="video",
        plural="video",
        path="/api/send-video",
        extensions=("mp4", "avi", "mov", "mkv", "webm", "3gp", "flv"),
        max_mib=64,
        has_caption=True,
    ),
    FileType(kind="sticker", plural="stickers", path="/api/send-sticker", extensions=("webp",), max_mib=1),
)
