"""Kurir's own webhook body: `{"type", "timestamp", "data"}`, as Standard Webhooks recommends.

`data` is the event as it stands in the event stream, `timestamp` its time in RFC 3339.
"""

from typing import Any

import msgspec

from kurir.dialects.clipping import encode_clipped
from kurir.dialects.dialect import MAX_BODY_BYTES, Context, Payload

_decoder = msgspec.json.Decoder(dict[str, Any])


def payload(type_: str, event: bytes | msgspec.Raw, context: Context, told_as: str | None = None) -> Payload:
    """See `dialect.PayloadShape`; media are named by their object, as in the stream, so `context` is not asked."""
    data = _decoder.decode(event)
    return Payload(type_, encode_clipped({"type": type_, "timestamp": data.get("at"), "data": data}, MAX_BODY_BYTES))
