"""The whole numbers by which clients of this API know messages. Pure.

A message that is accepted through this API has a message id that holds its number: whoever sees the id, e.g. in a
status event, knows the number without looking anything up. The other way round takes the time that is in the id too:
who gives out numbers keeps it, for a block of them at once.

A received message's number is the beginning of its id's digest, so it is told by all who see the message.
"""

from typing import Final

from kurir.contracts import ids

BLOCK: Final = 16
"""Numbers that are given out together and share one moment."""

MAX_NUMBER: Final = 2**40 - 1

_MARK: Final = 0x2A5F1C  # 22 bits before the number; with the check below, one random id in 10^10 looks like ours
_CHECK: Final = 0x9D3
_INBOX_DIGITS: Final = 13  # 52 bits: JavaScript keeps whole numbers below 2^53


def message_id(number: int, at_ms: int) -> str:
    """The id of the message with this number, from 1 to MAX_NUMBER, whose block was taken at `at_ms`: a UUIDv7."""
    assert 0 < number <= MAX_NUMBER, "there is no such number"
    value = (at_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | _check(number) << 64 | 0b10 << 62 | _MARK << 40 | number
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def number_of(identifier: str) -> int | None:
    """The number that a message id holds; None for an id that was made elsewhere."""
    if len(identifier) != 36 or ids.created_at_ms(identifier) is None:
        return None
    value = int(identifier.replace("-", ""), 16)
    number = value & MAX_NUMBER
    is_ours = value >> 40 & 0x3F_FFFF == _MARK and value >> 64 & 0xFFF == _check(number)
    return number if is_ours and number else None


def inbox_number(identifier: str) -> int | None:
    """The number of a received message by its id; None for what is no received message's id."""
    return int(identifier[2 : 2 + _INBOX_DIGITS], 16) if ids.is_inbound_message_id(identifier) else None


def inbox_beginning(number: int) -> str | None:
    """What the id of the received message with this number begins with; None for what can be no such number."""
    return f"in{number:0{_INBOX_DIGITS}x}" if 0 <= number < 16**_INBOX_DIGITS else None


def _check(number: int) -> int:
    return (number ^ number >> 12 ^ number >> 24 ^ _CHECK) & 0xFFF
