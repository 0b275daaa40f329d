"""Media bytes in the JetStream Object Store (ADR-20), streamed both ways in flat memory.

Objects are what `nats object` and every client library reads and writes: chunks on `$O.<bucket>.C.<nuid>`, then one
description on `$O.<bucket>.M.<name in base64>`. An object exists from the moment its description is confirmed, and its
content never changes under a reader: a new object of the same name has new chunks. Reading checks size and digest
before it gives the last piece, so whoever got everything got it right. Chunks of an upload whose process died
go with the bucket's age limit.
"""

import asyncio
import base64
import contextlib
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import UTC, datetime

import msgspec
import nats.errors
import nats.js.errors
from msgspec import Struct

from kurir.runtime.broker import BrokerUnavailable, Bus, Stored

CHUNK_BYTES = 128 * 1024  # what other clients use; far below the server's largest message
BATCH_CHUNKS = 8  # asked for at a time, 1 MiB; a reader holds two batches
PUBLISH_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0  # longest wait for the next chunk
ASK_AGAIN_S = 0.2
OUTAGE_BRIDGED_S = 10.0  # a server that restarts is back within this; a download may wait so long
REPLICA_LAG_S = 1.0  # a replica may not have a fresh chunk yet; what is missing longer is missing

_DIGEST_TYPE = "SHA-256="


class ObjectNotFound(Exception):
    """There is no object of this name (any more)."""


class ObjectDamaged(Exception):
    """The bytes in the store are not those that were put: chunks are missing, or the digest differs."""


class TooLarge(Exception):
    """The source gave more than `max_bytes`; nothing of it was kept."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"more than {max_bytes} bytes")
        self.max_bytes = max_bytes


class StoreUnavailable(Exception):
    """The store did not answer in time while an object was read or looked up."""


class ObjectInfo(Struct, frozen=True, kw_only=True):
    """What is known of an object. `sha256` in hex, `size` in bytes, `headers` as given by who put it."""

    name: str
    size: int
    sha256: str
    chunks: int
    nuid: str
    headers: dict[str, str] = {}


class _Options(Struct, frozen=True, omit_defaults=True):
    max_chunk_size: int = 0


class _Description(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON of an object's description, as ADR-20 has it."""

    name: str
    bucket: str
    nuid: str
    size: int  # without default, so never left out: some clients wait for ever without it
    chunks: int
    mtime: str = ""
    digest: str = ""
    deleted: bool = False
    headers: dict[str, list[str]] | None = None
    options: _Options | None = None


class ObjectReader:
    """An object that is being read: `info` is known at once, the bytes come by `async for`, once.

    Use it in `contextlib.aclosing` where it may not be read to its end.
    """

    def __init__(self, info: ObjectInfo, pieces: AsyncGenerator[bytes, None]) -> None:
        self.info = info
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        """Stop reading and free what the server keeps for it. Harmless when repeated."""
        await self._pieces.aclose()


class ObjectStore:
    """One bucket. Names are `object_name(tenant, id)`: a caller that checks the tenant cannot reach another's media."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._stream = f"OBJ_{bucket}"

    async def put_stream(
        self,
        name: str,
        source: AsyncIterator[bytes],
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Store what `source` gives, in pieces of any size, and return what it was.

        Raises TooLarge as soon as there is more than `max_bytes`, PublishError or StoreUnavailable for the store, and
        whatever `source` raises; what was stored of it is removed. An object that had the name is replaced.
        """
        replaced = await self._describe(name)
        nuid = uuid.uuid4().hex
        digest = hashlib.sha256()
        size = chunks = 0
        try:
            async for chunk in _rechunked(source, max_bytes):
                digest.update(chunk)
                size += len(chunk)
                chunks += 1
                await self._bus.publish(self._chunks_of(nuid), chunk, timeout_s=PUBLISH_TIMEOUT_S)
        except BaseException:
            await self._purge(nuid)
            raise
        description = _Description(
            name=name,
            bucket=self._bucket,
            nuid=nuid,
            size=size,
            chunks=chunks,
            mtime=datetime.now(UTC).isoformat(),
            digest=_DIGEST_TYPE + base64.urlsafe_b64encode(digest.digest()).decode(),
            headers={key: [value] for key, value in headers.items()} if headers else None,
            options=_Options(max_chunk_size=CHUNK_BYTES),
        )
        # Unconfirmed, it may exist all the same: then its chunks must too, and else they go by age.
        await self._publish_description(description)
        if replaced is not None:
            await self._purge(replaced.nuid)
        return _info(description)

    async def open_stream(self, name: str) -> ObjectReader:
        """Begin to read an object. Raises ObjectNotFound or StoreUnavailable.

        Reading raises ObjectDamaged instead of giving the last piece of something that is not what was put, and
        StoreUnavailable when the store stays silent; a short outage is bridged.
        """
        description = await self._describe(name)
        if description is None:
            raise ObjectNotFound(name)
        info = _info(description)
        return ObjectReader(info, self._read(info))

    async def info(self, name: str) -> ObjectInfo:
        """What is known of an object. Raises ObjectNotFound or StoreUnavailable."""
        description = await self._describe(name)
        if description is None:
            raise ObjectNotFound(name)
        return _info(description)

    async def delete(self, name: str) -> None:
        """Delete an object; readers under way may fail. Raises ObjectNotFound, StoreUnavailable or PublishError."""
        description = await self._describe(name)
        if description is None:
            raise ObjectNotFound(name)
        await self._publish_description(
            _Description(name=name, bucket=self._bucket, nuid=description.nuid, size=0, chunks=0, deleted=True)
        )
        await self._purge(description.nuid)

    async def _read(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        digest = hashlib.sha256()
        size = given = 0
        held_back = b""
        async with contextlib.aclosing(self._chunks(info)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                given += 1
                if given > 1:
                    yield held_back
                held_back = chunk
        if size != info.size or digest.hexdigest() != info.sha256:
            raise ObjectDamaged(f"{info.name}: {size} of {info.size} bytes, or other ones than were put")
        if given:
            yield held_back

    async def _chunks(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        """All chunks in order, one batch being fetched while the one before is used."""
        missing = info.chunks
        ahead = asyncio.create_task(self._batch(info, 1, missing))
        try:
            while missing:
                batch = await ahead
                missing -= len(batch)
                if missing:
                    ahead = asyncio.create_task(self._batch(info, batch[-1].seq + 1, missing))
                for stored in batch:
                    yield stored.data
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _batch(self, info: ObjectInfo, seq: int, missing: int) -> list[Stored]:
        """The next chunks from stream sequence `seq` on: at least one, unless none is missing.

        By direct get, not by a consumer: nothing to create and clean up for each download, nothing for the server
        to run out of, and after an outage the question is simply asked again.
        """
        began = time.monotonic()
        while True:
            try:
                batch = await self._bus.read_from(
                    self._stream,
                    self._chunks_of(info.nuid),
                    seq,
                    min(BATCH_CHUNKS, missing),
                    timeout_s=ANSWER_TIMEOUT_S,
                )
            except BrokerUnavailable as error:
                if time.monotonic() - began > OUTAGE_BRIDGED_S:
                    raise StoreUnavailable(f"{info.name}: {error}") from error
            else:
                if batch or not missing:
                    return batch
                if time.monotonic() - began > REPLICA_LAG_S:
                    raise ObjectDamaged(f"{info.name}: {missing} of {info.chunks} chunks are missing")
            await asyncio.sleep(ASK_AGAIN_S)

    async def _describe(self, name: str) -> _Description | None:
        # Asked of the stream's leader: a replica might not know a fresh object yet.
        try:
            stored = await self._bus.js.get_last_msg(self._stream, self._description_of(name))
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise StoreUnavailable(f"{self._bucket}: {error!r}") from error
        description = msgspec.json.decode(stored.data or b"", type=_Description)
        return None if description.deleted else description

    async def _publish_description(self, description: _Description) -> None:
        await self._bus.publish(
            self._description_of(description.name),
            msgspec.json.encode(description),
            headers={"Nats-Rollup": "sub"},
            timeout_s=PUBLISH_TIMEOUT_S,
        )

    async def _purge(self, nuid: str) -> None:
        """Remove chunks; what cannot be removed now goes by age."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self._bus.js.purge_stream(self._stream, subject=self._chunks_of(nuid))

    def _chunks_of(self, nuid: str) -> str:
        return f"$O.{self._bucket}.C.{nuid}"

    def _description_of(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def object_name(tenant: str, object_id: str) -> str:
    """The name of a tenant's object."""
    return f"{tenant}/{object_id}"


async def _rechunked(source: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    buffer = bytearray()
    total = 0
    async for piece in source:
        total += len(piece)
        if total > max_bytes:
            raise TooLarge(max_bytes)
        buffer += piece
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)


def _info(description: _Description) -> ObjectInfo:
    encoded = description.digest.removeprefix(_DIGEST_TYPE)
    return ObjectInfo(
        name=description.name,
        size=description.size,
        sha256=base64.urlsafe_b64decode(encoded).hex(),
        chunks=description.chunks,
        nuid=description.nuid,
        headers={key: values[0] for key, values in (description.headers or {}).items() if values},
    )
