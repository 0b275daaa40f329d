"""How this API's requests are signed: the hex HMAC-SHA256 of key, timestamp and body, without anything in between.

Two kinds of clients cannot sign the bytes that they send, and are taken all the same. Those that leave the making of a
form to their HTTP library sign the key and the timestamp alone. PHP's HTTP clients write JSON with `\\uXXXX` where the
text that was signed has the letters. Nothing is kept of signatures: a repeat under the same X-REQUEST-ID is signed the
same. Pure.
"""

import hmac
import json
import re
from typing import Final

TOLERANCE_S: Final = 300

_MAX_DIGITS: Final = 12
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+', re.DOTALL)


class Signature:
    """A request's signature, and what it is to be over. Give it the body as it comes, then ask."""

    def __init__(self, secret: str, api_key: str, timestamp: str, signature: str) -> None:
        """`timestamp` and `signature` as they stand in the headers."""
        self._expected = signature.strip().lower().encode()
        self._keyed = hmac.new(secret.encode(), (api_key + timestamp).encode("latin-1", "replace"), "sha256")
        self._body = self._keyed.copy()

    def add(self, piece: bytes) -> None:
        """The next bytes of the body."""
        self._body.update(piece)

    def is_over_the_body(self) -> bool:
        """Whether it is over all that was added."""
        return self._is(self._body)

    def is_over_nothing(self) -> bool:
        """Whether it is over an empty body."""
        return self._is(self._keyed)

    def is_over_php_json(self, body: bytes) -> bool:
        """Whether it is over what PHP's `json_encode(…, JSON_UNESCAPED_UNICODE)` writes where `body` stands."""
        signed = php_json(body)
        if signed is None:
            return False
        keyed = self._keyed.copy()
        keyed.update(signed)
        return self._is(keyed)

    def _is(self, keyed: "hmac.HMAC") -> bool:
        return hmac.compare_digest(keyed.hexdigest().encode(), self._expected)


def is_timely(timestamp: str, now_s: float) -> bool:
    """Whether X-TIMESTAMP is Unix seconds, not more than TOLERANCE_S away from now."""
    is_number = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _MAX_DIGITS
    return is_number and abs(int(timestamp) - now_s) <= TOLERANCE_S


def php_json(body: bytes) -> bytes | None:
    """`body`, which is JSON, as `json_encode(…, JSON_UNESCAPED_UNICODE)` writes it; None for what is no JSON.

    Strings are written anew (`/` as `\\/`, letters as they are, U+2028 and U+2029 escaped, as PHP 7.1 and later do) and
    white space between tokens goes. Numbers and the order of keys stay as they stand: PHP wrote those the same way.
    """
    try:
        text = body.decode()
        json.loads(text)
        return _TOKEN.sub(_as_php, text).encode()
    except (ValueError, RecursionError):  # no UTF-8, no JSON, half of a surrogate pair
        return None


def _as_php(token: re.Match[str]) -> str:
    if not token[0].startswith('"'):
        return ""
    written = json.dumps(json.loads(token[0]), ensure_ascii=False).replace("/", "\\/")
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
