"""The token that an endpoint of Evolution's asks for by the header `jwt_key`: a JWT (RFC 7519) signed with HMAC-SHA256,
good for ten minutes, with the claims that Evolution 2.3 writes. Pure."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

import msgspec

VALID_S: Final = 600

_HEADER: Final = b'{"alg":"HS256","typ":"JWT"}'


def token(key: str, now: datetime) -> str:
    """A token made `now`."""
    issued_at = int(now.timestamp())
    claims = {"iat": issued_at, "exp": issued_at + VALID_S, "app": "evolution", "action": "webhook"}
    signed = _text(_HEADER) + b"." + _text(msgspec.json.encode(claims))
    return (signed + b"." + _text(hmac.digest(key.encode(), signed, hashlib.sha256))).decode()


def _text(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
