"""multipart/form-data read as it comes: text parts into a dictionary, the file part handed on in pieces."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

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


async def read_form(form: Form[T], content_type: str, body: AsyncIterator[bytes], take_file: TakeFile[T]) -> None:
    """Fill `form` from a body of type multipart/form-data; its file part is named `file`.

    Raises Problem about the form (`form` then holds what was read), or what `take_file` or `body` raise.
    """
    _, options = parse_options_header(content_type)
    try:
        parser = PushMultipartParser(options.get("boundary", ""), max_segment_count=MAX_PARTS, strict=True)
        pieces = _pieces(parser, body)
        async for piece in pieces:
            assert isinstance(piece, MultipartSegment), "bytes come after the head of their part"
            await _read_part(form, piece, _until_end(pieces), take_file)
    except ParserLimitReached:
        raise Problem("PAYLOAD_TOO_LARGE", "The form has too many or too large parts.") from None
    except (MultipartError, UnicodeDecodeError) as error:
        raise Problem("VALIDATION_ERROR", f"The form cannot be read: {error}.") from None


async def _read_part(form: Form[T], head: MultipartSegment, data: AsyncIterator[bytes], take_file: TakeFile[T]) -> None:
    name = head.name or ""
    if name == "file":
        if form.file is not None:
            raise Problem("VALIDATION_ERROR", "One file to a message.", field="file")
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
