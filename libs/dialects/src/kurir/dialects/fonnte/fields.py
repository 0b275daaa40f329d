"""The values of a request, which may come as JSON or as the text of a form, and numbers as either. Pure.

What is absent and what is empty is the same.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from kurir.dialects.fonnte.errors import Refused, invalid

MAX_TARGETS: Final = 1000
MAX_VALUE: Final = 64 * 1024  # characters, unless a value has a limit of its own

ROTATOR: Final = "rotator#"
"""Before the name of several numbers, of which one is to be chosen."""

_CODE = re.compile(r"[0-9]{1,4}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_TRUE = frozenset({"true", "1", "on", "yes"})
_FALSE = frozenset({"false", "0", "off", "no", ""})


def text(fields: Mapping[str, Any], name: str, most: int = MAX_VALUE) -> str | None:
    """A text, or a number as text; None when it is absent or empty. Raises Refused."""
    given = fields.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise invalid(name, "a text is needed.")
    if isinstance(given, int) and abs(given) >= 10**18:
        raise invalid(name, "this number is too large.")
    value = str(given).strip() if name != "message" else str(given)
    if len(value) > most:
        raise invalid(name, f"at most {most} characters.")
    return value if value.strip() else None


def whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number; None when it is absent or empty. Raises Refused."""
    given = text(fields, name)
    if given is None:
        return None
    if not _WHOLE.fullmatch(given) or not least <= int(given) <= most:
        raise invalid(name, f"a whole number from {least} to {most} is needed.")
    return int(given)


def flag(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    """true or false, also as text. Raises Refused."""
    given = fields.get(name)
    word = str(given).strip().lower() if isinstance(given, str | bool | int) else None
    if given is None or word == "":
        return default
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise invalid(name, "true or false is needed.")


def number(written: str, country_code: str | None, field: str = "target") -> str:
    """A number with its leading zero replaced by the country code; JIDs and others as they are. Raises Refused.

    Without a `country_code` a leading zero stays for who knows the tenant's country; with "0" it may not be there.
    """
    plain = written.strip()
    if plain.lower().startswith(ROTATOR):
        return ROTATOR + plain[len(ROTATOR) :]
    if country_code is None or "@" in plain or not plain.startswith("0") or plain.startswith("00"):
        return plain
    if country_code == "0":
        raise Refused(400, "target invalid", f"{field}: {plain} has no country code, and countryCode is 0.")
    return country_code + plain[1:]


def country_code_of(fields: Mapping[str, Any]) -> str | None:
    """Raises Refused."""
    code = text(fields, "countryCode")
    if code is not None and not _CODE.fullmatch(code.lstrip("+")):
        raise invalid("countryCode", "give digits, or 0 for none.")
    return code.lstrip("+") if code else None


def numbers_of(fields: Mapping[str, Any], name: str = "target") -> list[str]:
    """The numbers of a list with commas between them. Raises Refused."""
    code = country_code_of(fields)
    found = [number(one, code) for one in (text(fields, name) or "").split(",") if one.strip()]
    if not found:
        raise Refused(400, "target invalid", f"{name}: a number is needed.")
    if len(found) > MAX_TARGETS:
        raise too_many()
    return found


def too_many() -> Refused:
    return invalid("target", f"at most {MAX_TARGETS} targets in one request.")
