"""What this API's clients write as a number, and what it stands for. Pure.

Ids that name their server stay as they are; many digits, or digits with a dash, are a group's. Mexican, Argentine and
Brazilian mobile numbers lose the digit that WhatsApp's own ids do not have, as the original has it.
"""

import re

_SERVERS = ("@g.us", "@s.whatsapp.net", "@lid", "@broadcast")
_DRESS = re.compile(r"[\s+()]")
_BRAZIL = re.compile(r"55([0-9]{2})[0-9]([0-9]{8})")

GROUP_DIGITS = 18
OLD_GROUP_LENGTH = 24  # <creator's number>-<time of creation>


def recipient(number: str) -> str:
    """A JID, or digits that are a phone number; anything else as it stands, for who judges it.

    >>> recipient("+62 (812) 34567890")
    '6281234567890'
    """
    number = number.strip()
    if number.endswith(_SERVERS):
        return number
    bare = _DRESS.sub("", number).partition(":")[0].partition("@")[0]
    if "-" in bare and len(bare) >= OLD_GROUP_LENGTH:
        return re.sub(r"[^0-9-]", "", bare) + "@g.us"
    if len(bare) >= GROUP_DIGITS and bare.isdecimal():
        return bare + "@g.us"
    if bare.isascii() and bare.isdecimal():
        return _without_extra_digit(bare)
    return number.removesuffix("@c.us")


def _without_extra_digit(digits: str) -> str:
    if digits[:2] in ("52", "54") and len(digits) == 13:
        return digits[:2] + digits[3:]
    brazil = _BRAZIL.fullmatch(digits)
    if brazil is not None and int(brazil[1]) >= 31 and int(brazil[2][0]) >= 7:
        return f"55{brazil[1]}{brazil[2]}"
    return digits
