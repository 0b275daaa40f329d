"""Files on their way into the media store: streamed, sniffed and counted, never whole in memory."""

import contextlib
from collections.abc import AsyncIterator

import magic

from kurir.api.media.kinds import LIMITS, MAX_BYTES, MediaKind, mimetype_for, too_large, usual_kind
from kurir.api.problems import Problem
from kurir.api.urls import checked_url
from kurir.contracts import ids
from kurir.contracts.content import Media
from kurir.runtime import logs
from kurir.runtime.broker import PublishError
from kurir.runtime.egress import Egress, TooLarge, TransportFailure
from kurir.runtime.objects import (
    ObjectInfo,
    ObjectNotFound,
    ObjectReader,
    ObjectStore,
    StoreUnavailable,
    object_name,
)
from kurir.runtime.objects import TooLarge as StoreTooLarge

SNIFFED_BYTES = 8192  # libmagic knows every type we take by less
DOWNLOAD_DEADLINE_S = 60.0

log = logs.get("kurir.api.media")


class StoredFile:
    """A file in the store whose kind is not decided yet."""

    def __init__(self, info: ObjectInfo, sniffed: str, file_name: str | None) -> None:
        self.info = info
        self._sniffed = sniffed
        self.file_name = file_name
        """As the upload or the URL names it."""
        self.is_sent = False
        """A message refers to it: whatever becomes of the request, it stays."""

    @property
    def usual_kind(self) -> MediaKind:
        """What it is sent as when nobody says."""
        return usual_kind(self._sniffed)

    @property
    def document_type(self) -> str:
        """The type that it is sent as when it is sent as a document, whatever it is."""
        return mimetype_for("document", self._sniffed, self.file_name, any_type=True)

    def as_kind(self, kind: MediaKind, file_name: str | None, *, field: str, any_type: bool = False) -> Media:
        """The file as what it is to be sent as; with `any_type` everything is a document.

        Raises Problem: too large, or of a type that cannot be sent so.
        """
        if self.info.size > LIMITS[kind]:
            raise too_large(kind, field=field)
        name = file_name or self.file_name
        return Media(
            object=self.info.name,
            mimetype=mimetype_for(kind, self._sniffed, name, any_type=any_type),
            size=self.info.size,
            sha256=self.info.sha256,
            file_name=name,
        )


class MediaStore:
    def __init__(self, objects: ObjectStore, egress: Egress) -> None:
        self._objects = objects
        self._egress = egress

    async def keep(
        self, tenant: str, source: AsyncIterator[bytes], *, kind: MediaKind | None, file_name: str | None, field: str
    ) -> StoredFile:
        """Store what `source` gives; `kind`, where it is known already, sets the limit and is checked at once.

        Raises Problem (nothing stays), PublishError, or what `source` raises.
        """
        head, whole = await _peeked(source)
        if not head:
            raise Problem("VALIDATION_ERROR", "The file is empty.", field=field)
        sniffed = magic.from_buffer(head, mime=True)
        if kind is not None:
            mimetype_for(kind, sniffed, file_name)
        limit = LIMITS[kind] if kind is not None else MAX_BYTES
        name = object_name(tenant, ids.uuid7())
        try:
            info = await self._objects.put_stream(name, whole, max_bytes=limit, headers={"Content-Type": sniffed})
        except StoreTooLarge:
            raise too_large(kind, field=field) from None
        return StoredFile(info, sniffed, file_name)

    async def fetch(self, tenant: str, url: str, *, kind: MediaKind | None, file_name: str | None) -> StoredFile:
        """Download into the store; `kind` as for `keep`. Raises Problem URL_NOT_ALLOWED or MEDIA_FETCH_FAILED, and as
        `keep` does."""
        url = await checked_url(url, self._egress.policy.guard)
        max_bytes = LIMITS[kind] if kind is not None else MAX_BYTES
        try:
            async with self._egress.download(url, deadline_s=DOWNLOAD_DEADLINE_S, max_bytes=max_bytes) as download:
                if download.status != 200:
                    raise Problem("MEDIA_FETCH_FAILED", f"The URL answered {download.status}.", field="url")
                return await self.keep(
                    tenant, aiter(download), kind=kind, file_name=file_name or _name_in(download.url), field="url"
                )
        except TooLarge:
            raise too_large(kind, field="url") from None
        except TransportFailure as failure:
            if failure.kind == "guard":
                raise Problem("URL_NOT_ALLOWED", field="url") from None
            raise Problem("MEDIA_FETCH_FAILED", f"The URL could not be fetched: {failure}.", field="url") from None

    async def forget(self, file: StoredFile) -> None:
        """Delete a file that no message refers to. What cannot be deleted now goes by age."""
        with contextlib.suppress(ObjectNotFound, StoreUnavailable, PublishError):
            await self._objects.delete(file.info.name)

    async def open(self, tenant: str, media_id: str) -> ObjectReader:
        """A tenant's file. Raises Problem NOT_FOUND, or StoreUnavailable."""
        try:
            return await self._objects.open_stream(object_name(tenant, media_id))
        except ObjectNotFound:
            raise Problem("NOT_FOUND", "There is no such file, or it is too old.") from None


async def _peeked(source: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes of `source`, and an iterator of all of it."""
    head = bytearray()
    async for piece in source:
        head += piece
        if len(head) >= SNIFFED_BYTES:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield bytes(head)
        async for piece in source:
            yield piece

    return bytes(head[:SNIFFED_BYTES]), whole()


def _name_in(url: str) -> str | None:
    name = url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    return name[-255:] if "." in name else None
