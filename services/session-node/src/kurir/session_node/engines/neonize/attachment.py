"""Media of a received message; the library fetches and decrypts it whole, in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from kurir.session_node.engines.engine import MediaFailed
from kurir.session_node.engines.neonize.sending import MAX_MEDIA_BYTES, Transfers

CHUNK_BYTES = 256 * 1024


class NeonizeAttachment:
    """`message` is the protobuf with the media; `fetch` gives the bytes of a serialized one, or raises MediaFailed."""

    def __init__(self, message: Any, fetch: Callable[[bytes], Awaitable[bytes]], transfers: Transfers) -> None:
        field, part = next((field, part) for field, part in message.ListFields() if hasattr(part, "fileEncSHA256"))
        self._fetch = fetch
        self._transfers = transfers
        self._message: bytes = message.SerializeToString()
        self.mimetype: str = part.mimetype
        self.size: int | None = part.fileLength or None
        self.file_name: str | None = part.fileName or None if field.name == "documentMessage" else None

    async def chunks(self) -> AsyncIterator[bytes]:
        if (self.size or 0) > MAX_MEDIA_BYTES:
            raise MediaFailed("media_too_large", f"{self.size} bytes are more than {MAX_MEDIA_BYTES}")
        async with self._transfers.room(self.size or MAX_MEDIA_BYTES):
            data = await self._fetch(self._message)
            for start in range(0, len(data), CHUNK_BYTES):
                yield data[start : start + CHUNK_BYTES]
