"""Pictures of the account and of groups, as clients write them: by URL, or in base64, bare or as a data URL. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.file_requests import base64_in, is_url

MAX_BASE64: Final = 32 * 1024 * 1024  # what a picture may have is told by who stores it
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class Picture(Struct, frozen=True, kw_only=True):
    """By `url`, or as `data` in base64."""

    url: str | None = None
    data: str | None = None


def picture(values: Mapping[str, Any], name: str) -> Picture:
    """`image` of a group, `picture` of the account. Raises Invalid."""
    fields = Fields(values)
    fields.require(name)
    found = picture_in(fields, name)
    fields.check()
    return found


def picture_in(fields: Fields, name: str) -> Picture:
    """What is wrong is noted in `fields`."""
    text = fields.text(name, min_length=1, max_length=MAX_BASE64)
    if is_url(text):
        return Picture(url=text)
    data = base64_in(text)
    if text and (len(data) % 4 or not _BASE64.fullmatch(data)):
        fields.findings.append(f'"{name}" must be a url or a base64')
    return Picture(data=data)
