"""Requests of this API, JSON or form fields, as orders. Pure.

Numbers are taken as written; what WhatsApp takes for one is judged where the tenant's country is known.
"""

import re
from collections.abc import Mapping

from kurir.contracts.content import Text
from kurir.dialects.baileys_gateway.errors import Failure, wrong_type
from kurir.dialects.baileys_gateway.files import FileType
from kurir.dialects.orders import File, Order

MAX_TEXT = 65_536
MAX_CAPTION = 4096
MAX_PHONE = 64

_FOLDERS = re.compile(r".*[/\\]", re.DOTALL)  # PHP's curl names a file with the path that it was given


def text_order(fields: Mapping[str, object]) -> Order:
    """`POST /api/send-message`. Raises Failure."""
    phone = _phone(fields)
    text = _words(fields, "message", MAX_TEXT)
    if not text:
        raise Failure(400, "Message required")
    return Order(to=phone, content=Text(text=text))


def file_order(files: FileType, fields: Mapping[str, object], file_name: str | None) -> Order:
    """`POST /api/send-image` and its like; `file_name` is the uploaded file's, None when there was no file.

    A caption is read where this kind of file has one, and ignored elsewhere. Raises Failure.
    """
    phone = _phone(fields)
    file_name = file_name and _FOLDERS.sub("", file_name)
    if not file_name:
        raise Failure(400, "File required")
    if not files.takes(file_name):
        raise wrong_type(files)
    caption = _words(fields, "caption", MAX_CAPTION) if files.has_caption else None
    return Order(
        to=phone, file=File(kind=files.kind, file_name=file_name[-255:], caption=caption or None, voice=files.voice)
    )


def _phone(fields: Mapping[str, object]) -> str:
    given = fields.get("phone")
    is_number = isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 10**MAX_PHONE
    phone = str(given) if is_number else given
    if phone is None or phone == "":
        raise Failure(400, "Phone number required")
    if not isinstance(phone, str) or not phone.strip() or len(phone) > MAX_PHONE:
        raise Failure(400, "Invalid phone number")
    return phone


def _words(fields: Mapping[str, object], name: str, most: int) -> str:
    given = fields.get(name)
    if given is None:
        return ""
    if not isinstance(given, str):
        raise Failure(400, f"{name} must be a string")
    if len(given) > most:
        raise Failure(400, f"{name} is longer than {most} characters")
    return given
