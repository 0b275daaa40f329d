"""What a field may be, for answers to values that it may not be: msgspec's own message says only what was given."""

import re
from typing import Any

import msgspec

_REFUSED = re.compile(r"^Invalid enum value\b.*?(?: - at `(?:\$|key in `\$)(?P<path>[^`]*)`)?$")
_STEP = re.compile(r"\.?(?P<field>[^.\[\]]+)|(?P<item>\[[^\]]*\])")


def choices(error: msgspec.ValidationError, decoded: Any) -> list[str]:
    """The values that are allowed where `error` arose in decoding `decoded`, a type; [] for errors of other kinds."""
    refused = _REFUSED.match(str(error))
    if refused is None:
        return []
    found = [msgspec.inspect.type_info(decoded)]
    for step in _STEP.finditer(refused["path"] or ""):
        found = [inner for one in _alternatives(found) for inner in _inside(one, step["field"])]
    values = [
        value for one in _alternatives(found) if isinstance(one, msgspec.inspect.LiteralType) for value in one.values
    ]
    return [str(value) for value in dict.fromkeys(values)]


def _alternatives(types: list[msgspec.inspect.Type]) -> list[msgspec.inspect.Type]:
    """The types with unions taken apart and annotations taken off."""
    plain: list[msgspec.inspect.Type] = []
    for one in types:
        if isinstance(one, msgspec.inspect.UnionType):
            plain += _alternatives(list(one.types))
        elif isinstance(one, msgspec.inspect.Metadata):
            plain += _alternatives([one.type])
        else:
            plain.append(one)
    return plain


def _inside(one: msgspec.inspect.Type, field: str | None) -> list[msgspec.inspect.Type]:
    """The types of a struct's field, or with no field of the items of what has some."""
    match one:
        case msgspec.inspect.StructType():
            return [each.type for each in one.fields if each.encode_name == field]
        case msgspec.inspect.DictType():
            return [one.value_type]
        case msgspec.inspect.ListType() | msgspec.inspect.SetType() | msgspec.inspect.VarTupleType():
            return [one.item_type]
    return []
