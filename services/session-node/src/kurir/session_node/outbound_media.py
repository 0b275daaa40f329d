"""Files of messages and pictures, as engines read them: from the media store, in pieces.

A file that is gone is gone; a store that is away while a file is read is asked again later.
"""

from collections.abc import AsyncIterator

from kurir.contracts.content import Media
from kurir.runtime.objects import ObjectDamaged, ObjectNotFound, ObjectStore, StoreUnavailable
from kurir.session_node.engines.engine import MediaFailed

STORE_AWAY_S = 1.0


class StoredMedia:
    """One file."""

    def __init__(self, store: ObjectStore, media: Media) -> None:
        self._store = store
        self.media = media

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises MediaFailed when they are gone or cannot be read now."""
        try:
            reader = await self._store.open_stream(self.media.object)
            async for piece in reader:
                yield piece
        except (ObjectNotFound, ObjectDamaged) as error:
            raise MediaFailed("media_missing", str(error)) from error
        except StoreUnavailable as error:
            raise MediaFailed("media_fetch_failed", f"the media store is away: {error}", STORE_AWAY_S) from error
