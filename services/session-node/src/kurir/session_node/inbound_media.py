"""Files of received messages: from WhatsApp into the media store, or the reason why not.

Guarantees: a file that is said to be larger than what is kept is not fetched; what is kept is the file that was sent,
by its SHA-256. Not guaranteed: that a file comes. A message never waits for its file longer than MEDIA_TIMEOUT_S.
"""

import asyncio
from typing import NamedTuple

import msgspec

from kurir.contracts import content as contents
from kurir.contracts import ids
from kurir.contracts.content import Content, Media
from kurir.contracts.states import Reason
from kurir.runtime.broker import PublishError, PublishRefused
from kurir.runtime.objects import ObjectStore, StoreUnavailable, TooLarge, object_name
from kurir.session_node.engines.engine import Attachment, MediaFailed, Received

MEDIA_TIMEOUT_S = 120.0  # a slow download holds what the device receives after it, but not for longer
AGAIN_S = 0.5


class Missing(NamedTuple):
    """Why a file was not kept."""

    reason: Reason
    detail: str


async def keep_media(
    store: ObjectStore, tenant: str, received: Received, max_bytes: int, *, timeout_s: float = MEDIA_TIMEOUT_S
) -> tuple[Content, Missing | None]:
    """The content with its file in the store, or with the file marked missing and the reason why."""
    attachment, described = received.attachment, contents.media_of(received.content)
    if attachment is None or described is None:
        return received.content, None
    try:
        async with asyncio.timeout(timeout_s):
            media, missing = await _kept(store, tenant, attachment, described, max_bytes), None
    except TimeoutError:
        missing = Missing("media_timeout", f"not stored within {timeout_s:.0f} s")
    except TooLarge:
        missing = Missing("media_too_large", f"more than {max_bytes} bytes")
    except MediaFailed as error:
        missing = Missing(error.reason, error.detail)
    except PublishError as error:
        missing = Missing("media_fetch_failed", f"not stored: {error}")
    if missing is not None:
        media = msgspec.structs.replace(described, missing=missing.reason)
    return msgspec.structs.replace(received.content, media=media), missing


async def _kept(store: ObjectStore, tenant: str, attachment: Attachment, described: Media, max_bytes: int) -> Media:
    if max(described.size, attachment.size or 0) > max_bytes:
        raise TooLarge(max_bytes)
    while True:
        try:
            return await _stored(store, tenant, attachment, described, max_bytes)
        except PublishRefused:
            raise
        except (PublishError, StoreUnavailable):
            pass  # nor could the message be told while the bus is away, so its file may as well be waited for
        except MediaFailed as error:
            if error.reason != "device_offline":
                raise
        await asyncio.sleep(AGAIN_S)


async def _stored(store: ObjectStore, tenant: str, attachment: Attachment, described: Media, max_bytes: int) -> Media:
    name = object_name(tenant, ids.short_id("md"))
    info = await store.put_stream(
        name, attachment.chunks(), max_bytes=max_bytes, headers={"Content-Type": attachment.mimetype}
    )
    if described.sha256 and info.sha256 != described.sha256:
        await store.delete(name)
        raise MediaFailed("media_damaged", f"its SHA-256 is {info.sha256}")
    return msgspec.structs.replace(described, object=name, size=info.size, sha256=info.sha256)
