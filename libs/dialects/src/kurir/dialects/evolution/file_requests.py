"""`POST /message/sendMedia` and the other sends of one file: by URL, in base64, or in the request's form. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from kurir.dialects.evolution import errors
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.requests import MAX_CAPTION, Send, inner, send_around
from kurir.dialects.orders import File, FileKind

MEDIA_TYPES: Final = ("image", "document", "video", "audio", "ptv")
DEFAULT_NAMES: Final[dict[str, str | None]] = {"image": "image.png", "video": "video.mp4", "ptv": "video.mp4"}
_DATA_URL = re.compile(r"data:[^,]{0,255};base64,")


def send_media(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """`has_file`: the form holds the file. Raises Invalid or Refused."""
    fields = Fields(values)
    body, version = inner(fields, "mediaMessage")
    body.require("mediatype", *(() if has_file else ("media",)))
    kind = body.text("mediatype", allowed=MEDIA_TYPES)
    body.text("mimetype", max_length=255)  # what a file is, its bytes say
    name = body.optional("fileName", max_length=255)
    caption = body.optional("caption", max_length=MAX_CAPTION)
    media = None if has_file else body.raw("media")
    if kind == "document" and isinstance(media, str) and name is None:
        if not is_url(media):
            raise Refused(errors.NO_FILE_NAME)
        name = unquote(urlsplit(media).path.rpartition("/")[2])[-255:] or None
    return send_around(
        fields,
        version,
        file=named_file(
            fields,
            "video" if kind == "ptv" else cast(FileKind, kind),
            media,
            has_file=has_file,
            name=name or DEFAULT_NAMES.get(kind),
            caption=caption if kind not in ("audio", "ptv") else None,
            note=kind == "ptv",
        ),
    )


def send_audio(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """A voice note. Raises Invalid or Refused."""
    return _send_file(values, "audioMessage", ("audio",), "audio", has_file=has_file, voice=True)


def send_video_note(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """Raises Invalid or Refused."""
    return _send_file(values, "ptvMessage", ("video",), "video", has_file=has_file, note=True)


def send_sticker(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """Raises Invalid or Refused."""
    return _send_file(values, "stickerMessage", ("image", "sticker"), "sticker", has_file=has_file)


def _send_file(
    values: Mapping[str, Any],
    name: str,
    within: tuple[str, ...],
    kind: FileKind,
    *,
    has_file: bool,
    voice: bool = False,
    note: bool = False,
) -> Send:
    fields = Fields(values)
    body, version = inner(fields, name)
    where = next((one for one in within if body.has(one)), within[0 if version == "v1" else -1])
    if not has_file:
        body.require(where)
    return send_around(
        fields, version, file=named_file(fields, kind, body.raw(where), has_file=has_file, voice=voice, note=note)
    )


def named_file(
    fields: Fields,
    kind: FileKind,
    media: Any,
    *,
    has_file: bool,
    name: str | None = None,
    caption: str | None = None,
    voice: bool = False,
    note: bool = False,
) -> File | None:
    """The file that is meant. None where something before it was wrong already. Raises Refused for neither URL nor
    base64."""
    if has_file:
        return File(kind=kind, file_name=name, caption=caption, voice=voice, note=note)
    if fields.findings:
        return None
    if not isinstance(media, str):
        raise Refused(errors.NOT_MEDIA)
    if is_url(media):
        if len(media) > 2048 or not media.isprintable():
            raise Refused(errors.NOT_MEDIA)
        return File(kind=kind, url=media, file_name=name, caption=caption, voice=voice, note=note)
    return File(kind=kind, data=_decoded(media), file_name=name, caption=caption, voice=voice, note=note)


def is_url(media: str) -> bool:
    return media.startswith(("http://", "https://"))


def base64_in(media: str) -> str:
    """Without the beginning of a data URL, and without white space."""
    found = _DATA_URL.match(media)
    return "".join(media[found.end() if found else 0 :].split())


def _decoded(media: str) -> bytes:
    """Base64, bare or as a data URL. Raises Refused."""
    try:
        data = base64.b64decode(base64_in(media), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(errors.NOT_MEDIA) from None
    if not data:
        raise Refused(errors.NOT_MEDIA)
    return data
