"""What a dialect promises to those who use it.

A payload shape turns an event into the body of a webhook. It is pure: the same event gives the same bytes, however
often and wherever it is asked, so that a signature made over them stays true for each attempt.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from kurir.contracts.content import Media

MAX_BODY_BYTES = 100_000
"""No webhook body is larger: `express.json()` and many other receivers refuse more than 102,400 bytes."""

MediaUrl = Callable[[Media], str | None]
"""Where a tenant fetches the bytes of a medium; None for one whose bytes were not kept."""


class Payload(NamedTuple):
    """A webhook's body and the name of its event in the words of the shape."""

    event: str
    body: bytes


class PayloadShape(Protocol):
    """One way to tell an event to a webhook."""

    def __call__(self, type_: str, event: bytes | msgspec.Raw, media_url: MediaUrl) -> Payload:
        """Translate the event body `event` of native type `type_`; UTF-8 JSON of at most MAX_BODY_BYTES.

        A type that this version does not know is passed on as it is. Raises msgspec.DecodeError (or its subclass
        ValidationError) when the event cannot be read.
        """
