"""What this API answers: `{"success": true, "data", "meta"}`. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final, Literal

from kurir.contracts import states
from kurir.contracts.events import AnyEvent, MessageQueued, MessageSending, MessageStatusChanged
from kurir.contracts.states import MessageStatus, Reason

Word = Literal["queued", "processing", "sent", "delivered", "read", "failed"]

WORDS: Final[dict[MessageStatus, Word]] = {
    "scheduled": "queued",
    "queued": "queued",
    "sending": "processing",
    "retrying": "processing",
    "sent": "sent",
    "undelivered": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",
    "failed": "failed",
    "unknown": "failed",
    "expired": "failed",
    "canceled": "failed",
}

_PREFIXES: Final[dict[Reason, str]] = {
    "not_on_whatsapp": "NUMBER_NOT_ON_WHATSAPP",
    "expired": "MESSAGE_EXPIRED",
    "outcome_unknown": "UNKNOWN_AFTER_CRASH",
}
"""Before the sentence in `error_message`; any other reason stands there as it is called, in capitals."""


def queued(message_id: str, device_code: str, server_id: str, *, is_repeat: bool = False) -> dict[str, Any]:
    """The answer to a message that was accepted; `is_repeat`: it had been before, under the same X-REQUEST-ID."""
    meta: dict[str, Any] = {"server_id": server_id}
    if is_repeat:
        meta["idempotent_replay"] = True
    return {"success": True, "data": {"id": message_id, "status": "queued", "device": device_code}, "meta": meta}


def status(facts: Sequence[AnyEvent], device_code: str, zone: tzinfo, server_id: str) -> dict[str, Any] | None:
    """How far a message has come; None when these are not the facts of one that was sent. Times are told in `zone`."""
    told = [fact for fact in facts if isinstance(fact, MessageQueued | MessageSending | MessageStatusChanged)]
    if not told:
        return None
    furthest = states.furthest(fact.status for fact in told)
    word = WORDS[furthest]
    last = next(fact for fact in told if fact.status == furthest)
    arrivals = [fact.at for fact in told if WORDS[fact.status] in ("delivered", "read")]
    data = {
        "id": last.message_id,
        "status": word,
        "recipient": recipient(last.to),
        "device_code": device_code,
        "created_at": _time(min(fact.at for fact in told), zone),
        "delivered_at": _time(min(arrivals), zone) if arrivals else None,
        "failed_at": _time(last.at, zone) if word == "failed" else None,
        "error_message": _error(last) if isinstance(last, MessageStatusChanged) else None,
    }
    return {"success": True, "data": data, "meta": {"server_id": server_id}}


def recipient(jid: str) -> str:
    """The digits of a phone number; the whole JID of anything else."""
    return jid.removesuffix("@s.whatsapp.net")


def _time(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")


def _error(fact: MessageStatusChanged) -> str | None:
    if fact.reason is None:
        return "FAILED: The message was not sent." if WORDS[fact.status] == "failed" else None
    prefix = _PREFIXES.get(fact.reason, fact.reason.upper())
    detail = f" ({fact.detail})" if fact.detail else ""
    return f"{prefix}: {states.SENTENCES[fact.reason]}{detail}"
