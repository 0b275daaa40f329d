"""What a test and its engine process say to each other: JSON lines over the process's stdin and stdout.

Media travel as files in a folder that both know. The order of lines is the order in which things happened.
"""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kurir.contracts.content import Media
from kurir.session_node.engines import engine as protocol
from kurir.session_node.engines import observations, requests
from kurir.session_node.engines.engine import Received

MAX_LINE_BYTES = 64 * 1024 * 1024
FILE_CHUNK_BYTES = 64 * 1024


class EngineSettings(Struct, frozen=True, kw_only=True):
    """How the process makes its engine. `folder` keeps devices, unless `store_url` says where; `files` is for media."""

    folder: str
    files: str
    proxy: str | None
    store_url: str | None
    allowed_proxies: tuple[str, ...]
    ack_timeout_s: float


class FileMedia(Struct, frozen=True, kw_only=True):
    """Media to send, in a file."""

    media: Media
    path: str

    async def chunks(self) -> AsyncIterator[bytes]:
        with Path(self.path).open("rb") as file:
            while chunk := file.read(FILE_CHUNK_BYTES):
                yield chunk


class Call(Struct, frozen=True, kw_only=True):
    """Call `method` of session `session`, or of the engine; `media` belongs to the order among the arguments."""

    number: int
    method: str
    session: int | None = None
    arguments: tuple[msgspec.Raw, ...] = ()
    media: FileMedia | None = None


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """What a call returned; or what it raised, by its name and what it is made from."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    details: tuple[Any, ...] = ()


class AttachmentSeen(Struct, frozen=True, kw_only=True):
    """An attachment that the process keeps under a number."""

    number: int
    mimetype: str
    size: int | None
    file_name: str | None


class Heard(Struct, frozen=True, kw_only=True, tag="heard"):
    """A session reported an observation; `kind` is the name of its class."""

    session: int
    kind: str
    what: msgspec.Raw
    attachment: AttachmentSeen | None = None


Said = Answer | Heard


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def bare(received: Received) -> Received:
    return msgspec.structs.replace(received, attachment=None)


OBSERVATIONS: dict[str, Any] = {
    name: kind
    for name, kind in (vars(protocol) | vars(observations)).items()
    if inspect.isclass(kind) and issubclass(kind, Struct)
}
ERRORS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in (vars(protocol) | vars(requests)).items()
    if inspect.isclass(kind) and issubclass(kind, Exception)
}


def answer_of(number: int, error: Exception) -> Answer:
    """The line that lets the other side raise the same."""
    kind = type(error)
    if ERRORS.get(kind.__name__) is not kind:
        return Answer(number=number, error="RemoteError", details=(f"{kind.__name__}: {error}",))
    # One without an __init__ of its own has no signature, and nothing to tell.
    names = list(inspect.signature(kind.__init__).parameters)[1:] if "__init__" in vars(kind) else []
    return Answer(number=number, error=kind.__name__, details=tuple(getattr(error, name) for name in names))
