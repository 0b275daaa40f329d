"""A message as a client of any of the APIs orders it: what a dialect's request becomes before anything is looked up.

Numbers stand as the client wrote them, and files are named, not fetched: both are for who has the tenant's country and
the network.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from kurir.contracts.content import Content, Quote

FileKind = Literal["image", "video", "audio", "document", "sticker"]


class File(Struct, frozen=True, kw_only=True):
    """The file of a message: at `url`, or its bytes as `data`; with neither, the one that came in the request's form.

    `voice` sends sound as a voice note, `note` a video as a round video note. `file_name` goes before the name that the
    file came under. With `any_type` a document may be of any type, an image too.
    """

    kind: FileKind
    url: str | None = None
    data: bytes | None = None
    file_name: str | None = None
    caption: str | None = None
    voice: bool = False
    note: bool = False
    view_once: bool = False
    any_type: bool = False


class Order(Struct, frozen=True, kw_only=True):
    """One message to `to`: a number in any form or a JID. It has a `content` or a `file`.

    `mentions` are numbers or JIDs, and so is `audience`: who alone may see a status. For `typing_ms` milliseconds
    before, the chat shows that the device is typing.
    `metadata` is the client's own, told again with the message and never sent.
    """

    to: str
    content: Content | None = None
    file: File | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    send_at: datetime | None = None
    expires_in_s: int | None = None
    typing_ms: int = 0
    metadata: dict[str, Any] | None = None
    audience: tuple[str, ...] = ()
