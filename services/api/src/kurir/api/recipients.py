"""From what a caller writes as a recipient to the JID that WhatsApp knows. Pure."""

import re
from functools import lru_cache

import phonenumbers

USER_SERVER = "s.whatsapp.net"

_KEPT = re.compile(r"[0-9]{5,20}@s\.whatsapp\.net|[0-9-]{5,40}@g\.us|[0-9]{5,20}@lid")
_DRESSED_NUMBER = re.compile(r"\+?[0-9 ()./-]{5,40}")
_DRESS = re.compile(r"[ ()./-]")
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
    if _is_plain(text):
        return f"{text}@{USER_SERVER}"
    if "@" in text:
        text = text.removesuffix("@c.us") + "@" + USER_SERVER if text.endswith("@c.us") else text
        if _KEPT.fullmatch(text):
            return text
        raise NotARecipient(text)
    if not _DRESSED_NUMBER.fullmatch(text):
        raise NotARecipient(text)
    return f"{_digits(_DRESS.sub('', text), country)}@{USER_SERVER}"


def _digits(text: str, country: str) -> str:
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
    return digits


def _leading_zeros(number: phonenumbers.PhoneNumber) -> int:
    """Zeros that belong to the number, as in Italy."""
    return (number.number_of_leading_zeros or 1) if number.italian_leading_zero else 0


def _is_plain(text: str) -> bool:
    """Whether these digits with country code are a number as they stand, which most recipients are.

    True only where `_digits` would give the same digits back, at a tenth of its cost.
    """
    if not (text.isascii() and text.isdecimal()) or not 7 <= len(text) <= _MAX_DIGITS:
        return False
    for size in (1, 2, 3):  # calling codes are prefix-free (ITU-T E.164)
        lengths = _lengths_of(text[:size])
        if lengths is not None:
            return text[size] != "0" and len(text) - size in lengths
    return False


@lru_cache(maxsize=2048)
def _lengths_of(calling_code: str) -> frozenset[int] | None:
    """How long numbers after this calling code can be; none where the prefix within the country is not a plain zero;
    None when there is no such calling code."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(calling_code))
    if calling_code.startswith("0") or regions is None:
        return None
    if len(regions) > 1:  # which of them it is depends on the digits
        return frozenset()
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(calling_code), regions[0])
    if metadata is None or metadata.general_desc is None or metadata.national_prefix_for_parsing not in (None, "0"):
        return frozenset()
    return frozenset(metadata.general_desc.possible_length)
