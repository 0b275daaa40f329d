"""What a dialect promises to those who use it.

A payload shape turns an event into the body of a webhook. It is pure: the same event gives the same bytes, however
often and wherever it is asked, so that a signature made over them stays true for each attempt.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta, timezone, tzinfo
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from kurir.contracts.content import Media
from kurir.contracts.records import PayloadOptions

MAX_BODY_BYTES = 100_000
"""No webhook body is larger, but for a file in it: `express.json()` and many other receivers refuse more than 102,400
bytes."""

MediaUrl = Callable[[Media], str | None]
"""Where a tenant fetches the bytes of a medium; None for one whose bytes were not kept."""


JAKARTA: Final = timezone(timedelta(hours=7))


class Context(Struct, frozen=True, kw_only=True):
    """What a shape may say beside the event: of the device that it is about, and of who is told.

    `code` is the device's, None where it is its id; `owner` the JID that it is paired with, if that is known.
    `destination` is the endpoint's URL, if there is one, `server_url` where clients reach the api, `key` the API key
    that the endpoint wants repeated. `file` are the bytes of the event's medium in base64, for an endpoint that wants
    them in the body. `zone` is the tenant's, for times that are told without saying which they are of.
    """

    media_url: MediaUrl
    code: str | None = None
    owner: str | None = None
    destination: str | None = None
    server_url: str = ""
    options: PayloadOptions = PayloadOptions()
    key: str | None = None
    file: str | None = None
    zone: tzinfo = JAKARTA


class Payload(NamedTuple):
    """A webhook's body and the name of its event in the words of the shape; `path` goes behind the endpoint's URL."""

    event: str
    body: bytes
    path: str = ""


class PayloadShape(Protocol):
    """One way to tell an event to a webhook."""

    def __call__(self, type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
        """Translate the event body `event` of native type `type_`; UTF-8 JSON of at most MAX_BODY_BYTES.

        `told_as` is one of the names that `Shape.told_as` gave, where the shape has such. Without names, a type that
        this version does not know is passed on as it is. Raises msgspec.DecodeError (or its subclass ValidationError)
        when the event cannot be read.
        """


class Shape(NamedTuple):
    """A payload shape and, where its API has words for some events alone, what these are.

    `names` are, for each native type, those that an event of it may be told as: one, several or, by what it says, none.
    Which ones it is, `told_as` decides for an event of that type; it raises as `payload` does. `words` are those by
    which an endpoint asks for a name. Without `names` every event is told, once.
    """

    payload: PayloadShape
    names: Mapping[str, tuple[str, ...]] | None = None
    told_as: Callable[[str, bytes | msgspec.Raw], tuple[str, ...]] = lambda _type, _event: ()
    words: Callable[[str], tuple[str, ...]] = lambda name: (name,)
