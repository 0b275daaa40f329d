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

_lock = threading.Lock()
_last_ms = 0
_sequence = 0


def uuid7() -> str:
    """A UUIDv7 in its canonical 36 character form; ids made by one process are strictly increasing.

    48 bits of Unix milliseconds, a 12 bit sequence inside one millisecond, 62 random bits
    (RFC 9562 section 5.7, method 1 of section 6.2). A sequence that overflows borrows the next millisecond.
    """
    global _last_ms, _sequence
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _sequence = now, int.from_bytes(os.urandom(1), "big")
        else:
            _sequence += 1
            if _sequence > 0xFFF:
                _last_ms, _sequence = _last_ms + 1, 0
        ms, sequence = _last_ms, _sequence
    value = (
        (ms & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | sequence << 64
        | 0b10 << 62
        | (int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF)
    )
    digits = f"{value:032x}"  # by hand: a UUID object costs as much as all of this
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


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


def delivery_id(event_id: str, endpoint: str) -> str:
    """The id of one event for one endpoint; replays of it keep the id and raise the generation."""
    return f"{event_id}:{endpoint}"


def attempt_id(delivery: str, generation: int, attempt: int) -> str:
    """The id of a message that stands for one attempt; `attempt` counts from 1 in each generation."""
    return f"{delivery}:{generation}:{attempt}"


def _token(text: str) -> str:
    return text if is_token(text) else _digest(text)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
