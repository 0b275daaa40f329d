"""Bodies read as they come, within their bounds; of multipart/form-data text parts become a dictionary, and the file
part is handed on in pieces."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Generic, TypeVar

from litestar.types import Receive, ReceiveMessage, Scope
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.problems import Problem

MAX_FIELD_BYTES = 256 * 1024
MAX_PARTS = 32

T = TypeVar("T")
TakeFile = Callable[[AsyncIterator[bytes], str | None, dict[str, str]], Awaitable[T]]
"""Given the file's bytes, its name, and the text parts that came before it. Must read the bytes to their end."""


class Form(Generic[T]):
    """What a form held. `file` is what `take_file` made of it, None when there was no file."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.file: T | None = None


async def read_form(
    form: Form[T],
    content_type: str,
    body: AsyncIterator[bytes],
    take_file: TakeFile[T],
    *,
    file_parts: Collection[str] = ("file",),
) -> None:
    """Fill `form` from a body of type multipart/form-data; its one file part is named as one of `file_parts`.

    Raises Problem about the form (`form` then holds what was read), or what `take_file` or `body` raise.
    """
    _, options = parse_options_header(content_type)
    try:
        parser = PushMultipartParser(options.get("boundary", ""), max_segment_count=MAX_PARTS, strict=True)
        pieces = _pieces(parser, body)
        async for piece in pieces:
            assert isinstance(piece, MultipartSegment), "bytes come after the head of their part"
            await _read_part(form, piece, _until_end(pieces), take_file, file_parts)
    except ParserLimitReached:
        raise Problem("PAYLOAD_TOO_LARGE", "The form has too many or too large parts.") from None
    except (MultipartError, UnicodeDecodeError) as error:
        raise Problem("VALIDATION_ERROR", f"The form cannot be read: {error}.") from None


async def _read_part(
    form: Form[T],
    head: MultipartSegment,
    data: AsyncIterator[bytes],
    take_file: TakeFile[T],
    file_parts: Collection[str],
) -> None:
    name = head.name or ""
    if name in file_parts:
        if form.file is not None:
            raise Problem("VALIDATION_ERROR", "One file to a message.", field=name)
        form.file = await take_file(data, head.filename or None, form.fields)
        return
    value = bytearray()
    async for piece in data:
        value += piece
        if len(value) > MAX_FIELD_BYTES:
            raise Problem("PAYLOAD_TOO_LARGE", field=name)
    form.fields[name] = value.decode()


async def _pieces(
    parser: PushMultipartParser, body: AsyncIterator[bytes]
) -> AsyncIterator[MultipartSegment | bytearray | None]:
    """Head, bytes and None for the end of each part, in order."""
    with parser:
        async for chunk in body:
            for piece in parser.parse(chunk):
                yield piece
        # An incomplete form is an error, which leaving `with` raises.


async def _until_end(pieces: AsyncIterator[MultipartSegment | bytearray | None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if piece is None:
            return
        assert not isinstance(piece, MultipartSegment)
        yield bytes(piece)


@contextlib.asynccontextmanager
async def forgotten_on_failure(media: MediaStore, form: Form[StoredFile]) -> AsyncIterator[None]:
    """Leaves no file of the form in the store when what is done with it fails before a message refers to it."""
    try:
        yield
    except BaseException:
        if form.file is not None and not form.file.is_sent:
            await media.forget(form.file)
        raise


async def body_chunks(
    scope: Scope, receive: Receive, max_bytes: int, first: ReceiveMessage | None = None
) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Problem when there is, or is announced, more than `max_bytes`."""
    announced = header_of(scope, b"content-length")
    if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
        raise Problem("PAYLOAD_TOO_LARGE")
    received = 0
    more = True
    while more:
        message = first or await receive()
        first = None
        if message["type"] != "http.request":
            raise Problem("VALIDATION_ERROR", "The request ended before it was complete.")
        received += len(message["body"])
        if received > max_bytes:
            raise Problem("PAYLOAD_TOO_LARGE")
        more = message.get("more_body", False)
        if message["body"]:
            yield message["body"]


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, which is in lower case."""
    for given, value in scope["headers"]:
        if given == name:
            return value.decode("latin-1")
    return None
