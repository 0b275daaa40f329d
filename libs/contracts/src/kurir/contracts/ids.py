"""Identifiers: how each kind is made, and what makes a repeated one equal.

Random ids are UUIDv7 (RFC 9562), so they sort by creation time. Facts that may be reported twice get an id
computed from what they are about: the repeat then carries the same id and is recognised everywhere.
"""

import hashlib
import os
import re
import threading
import time
import uuid

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INBOUND = re.compile(r"in[0-9a-f]{32}")
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"

_ENTROPY_BYTES = 4096  # asked of the system at once: a call for each id costs as much as the id

_lock = threading.Lock()
_last_ms = 0
_prefix = ""  # of the ids of that millisecond
_sequence = 0
_entropy = b""
_entropy_at = 0


def uuid7() -> str:
    """A UUIDv7 in its canonical 36 character form; ids made by one process are strictly increasing.

    48 bits of Unix milliseconds, a 12 bit sequence inside one millisecond, 62 random bits
    (RFC 9562 section 5.7, method 1 of section 6.2). A sequence that overflows borrows the next millisecond.
    """
    global _last_ms, _prefix, _sequence, _entropy, _entropy_at
    with _lock:
        if _entropy_at >= len(_entropy):
            _entropy, _entropy_at = os.urandom(_ENTROPY_BYTES), 0
        chance = int.from_bytes(_entropy[_entropy_at : _entropy_at + 8], "big")
        _entropy_at += 8
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _prefix, _sequence = now, _prefix_of(now), chance >> 56
        else:
            _sequence += 1
            if _sequence > 0xFFF:
                _last_ms, _prefix, _sequence = _last_ms + 1, _prefix_of(_last_ms + 1), 0
        head = f"{_prefix}{_sequence:03x}"
    tail = f"{chance & 0x3FFF_FFFF_FFFF_FFFF | 0b10 << 62:016x}"  # by hand: a UUID object costs as much as all of this
    return f"{head}-{tail[:4]}-{tail[4:]}"


def _prefix_of(ms: int) -> str:
    digits = f"{ms & 0xFFFF_FFFF_FFFF:012x}"
    return f"{digits[:8]}-{digits[8:]}-7"


def _forget_entropy() -> None:
    global _entropy
    _entropy = b""


os.register_at_fork(after_in_child=_forget_entropy)  # or parent and child would go on with the same


def uuid7_of(at_ms: int, *parts: str) -> str:
    """The UUIDv7 of what happened once at that time (Unix milliseconds), equal in every report of it; `parts` say what
    it was."""
    digest = int(_digest(*parts), 16)
    value = (at_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (digest >> 62 & 0xFFF) << 64 | 0b10 << 62
    return str(uuid.UUID(int=value | digest & 0x3FFF_FFFF_FFFF_FFFF))


def created_at_ms(identifier: str) -> int | None:
    """Unix milliseconds at which a UUIDv7 was made; None when `identifier` is not a UUIDv7."""
    try:
        value = uuid.UUID(identifier)
    except ValueError:
        return None
    return value.int >> 80 if value.version == 7 else None


def short_id(prefix: str) -> str:
    """A time-ordered id of `prefix` and 24 characters 0-9 a-v, safe as a subject token, a URL part and a KV key."""
    value = uuid.UUID(uuid7()).int >> 8
    digits = []
    for _ in range(24):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return prefix + "".join(reversed(digits))


def is_token(text: str) -> bool:
    """True when `text` may be one token of a subject: 1 to 64 of A-Z a-z 0-9 _ and -."""
    return _TOKEN.fullmatch(text) is not None


def status_event_id(message_id: str, status: str, *qualifiers: str | int) -> str:
    """The id of the fact "this message reached this status", equal in every report of it.

    `qualifiers` tell apart what may rightly happen more than once: the attempt, or the reader in a group.
    """
    return "-".join((message_id, status, *(_token(str(q)) for q in qualifiers)))


def inbound_message_id(device: str, chat: str, sender: str, whatsapp_id: str) -> str:
    """The id of a received message. WhatsApp ids are unique per sender and chat only, so both take part."""
    return "in" + _digest(device, chat, sender, whatsapp_id)


def is_inbound_message_id(identifier: str) -> bool:
    """Whether `identifier` has the form of a received message's id."""
    return _INBOUND.fullmatch(identifier) is not None


def observed_event_id(kind: str, device: str, *parts: str) -> str:
    """The id of something that a device saw, equal in every report of it; `parts` say what it was."""
    return f"{kind}-{_digest(device, *parts)}"


def endpoint_event_id(endpoint: str, what: str, number: int) -> str:
    """The id of a fact about an endpoint; `number` tells apart what may rightly happen more than once."""
    return f"{endpoint}-{what}-{number}"


def delivery_id(event_id: str, endpoint: str, told_as: str | None = None) -> str:
    """The id of one event for one endpoint; replays of it keep the id and raise the generation.

    `told_as` tells apart what a dialect tells of one event as several. It is no part of an event's id: no `~` is.
    """
    return f"{event_id}:{endpoint}" if told_as is None else f"{event_id}~{told_as.replace('.', '-')}:{endpoint}"


def webhook_id(delivery: str) -> str:
    """What a receiver knows a repeat by, of the id of its delivery: the event's id, told apart in the same way."""
    return delivery.rpartition(":")[0]


def attempt_id(delivery: str, generation: int, attempt: int) -> str:
    """The id of a message that stands for one attempt; `attempt` counts from 1 in each generation."""
    return f"{delivery}:{generation}:{attempt}"


def _token(text: str) -> str:
    return text if is_token(text) else _digest(text)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
