"""What a caller notes of a message: an object of its own that is kept and told with the message, never sent. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

MAX_BYTES: Final = 16_384  # it travels with the message's events, and a webhook's body has 100 kB
MAX_DEPTH: Final = 16


def fault(metadata: Mapping[str, Any]) -> str | None:
    """What is wrong with it, to stand behind a word for it: "is larger than …"; None when nothing is."""
    if _is_deeper(metadata, MAX_DEPTH):
        return f"is nested deeper than {MAX_DEPTH}"
    if len(msgspec.json.encode(metadata)) > MAX_BYTES:
        return f"is larger than {MAX_BYTES} bytes"
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)
