"""The body of a request as fields, whether it is JSON, urlencoded or a form with a file.

Guarantees its bounds before anything is held, and that a file is in the media store only as long as what is done with
it goes well.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from msgspec import Struct

from kurir.api.media.form import Form, body_chunks, forgotten_on_failure, header_of, read_form
from kurir.api.media.kinds import MAX_BYTES, MediaKind
from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.problems import Problem

MAX_TEXT_BYTES = 1024 * 1024
MAX_FORM_BYTES = MAX_BYTES + 1024 * 1024
MAX_URLENCODED_FIELDS = 256


def _not_looked_at(_: bytes) -> None:
    """What a form's bytes are given to when nobody wants to see them."""


class Body(Struct, frozen=True):
    """`fields` by name; of JSON as they are, of forms as text. `file` is the form's file, stored.

    `raw` are the bytes of a body without a file, for who checks a signature over them; b"" of a form.
    """

    fields: dict[str, Any]
    file: StoredFile | None = None
    raw: bytes = b""
    is_form: bool = False


@contextlib.asynccontextmanager
async def reading(
    request: Request[Any, Any, Any],
    media: MediaStore,
    tenant: str,
    *,
    kind: MediaKind | None = None,
    file_parts: Collection[str] = ("file",),
    max_text_bytes: int = MAX_TEXT_BYTES,
    on_bytes: Callable[[bytes], None] = _not_looked_at,
) -> AsyncIterator[Body]:
    """The request's body, for the time of the block; when the block fails, the file of a form goes.

    `kind` is what the file is to be sent as, where the path says so; `on_bytes` sees a form's bytes as they come. An
    empty body has no fields. Raises Problem: INVALID_JSON (of what is no JSON object too), PAYLOAD_TOO_LARGE, or about
    the form or the file.
    """
    content_type = header_of(request.scope, b"content-type") or ""
    if not content_type.startswith("multipart/form-data"):
        raw = await _whole(request, max_text_bytes)
        yield Body(_fields(raw, content_type), raw=raw)
        return

    async def take_file(data: AsyncIterator[bytes], name: str | None, _: dict[str, str]) -> StoredFile:
        return await media.keep(tenant, data, kind=kind, file_name=name, field=next(iter(file_parts)))

    async def seen() -> AsyncIterator[bytes]:
        async for chunk in body_chunks(request.scope, request.receive, MAX_FORM_BYTES):
            on_bytes(chunk)
            yield chunk

    form: Form[StoredFile] = Form()
    async with forgotten_on_failure(media, form):
        await read_form(form, content_type, seen(), take_file, file_parts=file_parts)
        yield Body(dict(form.fields), form.file, is_form=True)


async def _whole(request: Request[Any, Any, Any], max_bytes: int) -> bytes:
    return b"".join([chunk async for chunk in body_chunks(request.scope, request.receive, max_bytes)])


def _fields(raw: bytes, content_type: str) -> dict[str, Any]:
    if not raw:
        return {}
    if content_type.startswith("application/x-www-form-urlencoded"):
        try:
            return dict(
                parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_URLENCODED_FIELDS, errors="strict")
            )
        except ValueError as error:
            raise Problem("VALIDATION_ERROR", f"The body cannot be read: {error}.") from None
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last for what is nested too deeply
        raise Problem("INVALID_JSON") from None
    if not isinstance(fields, dict):
        raise Problem("INVALID_JSON", "The body must be a JSON object.")
    return fields
