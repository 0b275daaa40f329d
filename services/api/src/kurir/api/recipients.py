"""From what a caller writes as a recipient to the JID that WhatsApp knows. Pure."""

import re
from functools import lru_cache

import phonenumbers

USER_SERVER = "s.whatsapp.net"

_KEPT = re.compile(r"[0-9]{5,20}@s\.whatsapp\.net|[0-9-]{5,40}@g\.us|[0-9]{5,20}@lid")
_DRESSED_NUMBER = re.compile(r"\+?[0-9 ()./-]{5,40}")
_MAX_DIGITS = 15  # of a number with country code (ITU-T E.164)


class NotARecipient(ValueError):
    """The text is neither a phone number nor an id of WhatsApp."""


@lru_cache(maxsize=65_536)
def jid_of(text: str, country: str) -> str:
    """The JID of a phone number (`08…`, `+62…`, `62…`, with spaces and brackets) or of an id that is one already.

    `country` is the ISO code under which a number with a leading zero is read. Whether the number exists is for
    WhatsApp to say: only its length is checked. Raises NotARecipient.
    """
    text = text.strip()
    if "@" in text:
        text = text.removesuffix("@c.us") + "@" + USER_SERVER if text.endswith("@c.us") else text
        if _KEPT.fullmatch(text):
            return text
        raise NotARecipient(text)
    if not _DRESSED_NUMBER.fullmatch(text):
        raise NotARecipient(text)
    if text.startswith("00"):
        text = "+" + text[2:]
    elif not text.startswith(("0", "+")):
        text = "+" + text
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        raise NotARecipient(text) from error
    digits = f"{number.country_code}{'0' * _leading_zeros(number)}{number.national_number}"
    if not phonenumbers.is_possible_number(number) or len(digits) > _MAX_DIGITS:
        raise NotARecipient(text)
    return f"{digits}@{USER_SERVER}"


def _leading_zeros(number: phonenumbers.PhoneNumber) -> int:
    """Zeros that belong to the number, as in Italy."""
    return (number.number_of_leading_zeros or 1) if number.italian_leading_zero else 0
