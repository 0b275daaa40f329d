"""Which files may be sent as what, and how large. Pure."""

from pathlib import PurePath
from typing import Literal

from kurir.api.problems import Problem

MediaKind = Literal["image", "video", "audio", "document", "sticker"]

MIB = 1024 * 1024
LIMITS: dict[MediaKind, int] = {
    "image": 16 * MIB,
    "document": 32 * MIB,
    "audio": 16 * MIB,
    "video": 64 * MIB,
    "sticker": 1 * MIB,
}
MAX_BYTES = max(LIMITS.values())

EXTENSIONS: dict[MediaKind, tuple[str, ...]] = {
    "image": ("jpg", "jpeg", "png", "gif", "webp"),
    "document": ("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "txt", "zip", "rar", "7z"),
    "audio": ("mp3", "wav", "ogg", "m4a", "aac", "flac"),
    "video": ("mp4", "avi", "mov", "mkv", "webm", "3gp", "flv"),
    "sticker": ("webp",),
}
"""What callers are told; what counts is the type of the bytes."""

# What libmagic calls them, and the name that the file then travels under.
_TYPES: dict[MediaKind, dict[str, str]] = {
    "image": {t: t for t in ("image/jpeg", "image/png", "image/gif", "image/webp")},
    "video": {
        "video/mp4": "video/mp4",
        "video/x-m4v": "video/mp4",
        "video/x-msvideo": "video/x-msvideo",
        "video/quicktime": "video/quicktime",
        "video/x-matroska": "video/x-matroska",
        "video/webm": "video/webm",
        "video/3gpp": "video/3gpp",
        "video/x-flv": "video/x-flv",
    },
    "audio": {
        "audio/mpeg": "audio/mpeg",
        "audio/x-wav": "audio/wav",
        "audio/wav": "audio/wav",
        "audio/ogg": "audio/ogg",
        "application/ogg": "audio/ogg",
        "audio/x-m4a": "audio/mp4",
        "audio/mp4": "audio/mp4",
        "video/mp4": "audio/mp4",  # a sound track alone is often written as one
        "audio/aac": "audio/aac",
        "audio/x-hx-aac-adts": "audio/aac",
        "audio/flac": "audio/flac",
        "audio/x-flac": "audio/flac",
    },
    "sticker": {"image/webp": "image/webp"},
    "document": {
        "application/pdf": "application/pdf",
        "application/msword": "application/msword",
        "application/vnd.ms-excel": "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint": "application/vnd.ms-powerpoint",
        "application/zip": "application/zip",
        "application/x-rar": "application/vnd.rar",
        "application/vnd.rar": "application/vnd.rar",
        "application/x-7z-compressed": "application/x-7z-compressed",
        "text/plain": "text/plain",
    },
}
_OFFICE_XML = "application/vnd.openxmlformats-officedocument."
_OFFICE_BY_EXTENSION = {
    ".docx": _OFFICE_XML + "wordprocessingml.document",
    ".xlsx": _OFFICE_XML + "spreadsheetml.sheet",
    ".pptx": _OFFICE_XML + "presentationml.presentation",
}
_OLE = ("application/x-ole-storage", "application/cdfv2", "application/octet-stream-ole")
_OLE_BY_EXTENSION = {
    ".doc": "application/msword",
    ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
}


def mimetype_for(kind: MediaKind, sniffed: str, file_name: str | None, *, any_type: bool = False) -> str:
    """The type to send a file as, whose beginning libmagic calls `sniffed`.

    The name decides only among the formats that share a container. With `any_type` everything is a document. Raises
    Problem UNSUPPORTED_MEDIA_TYPE.
    """
    extension = PurePath(file_name or "").suffix.lower()
    sniffed = sniffed.lower()
    if kind == "document":
        if sniffed.startswith(_OFFICE_XML):
            return sniffed
        if sniffed == "application/zip" and extension in _OFFICE_BY_EXTENSION:
            return _OFFICE_BY_EXTENSION[extension]
        if sniffed in _OLE and extension in _OLE_BY_EXTENSION:
            return _OLE_BY_EXTENSION[extension]
        if sniffed.startswith("text/") and sniffed != "text/html" and extension in (".txt", ".csv", ""):
            return "text/plain"
    found = _TYPES[kind].get(sniffed)
    if found is None and any_type and kind == "document":
        return sniffed
    if found is None:
        allowed = ", ".join(EXTENSIONS[kind])
        raise Problem(
            "UNSUPPORTED_MEDIA_TYPE", f"This file is {sniffed}; as {kind} you can send {allowed}.", field="kind"
        )
    return found


def usual_kind(sniffed: str) -> MediaKind:
    """What a file, whose beginning libmagic calls `sniffed`, is sent as when nobody says."""
    kinds: tuple[MediaKind, ...] = ("image", "video", "audio")
    return next((kind for kind in kinds if sniffed.lower() in _TYPES[kind]), "document")


def too_large(kind: MediaKind | None, *, field: str) -> Problem:
    limit = LIMITS[kind] if kind is not None else MAX_BYTES
    return Problem("MEDIA_TOO_LARGE", f"The {kind or 'file'} is larger than {limit // MIB} MB.", field=field)
