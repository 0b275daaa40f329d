"""Reading a body field by field, as the original's JSON schemas do: every finding is collected, in their words.

A value that is wrong reads as if it were absent; `check` then tells all findings at once. Null is absent. Numbers and
booleans may be written as text, because forms hold nothing else.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_FLAGS = {"true": True, "false": False}


class Invalid(Exception):
    """What is wrong with a body: one message for each finding."""

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        super().__init__("; ".join(messages))


class Fields:
    """The fields of one object of a body. `path` is where it stands, `findings` are shared with what it stands in."""

    def __init__(self, values: Mapping[str, Any], path: str = "", findings: list[str] | None = None) -> None:
        self._values = values
        self._path = path
        self.findings: list[str] = [] if findings is None else findings

    def check(self) -> None:
        """Raise Invalid if anything that was read was wrong."""
        if self.findings:
            raise Invalid(*dict.fromkeys(self.findings))

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def require(self, *names: str) -> None:
        for name in names:
            if not self.has(name):
                self.findings.append(f'{self._path or "instance"} requires property "{name}"')

    def raw(self, name: str) -> Any:
        return self._values.get(name)

    def find(self, name: str, finding: str) -> None:
        """Note what is wrong with a field: `finding` follows its path."""
        self.findings.append(f"{self._at(name)} {finding}")

    def text(
        self,
        name: str,
        default: str = "",
        *,
        allowed: Sequence[str] = (),
        min_length: int = 0,
        max_length: int = 4096,
        says: str | None = None,
    ) -> str:
        """`says` is what is told instead of the schema's own words."""
        value = self._values.get(name)
        if value is None:
            return default
        finding = None
        if not isinstance(value, str):
            finding = "is not of a type(s) string"
        elif allowed and value not in allowed:
            finding = f"is not one of enum values: {','.join(allowed)}"
        elif len(value) < min_length and min_length == 1:
            says = says or f'The "{name}" cannot be empty'
            finding = ""
        elif len(value) < min_length:
            finding = f"does not meet minimum length of {min_length}"
        elif len(value) > max_length:
            finding = f"does not meet maximum length of {max_length}"
        elif not value.isascii() and not _is_unicode(value):
            finding = "is not a text of Unicode characters"
        if finding is None:
            return str(value)
        self.findings.append(says) if says is not None else self.find(name, finding)
        return default

    def optional(self, name: str, *, max_length: int = 4096) -> str | None:
        """A text, or None where it is absent or empty."""
        return self.text(name, max_length=max_length) or None

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._values.get(name)
        if isinstance(value, str):
            value = _FLAGS.get(value.lower(), value)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.find(name, "is not of a type(s) boolean")
            return default
        return value

    def whole(
        self, name: str, default: int = 0, *, least: int = 0, most: int = 2**31 - 1, allowed: Sequence[int] = ()
    ) -> int:
        value = self._values.get(name)
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.find(name, "is not of a type(s) integer")
        elif value < least:
            self.find(name, f"must be greater than or equal to {least}")
        elif value > most:
            self.find(name, f"must be less than or equal to {most}")
        elif allowed and value not in allowed:
            self.find(name, f"is not one of enum values: {','.join(map(str, allowed))}")
        else:
            return value
        return default

    def number(self, name: str, *, least: float, most: float) -> float:
        value = self._values.get(name)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if value is None:
            return least
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.find(name, "is not of a type(s) number")
        elif not value >= least:  # not a number is not at least anything
            self.find(name, f"must be greater than or equal to {least:g}")
        elif not value <= most:
            self.find(name, f"must be less than or equal to {most:g}")
        else:
            return float(value)
        return least

    def part(self, name: str) -> "Fields":
        """The object in a field; an empty one where it is absent or wrong."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict):
            self.find(name, "is not of a type(s) object")
        return Fields(value if isinstance(value, dict) else {}, self._at(name), self.findings)

    def items(self, name: str, *, least: int = 0, most: int = 1024) -> list[Any]:
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.find(name, "is not of a type(s) array")
        elif len(value) < least:
            self.find(name, f"does not meet minimum length of {least}")
        elif len(value) > most:
            self.find(name, f"does not meet maximum length of {most}")
        else:
            return value
        return []

    def parts(self, name: str, *, least: int = 0, most: int = 1024) -> list["Fields"]:
        """The objects in a list."""
        found = []
        for index, value in enumerate(self.items(name, least=least, most=most)):
            at = f"{self._at(name)}[{index}]"
            if isinstance(value, dict):
                found.append(Fields(value, at, self.findings))
            else:
                self.findings.append(f"{at} is not of a type(s) object")
        return found

    def texts(
        self, name: str, *, least: int = 0, most: int = 1024, max_length: int = 255, says: str | None = None
    ) -> tuple[str, ...]:
        found = self.items(name, least=least, most=most)
        for index, value in enumerate(found):
            if isinstance(value, str) and 0 < len(value) <= max_length and _is_unicode(value):
                continue
            self.findings.append(says or f"{self._at(name)}[{index}] is not of a type(s) string")
            return ()
        return tuple(found)

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
