"""`POST /message/sendStatus`: v1's `statusMessage` and v2's flat body, to a status update. Pure.

With `allContacts` the account's settings say who sees it, else those in `statusJidList` and nobody else.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from kurir.contracts.content import STATUS, Style, Text
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.file_requests import named_file
from kurir.dialects.evolution.numbers import recipient
from kurir.dialects.evolution.requests import MAX_CAPTION, MAX_TEXT, Send, inner
from kurir.dialects.orders import FileKind, Order

_FILES: Final = ("image", "video", "audio")
_COLOUR = re.compile(r"#?(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})")
_NOT_NUMBERS = '"statusJidList" must be an array of numeric strings'


def send_status(values: Mapping[str, Any], *, has_file: bool = False) -> Send:
    """`has_file`: the form holds the file. Raises Invalid or Refused."""
    fields = Fields(values)
    body, version = inner(fields, "statusMessage")
    kind = body.text("type", allowed=("text", *_FILES))
    body.require("type", *(() if has_file and kind in _FILES else ("content",)))
    caption = body.optional("caption", max_length=MAX_CAPTION)
    viewers = body.texts("statusJidList", least=1, max_length=64, says=_NOT_NUMBERS)
    is_for_all = body.flag("allContacts")
    style = _style(body)
    content, file = None, None
    if kind == "text":
        words = body.text("content", "?", min_length=1, max_length=MAX_TEXT)
        content = Text(text=words, style=style)
    elif kind:
        file = named_file(
            fields,
            cast(FileKind, kind),
            body.raw("content"),
            has_file=has_file,
            caption=caption if kind != "audio" else None,
            voice=kind == "audio",
        )
    fields.check()
    if not viewers and not is_for_all:
        raise Refused("StatusJidList is required")
    if kind == "text" and not body.has("backgroundColor"):
        raise Refused("Background color is required")
    if kind == "text" and not style.font:
        raise Refused("Font is required")
    audience = () if is_for_all else tuple(dict.fromkeys(recipient(one) for one in viewers))
    return Send(order=Order(to=STATUS, content=content, file=file, audience=audience), number=STATUS, version=version)


def _style(body: Fields) -> Style:
    """A colour is `#RRGGBB`, with or without its sign and its opacity."""
    colour = _COLOUR.fullmatch(body.text("backgroundColor", "#000000", max_length=16).strip())
    if colour is None:
        body.find("backgroundColor", "is not a color")
    return Style(background=f"#{colour[1] if colour is not None else '000000'}", font=body.whole("font", most=5))
