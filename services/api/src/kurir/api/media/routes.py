"""`/media/{id}`: the files of messages, for their tenant."""

from urllib.parse import quote

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from kurir.api.auth import Caller
from kurir.api.media.service import MediaStore


@get("/{media_id:str}")
async def download_media(
    media_id: FromPath[str], caller: NamedDependency[Caller], media: NamedDependency[MediaStore]
) -> Stream:
    """The bytes of a file that a message was sent or received with, for seven days."""
    reader = await media.open(caller.tenant.id, media_id)
    headers = {
        "Content-Length": str(reader.info.size),
        # Others chose the bytes: no browser may run them as a page of ours.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(media_id)}",
        "X-Content-Type-Options": "nosniff",
    }
    media_type = reader.info.headers.get("Content-Type", "application/octet-stream")
    return Stream(reader, headers=headers, media_type=media_type)


def router() -> Router:
    return Router("/media", route_handlers=(download_media,), tags=["Messages"])
