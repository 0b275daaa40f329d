"""Webhook bodies come out of JavaScript's parse and stringify unchanged, as receivers need that verify a signature
over `JSON.stringify(req.body)`.

The rules are checked against ECMA-262's own examples and limits, and against `node`.
"""

import json
import random
import struct
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest

from kurir.dialects import javascript
from tests.support.receiver_program import runtime

# Number::toString of ECMA-262: the turning points between its notations, and the ends of the range.
NUMBERS = [
    (0.0, "0"),
    (-0.0, "0"),
    (106.0, "106"),
    (-6.2, "-6.2"),
    (106.8456, "106.8456"),
    (0.1, "0.1"),
    (1e-6, "0.000001"),
    (1.5e-5, "0.000015"),
    (-1.25e-7, "-1.25e-7"),
    (1e-7, "1e-7"),
    (1e15, "1000000000000000"),
    (1e16, "10000000000000000"),
    (123456789012345680.0, "123456789012345680"),
    (1e20, "100000000000000000000"),
    (1.5e20, "150000000000000000000"),
    (1e21, "1e+21"),
    (1.5e300, "1.5e+300"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
]


def through_node(bodies: Iterable[bytes]) -> list[bytes]:
    """Each body parsed and stringified by node. No body may hold a line end."""
    script = (
        'const b = require("fs").readFileSync(0, "utf8").split("\\n").slice(0, -1);'
        'process.stdout.write(b.map(x => JSON.stringify(JSON.parse(x)) + "\\n").join(""))'
    )
    lines = b"".join(body + b"\n" for body in bodies)
    ran = subprocess.run([runtime("node"), "-e", script], input=lines, capture_output=True, timeout=60, check=True)
    return ran.stdout.split(b"\n")[:-1]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_a_float_is_written_as_javascript_writes_it(value: float, text: str) -> None:
    assert javascript.encode(value) == text.encode()
    assert json.loads(text) == value


def test_what_is_no_number_in_json_is_null() -> None:
    assert javascript.encode([float("nan"), float("inf"), -float("inf")]) == b"[null,null,null]"


def test_integers_that_javascript_cannot_hold_are_texts() -> None:
    assert javascript.encode([2**53 - 1, -(2**53 - 1), 2**53, True]) == (
        b'[9007199254740991,-9007199254740991,"9007199254740992",true]'
    )


def test_keys_that_javascript_would_move_or_swallow_are_renamed() -> None:
    assert javascript.encode({"b": 1, "7": 2, "__proto__": 3}) == b'{"b":1,"_7":2,"___proto__":3}'


def test_texts_are_utf_8_without_needless_escapes() -> None:
    assert javascript.encode("é😀/\u2028\x7f") == '"é😀/\u2028\x7f"'.encode()
    assert javascript.encode('\x00\x1f\b\f\n\r\t"\\') == b'"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\"'


def test_a_lone_surrogate_cannot_leave() -> None:
    with pytest.raises(UnicodeEncodeError):
        javascript.encode("\ud800")


def test_node_agrees() -> None:
    chance = random.Random(7)
    values: list[Any] = [value for value, _ in NUMBERS]
    values += [struct.unpack("<d", struct.pack("<Q", chance.getrandbits(64)))[0] for _ in range(20_000)]
    values += [round(chance.uniform(-180, 180), chance.randrange(16)) for _ in range(20_000)]
    values += [chance.getrandbits(chance.randrange(1, 70)) for _ in range(2_000)]
    values += [
        "".join(chr(chance.choice((chance.randrange(0xD800), chance.randrange(0xE000, 0x11000)))) for _ in "abcde")
    ]
    values += [{str(chance.randrange(50)): index, "a": 1.0, "__proto__": {"3": 4}} for index in range(50)]
    bodies = [javascript.encode(value) for value in values]
    assert through_node(bodies) == bodies
