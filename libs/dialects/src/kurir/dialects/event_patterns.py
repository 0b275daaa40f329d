"""Whether somebody who asks for events by pattern wants those of a type. The same for webhooks and live delivery.

A pattern is an event type (`messages.upsert`), a legacy name of one (`message.received`), or either with `*` for any
run of characters (`send.message.*`, `*`). What only says that a message is under way is heard by those alone who ask
for `send.message.` by name: everybody else would hear three times of each message instead of once. So is presence, of
which there may be more than of all else, by those alone who ask for `presence.`.
"""

import fnmatch
import re
from functools import lru_cache

from kurir.contracts.events import EVENT_TYPES
from kurir.dialects.shapes import ALIASES

_BY_NAME_ALONE = {
    "send.message.queued": "send.message.",
    "send.message.sending": "send.message.",
    "presence.update": "presence.",
}
"""Types that a pattern asks for only when it begins like this."""

_NAMES = (*EVENT_TYPES, *ALIASES.values())
_PATTERN = re.compile(r"[a-z.*_-]{1,64}")


@lru_cache(maxsize=4096)
def wants_type(patterns: tuple[str, ...], type_: str) -> bool:
    """Whether one of the type patterns asks for events of the native type `type_`."""
    beginning = _BY_NAME_ALONE.get(type_)
    if beginning is not None:
        return any(p.startswith(beginning) and fnmatch.fnmatchcase(type_, _literal(p)) for p in patterns)
    names = (type_, ALIASES[type_]) if type_ in ALIASES else (type_,)
    return any(fnmatch.fnmatchcase(name, _literal(pattern)) for pattern in patterns for name in names)


def is_event_pattern(text: str) -> bool:
    """Whether `text` names an event, or matches one: a mistyped name would never deliver anything."""
    return _PATTERN.fullmatch(text) is not None and any(fnmatch.fnmatchcase(name, text) for name in _NAMES)


def _literal(pattern: str) -> str:
    """Only `*` is special here, while fnmatch also knows `?` and `[`."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
