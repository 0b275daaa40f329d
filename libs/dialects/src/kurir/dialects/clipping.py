"""Cutting a payload down to a size, the longest texts and lists first."""

from collections.abc import Callable
from typing import Any

from kurir.dialects import javascript

_LIMITS = ((16_000, 1_000), (4_000, 250), (1_000, 50), (200, 10))
"""Characters of a text and items of a list that stay, step by step. The last step fits: a payload has a fixed set of
some thirty fields beside its lists."""


def encode_clipped(
    payload: dict[str, Any], max_bytes: int, encode: Callable[[Any], bytes] = javascript.encode
) -> bytes:
    """Encode `payload`, shortened as little as needed to fit `max_bytes`; then it says `"truncated":true` at its end.

    `encode` may be `javascript.encode_settled` when the payload allows it. Raises ValueError when even the shortest
    form is too large.
    """
    body = encode(payload)
    if len(body) <= max_bytes:
        return body
    for text_limit, list_limit in _LIMITS:
        body = encode({**_clip(payload, text_limit, list_limit), "truncated": True})
        if len(body) <= max_bytes:
            return body
    raise ValueError(f"a payload of {len(body)} bytes cannot be cut to {max_bytes}")


def _clip(value: Any, text_limit: int, list_limit: int) -> Any:
    if isinstance(value, str):
        return value[:text_limit]
    if isinstance(value, dict):
        return {key: _clip(item, text_limit, list_limit) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clip(item, text_limit, list_limit) for item in value[:list_limit]]
    return value
