"""Which endpoints want an event: by type pattern and by device. Pure.

A pattern is an event type (`messages.upsert`), a legacy name of one (`message.received`), or either with `*` for any
run of characters (`send.message.*`, `*`). What only says that a message is under way is heard by those alone who ask
for `send.message.` by name: everybody else would get three requests for each message instead of one.
"""

import fnmatch
from collections.abc import Iterable
from functools import lru_cache

from kurir.contracts.records import Endpoint
from kurir.dialects.shapes import ALIASES

INTERIM_TYPES = frozenset({"send.message.queued", "send.message.sending"})
_INTERIM_PREFIX = "send.message."


@lru_cache(maxsize=4096)
def wants_type(patterns: tuple[str, ...], type_: str) -> bool:
    """Whether one of the type patterns asks for events of the native type `type_`."""
    if type_ in INTERIM_TYPES:
        return any(p.startswith(_INTERIM_PREFIX) and fnmatch.fnmatchcase(type_, _literal(p)) for p in patterns)
    names = (type_, ALIASES[type_]) if type_ in ALIASES else (type_,)
    return any(fnmatch.fnmatchcase(name, _literal(pattern)) for pattern in patterns for name in names)


def wants(endpoint: Endpoint, device: str, type_: str) -> bool:
    """Whether `endpoint` is to hear of this event of its tenant."""
    return endpoint.active and endpoint.device in (None, device) and wants_type(endpoint.events, type_)


def interested(endpoints: Iterable[Endpoint], device: str, type_: str) -> list[Endpoint]:
    """Those of one tenant's endpoints that are to hear of this event."""
    return [endpoint for endpoint in endpoints if wants(endpoint, device, type_)]


def _literal(pattern: str) -> str:
    """Only `*` is special here, while fnmatch also knows `?` and `[`."""
    return pattern.replace("[", "[[]").replace("?", "[?]")
