"""Pictures of accounts and groups on their way to a device: by the media store, where no message keeps them.

A picture that was set is deleted again; every other one goes by its age.
"""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from msgspec import Meta, Struct

from kurir.api.media.kinds import LIMITS
from kurir.api.media.service import MediaStore
from kurir.api.problems import Problem
from kurir.contracts.content import Media

MAX_BODY_BYTES = LIMITS["image"] * 4 // 3 + 4096
"""Of a request with a picture in base64: what the media store takes, and the JSON around it."""


class NewPicture(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A JPEG, PNG, GIF or WebP of up to 16 MB, by `url` or as `data` in base64. What is not square is cut to its
    middle."""

    url: Annotated[str, Meta(min_length=8, max_length=2048)] | None = None
    data: Annotated[str, Meta(min_length=1)] | None = None


@asynccontextmanager
async def picture_in(media: MediaStore, tenant: str, new: NewPicture) -> AsyncIterator[Media]:
    """The picture in the media store, for the time of the block.

    Raises Problem about `url` or `data`, or PublishError.
    """
    if (new.url is None) == (new.data is None):
        raise Problem("VALIDATION_ERROR", "Give the picture by url, or as data.", field="url")
    if new.url is not None:
        stored = await media.fetch(tenant, new.url, kind="image", file_name=None)
    else:
        stored = await media.keep(tenant, _bytes_of(new.data or ""), kind="image", file_name=None, field="data")
    yield stored.as_kind("image", None, field="data")
    await media.forget(stored)


async def _bytes_of(data: str) -> AsyncIterator[bytes]:
    try:
        yield base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("VALIDATION_ERROR", "This is no base64.", field="data") from None
