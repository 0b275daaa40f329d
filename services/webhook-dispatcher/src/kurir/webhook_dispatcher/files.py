"""Files that an endpoint wants in the body itself, read from the media store and written as base64.

A file that is too large or gone is left out: its URL stands in the body too. What is held at once is bounded: a
delivery for which there is no room comes again.
"""

import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from kurir.contracts.content import Media
from kurir.contracts.deliveries import Delivery
from kurir.runtime.logs import get
from kurir.runtime.objects import ObjectDamaged, ObjectNotFound, ObjectStore, StoreUnavailable
from kurir.runtime.settlement import Retry

log = get("kurir.files")

AGAIN_S: Final = 1.0
ROOM_BYTES: Final = 128 * 1024**2  # of files under way; each is there as bytes, as base64 and in a body


class _Content(msgspec.Struct, frozen=True):
    media: Media | None = None


class _Said(msgspec.Struct, frozen=True):
    """Of any event, its medium."""

    content: _Content | None = None


_decoder = msgspec.json.Decoder(_Said)


class Files:
    """`of` a delivery, of at most `max_bytes`."""

    def __init__(self, store: ObjectStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._held = 0

    @contextlib.asynccontextmanager
    async def of(self, delivery: Delivery) -> AsyncIterator[str | None]:
        """The file in base64, None when there is none. Raises Retry."""
        media = _media_of(delivery)
        if media is None or not media.object.startswith(delivery.tenant + "/") or media.size > self._max_bytes:
            yield None
            return
        if self._held + media.size > ROOM_BYTES:
            raise Retry(AGAIN_S, "too many files are under way")
        self._held += media.size
        try:
            yield await self._read(media)
        finally:
            self._held -= media.size

    async def _read(self, media: Media) -> str | None:
        try:
            reader = await self._store.open_stream(media.object)
            return base64.b64encode(b"".join([piece async for piece in reader])).decode()
        except StoreUnavailable as error:
            raise Retry(AGAIN_S, str(error)) from error
        except (ObjectNotFound, ObjectDamaged) as error:
            log.warning("file.left_out", object=media.object, error=repr(error))
            return None


def _media_of(delivery: Delivery) -> Media | None:
    try:
        said = _decoder.decode(delivery.event)
    except msgspec.DecodeError:
        return None  # what cannot be read is told where it is translated
    return said.content.media if said.content is not None else None
