"""Whether somebody who asks for events by pattern wants those of a type, and in which words. The same for webhooks and
live delivery.

A pattern is an event type (`messages.upsert`), a legacy name of one (`message.received`), or either with `*` for any
run of characters (`send.message.*`, `*`). What only says that a message is under way is heard by those alone who ask
for `send.message.` by name: everybody else would hear three times of each message instead of once. So is presence, of
which there may be more than of all else, by those alone who ask for `presence.`.

Where the shape has words of its own, a pattern may be one of these (`MESSAGES_UPSERT`), and no pattern, or `*`, asks
for all of them. An event for which it has no word is not told in it.
"""

import fnmatch
import re
from functools import lru_cache

import msgspec

from kurir.contracts.events import EVENT_TYPES
from kurir.contracts.records import PayloadShape
from kurir.dialects.shapes import ALIASES, SHAPES

_BY_NAME_ALONE = {
    "send.message.queued": "send.message.",
    "send.message.sending": "send.message.",
    "presence.update": "presence.",
}
"""Types that a pattern asks for only when it begins like this."""

_NAMES = (*EVENT_TYPES, *ALIASES.values())
_PATTERN = re.compile(r"[A-Za-z.*_-]{1,64}")

AS_IT_IS: tuple[None] = (None,)
"""How an event is told in a shape that has no words of its own: once."""


def tellings(
    shape: PayloadShape, patterns: tuple[str, ...], type_: str, event: bytes | msgspec.Raw
) -> tuple[str | None, ...]:
    """What to tell an event as, in this order, to who asks for `patterns` in that shape: the `told_as` of payloads.

    Raises msgspec.DecodeError for an event that cannot be read, where it has to be.
    """
    wanted = names_wanted(shape, patterns, type_)
    if not wanted or wanted is AS_IT_IS:
        return wanted
    return tuple(name for name in SHAPES[shape].told_as(type_, event) if name in wanted)


@lru_cache(maxsize=4096)
def names_wanted(shape: PayloadShape, patterns: tuple[str, ...], type_: str) -> tuple[str | None, ...]:
    """What events of a type may be told as to somebody who asks for `patterns`; nothing when they are not wanted."""
    names = SHAPES[shape].names
    if names is None:
        return AS_IT_IS if wants_type(patterns, type_) else ()
    if type_ not in names or wants_type(patterns, type_):
        return names.get(type_, ())
    return tuple(name for name in names[type_] if is_asked_for(shape, patterns, name))


def is_asked_for(shape: PayloadShape, patterns: tuple[str, ...], name: str) -> bool:
    """Whether who asks for `patterns` in the words of the shape wants what it calls `name`."""
    return not patterns or "*" in patterns or any(_fits(word, patterns) for word in SHAPES[shape].words(name))


@lru_cache(maxsize=4096)
def wants_type(patterns: tuple[str, ...], type_: str) -> bool:
    """Whether one of the type patterns asks for events of the native type `type_`."""
    beginning = _BY_NAME_ALONE.get(type_)
    if beginning is not None:
        return _fits(type_, tuple(pattern for pattern in patterns if pattern.startswith(beginning)))
    names = (type_, ALIASES[type_]) if type_ in ALIASES else (type_,)
    return any(_fits(name, patterns) for name in names)


def is_event_pattern(text: str, shape: PayloadShape = "native") -> bool:
    """Whether `text` names an event, or matches one: a mistyped name would never deliver anything."""
    return _PATTERN.fullmatch(text) is not None and any(_fits(name, (text,)) for name in (*_NAMES, *_words_of(shape)))


@lru_cache
def _words_of(shape: PayloadShape) -> tuple[str, ...]:
    names, words = SHAPES[shape].names or {}, SHAPES[shape].words
    return tuple({word for group in names.values() for name in group for word in words(name)})


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, _literal(pattern)) for pattern in patterns)


def _literal(pattern: str) -> str:
    """Only `*` is special here, while fnmatch also knows `?` and `[`."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
