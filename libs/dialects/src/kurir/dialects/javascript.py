"""JSON bytes that come out of JavaScript's `JSON.stringify(JSON.parse(bytes))` unchanged.

Receivers that verify a signature over `JSON.stringify(req.body)` need this. Guaranteed for whatever `encode` writes;
bytes made elsewhere are not checked. Number formatting follows ECMA-262, Number::toString; key order follows
ECMA-262, OrdinaryOwnPropertyKeys (integer-like keys first).
"""

import math
from typing import Any

import msgspec

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that a JavaScript number holds together with its neighbours (Number.MAX_SAFE_INTEGER)."""

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Encode built-in types (dict, list, tuple, str, int, float, bool, None, msgspec.Raw) compactly, as UTF-8.

    Integers beyond MAX_SAFE_INTEGER become strings, NaN and infinities null, and keys that JavaScript would move or
    swallow (`7`, `__proto__`) get a leading underscore. `msgspec.Raw` is trusted to hold such bytes already.
    Raises UnicodeEncodeError for a lone surrogate.
    """
    return _encoder.encode(_settled(value))


encode_settled = _encoder.encode
"""`encode` for values that are known to hold no float (`number` makes a fit one), no large integer and no such key: ten
times as fast."""


def number(value: float) -> msgspec.Raw | None:
    """A float as JavaScript writes it: `106` for 106.0, `1e-7`, `1e+21`; None where JavaScript says null."""
    return msgspec.Raw(_text_of(value).encode()) if math.isfinite(value) else None


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_settled_key(key): _settled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_settled(item) for item in value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int) and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return str(value)
    return value


def _settled_key(key: str) -> str:
    return "_" + key if (key.isascii() and key.isdigit()) or key == "__proto__" else key


def _text_of(value: float) -> str:
    text = repr(value)  # the shortest digits that read back as the same float, which is what ECMA-262 asks for
    if "e" not in text:
        text = text.removesuffix(".0")
        return "0" if text == "-0" else text
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    point = len(whole) + int(exponent)  # the value is 0.<digits> times ten to this power
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
