"""What these APIs answer when all went well. Pure."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from kurir.contracts.content import Address
from kurir.contracts.states import Reason

UNLIMITED: Final = "unlimited"
"""In place of a package's end and of what is left of it: devices do not run out here."""

_STATUS_WORDS: Final = {
    "SCHEDULED": "waiting",
    "QUEUED": "pending",
    "SENT": "sent",
    "UNDELIVERED": "sent",
    "DELIVERED": "sent",
    "READ": "sent",
    "EXPIRED": "expired",
    "CANCELED": "canceled",
    "UNKNOWN": "unknown",
}
_FAILED_WORDS: Final[dict[Reason, str]] = {
    "not_on_whatsapp": "invalid",
    "invalid_recipient": "invalid",
    "media_fetch_failed": "url unreachable",
    "media_missing": "url unreachable",
}

OnOff = Literal["on", "off"]


class DeviceFacts(Struct, frozen=True, kw_only=True):
    """What is told of a device. `number` is what the client calls it; `key` is its key as far as it may be shown."""

    number: str
    name: str
    is_connected: bool
    plan: str
    messages: int
    key: str


def sent(numbers: Sequence[int], targets: Sequence[str], request_id: int, *, is_scheduled: bool) -> dict[str, Any]:
    """Messages that were accepted: their numbers and recipients in one order."""
    return {
        "status": True,
        "reason": "Message sent successfully",
        "detail": "success! message in queue",
        "id": [str(number) for number in numbers],
        "process": "waiting" if is_scheduled else "pending",
        "requestid": request_id,
        "target": list(targets),
    }


def device(facts: DeviceFacts) -> dict[str, Any]:
    return {
        "device": facts.number,
        "device_status": _connected(facts),
        "expired": UNLIMITED,
        "messages": facts.messages,
        "name": facts.name,
        "package": facts.plan,
        "quota": UNLIMITED,
        "status": True,
    }


def devices(all_facts: Sequence[DeviceFacts]) -> dict[str, Any]:
    return {
        "connected": sum(facts.is_connected for facts in all_facts),
        "data": [
            {
                "autoread": "off",
                "device": facts.number,
                "expired": UNLIMITED,
                "name": facts.name,
                "package": facts.plan,
                "quota": UNLIMITED,
                "status": _connected(facts),
                "token": facts.key,
            }
            for facts in all_facts
        ],
        "devices": len(all_facts),
        "messages": sum(facts.messages for facts in all_facts),
        "status": True,
        "type": "device",
    }


def device_added(name: str, number: str, token: str) -> dict[str, Any]:
    return {
        "autoread": "off",
        "device": number,
        "group": "off",
        "name": name,
        "personal": "off",
        "status": True,
        "token": token,
    }


def done(detail: str) -> dict[str, Any]:
    return {"detail": detail, "status": True}


def message_status(number: int, status: str, reason: Reason | None) -> dict[str, Any]:
    """`status` is the native API's word."""
    word = _STATUS_WORDS.get(status)
    if word is None:
        word = _FAILED_WORDS.get(reason, "failed") if reason is not None else "failed"
    return {"id": number, "message_status": word, "state": status.lower(), "status": True}


def groups(found: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Ids and names."""
    return {"data": [{"id": id_, "name": name} for id_, name in found], "status": True}


def validated(registered: Sequence[str], not_registered: Sequence[str]) -> dict[str, Any]:
    return {"status": True, "registered": list(registered), "not_registered": list(not_registered)}


def dispatched(what: str, whatsapp_id: str, to: str, timestamp: int) -> dict[str, Any]:
    """`what` is `Message`, or the kind of a file; `timestamp` in Unix seconds."""
    return {
        "success": True,
        "message": f"{what} dispatched successfully",
        "id": whatsapp_id,
        "to": to,
        "timestamp": timestamp,
    }


def wa_groups(found: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"success": True, "groups": [{"id": id_, "name": name} for id_, name in found]}


def recipient(jid: str) -> str:
    """A recipient as this API names it: the digits of a number, the id of a group."""
    user, _, server = jid.partition("@")
    return user if server == "s.whatsapp.net" else jid


def address(of: Address) -> str:
    return recipient(of.pn or of.jid)


def masked(hint: str) -> str:
    """A key of which only the last characters may be told."""
    return f"wa_****{hint}"


def _connected(facts: DeviceFacts) -> str:
    return "connect" if facts.is_connected else "disconnect"
