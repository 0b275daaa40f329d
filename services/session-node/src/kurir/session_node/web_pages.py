"""Pages and pictures that links of tenants lead to, read through the guard of addresses and in part only.

Guarantees: no address inside is reached, whatever a link names or a page redirects to; of a page PAGE_BYTES are read,
of a picture PICTURE_BYTES. Imported when the first preview is asked for: curl takes 6 MB.
"""

import asyncio
import io
import re

import structlog

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Download, Egress, EgressPolicy, TransportFailure
from kurir.session_node.open_graph import PageDescription, described

log = structlog.get_logger(__name__)

PAGE_BYTES = 256 * 1024  # what describes a page stands at its beginning
PICTURE_BYTES = 2 * 1024 * 1024
ANY_BYTES = 1 << 40  # a longer page is not refused, only not read on
AT_ONCE = 100  # of one process
PICTURE_SIDE = 192
MAX_PIXELS = 50_000_000  # a small file can unpack to gigabytes
PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", ""})
_CHARSET = re.compile(r"charset=[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


class WebPages:
    """On one event loop; `allowed` are networks that may be reached though they are not public."""

    def __init__(self, allowed: tuple[str, ...] = (), *, proxy: str = "", ca_file: str | None = None) -> None:
        self._egress = Egress(
            EgressPolicy(
                guard=AddressGuard.parse(allowed),
                proxy=proxy,
                ca_file=ca_file,
                max_in_flight=AT_ONCE,
                idle_connections=AT_ONCE,
            )
        )

    async def describe(self, url: str, deadline_s: float) -> PageDescription | None:
        """What the page says about itself; None when it cannot be read or says nothing."""
        try:
            async with self._egress.download(
                url, deadline_s=deadline_s, max_bytes=ANY_BYTES, headers=(("Accept", "text/html"),)
            ) as download:
                if download.status != 200 or download.content_type not in PAGE_TYPES:
                    return None
                page, where = await _beginning(download), download.url
                charset = _CHARSET.search(download.headers.get("content-type", ""))
        except TransportFailure as failure:
            log.debug("web_pages.page_not_read", error=str(failure))
            return None
        return await asyncio.to_thread(described, page, where, charset.group(1) if charset else None)

    async def thumbnail(self, url: str, deadline_s: float) -> bytes | None:
        """The picture as a small JPEG; None when it cannot be read."""
        try:
            async with self._egress.download(url, deadline_s=deadline_s, max_bytes=PICTURE_BYTES) as download:
                if download.status != 200:
                    return None
                data = b"".join([chunk async for chunk in download])
        except TransportFailure as failure:
            log.debug("web_pages.picture_not_read", error=str(failure))
            return None
        return await asyncio.to_thread(small, data)

    async def close(self) -> None:
        """End what is being read."""
        await self._egress.close()


async def _beginning(download: Download) -> bytes:
    read = bytearray()
    async for chunk in download:
        read += chunk
        if len(read) >= PAGE_BYTES:
            break
    return bytes(read[:PAGE_BYTES])


def small(data: bytes) -> bytes | None:
    """A JPEG of at most PICTURE_SIDE pixels each way; None for what is no picture that can be read."""
    from PIL import Image as Picture

    try:
        picture = Picture.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            return None
        picture.draft("RGB", (PICTURE_SIDE * 2, PICTURE_SIDE * 2))
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        file = io.BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=70)
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        log.debug("web_pages.no_picture", error=str(error))
        return None
    return file.getvalue()
