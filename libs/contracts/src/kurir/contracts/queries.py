"""Questions to the owner of a device, answered at once or refused: request and reply over core NATS.

A reply is always `Answer | Refused`; nobody there to ask means that no shard owns the partition at the moment.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from kurir.contracts.errors import ErrorCode

Method = Literal["sandbox.scan"]

SANDBOX_SCAN: Method = "sandbox.scan"
"""Confirm the pairing of a sandbox device, as a phone would by scanning its QR code."""


class SandboxScan(Struct, frozen=True, kw_only=True):
    """`phone` is the number that the sandbox device gets, digits with country code; absent picks one."""

    tenant: str
    device: str
    phone: str | None = None


class Answer(Struct, frozen=True, kw_only=True, tag_field="reply", tag="answer"):
    """The body depends on the method; empty when there is nothing to say."""

    body: dict[str, Any] = {}


class Refused(Struct, frozen=True, kw_only=True, tag_field="reply", tag="refused"):
    code: ErrorCode
    detail: str | None = None


Reply = Answer | Refused

_reply_decoder = msgspec.json.Decoder(Reply)


def decode_reply(data: bytes) -> Reply:
    """Decode a reply. Raises msgspec.ValidationError."""
    reply: Reply = _reply_decoder.decode(data)
    return reply
