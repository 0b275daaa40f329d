"""What these APIs answer when all went well. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kurir.contracts.content import Address

UNLIMITED: Final = "unlimited"
"""In place of a device's end, for devices do not run out here, and of a quota where there is none."""

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
_FAILED_WORDS: Final[dict[str, str]] = {
    "not_on_whatsapp": "invalid",
    "invalid_recipient": "invalid",
    "media_fetch_failed": "url unreachable",
    "media_missing": "url unreachable",
}


class DeviceFacts(Struct, frozen=True, kw_only=True):
    """What is told of a device. `number` is what the client calls it; `key` is its key as far as it may be shown, and
    `quota` how many messages the account may have accepted in the rest of the month, None for any number."""

    number: str
    name: str
    is_connected: bool
    plan: str
    messages: int
    key: str
    quota: int | None
    is_autoread: bool


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
        "quota": _quota(facts),
        "status": True,
    }


def devices(all_facts: Sequence[DeviceFacts]) -> dict[str, Any]:
    return {
        "connected": sum(facts.is_connected for facts in all_facts),
        "data": [
            {
                "autoread": _on_off(facts.is_autoread),
                "device": facts.number,
                "expired": UNLIMITED,
                "name": facts.name,
                "package": facts.plan,
                "quota": _quota(facts),
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


def device_added(name: str, number: str, token: str, not_kept: Sequence[str], *, is_autoread: bool) -> dict[str, Any]:
    """`not_kept` are settings that were asked for and have no effect. Who reads, reads all chats."""
    reads = _on_off(is_autoread)
    return {
        "autoread": reads,
        "device": number,
        "group": reads,
        "name": name,
        "personal": reads,
        "status": True,
        "token": token,
        **_without(not_kept),
    }


def device_changed(
    name: str, number: str, webhooks: Mapping[str, str], not_kept: Sequence[str], *, is_autoread: bool
) -> dict[str, Any]:
    """`webhooks` are URLs by the names of their fields."""
    return {
        "status": True,
        "detail": "device updated",
        "name": name,
        "device": number,
        "autoread": _on_off(is_autoread),
        **webhooks,
        **_without(not_kept),
    }


def qr(png_data_url: str) -> dict[str, Any]:
    return {"status": True, "url": png_data_url.partition(",")[2]}


def pairing_code(code: str) -> dict[str, Any]:
    return {"status": True, "code": code.replace("-", "")}


def statistics(outgoing: int, incoming: int) -> dict[str, Any]:
    """Messages of the last seven days."""
    return {"status": True, "days": 7, "data": {"outgoing": outgoing, "incoming": incoming}}


def rotators(names: Sequence[str]) -> dict[str, Any]:
    if not names:
        return {"data": [], "detail": "no rotator yet", "status": False}
    return {"data": [{"id": f"rotator#{name}", "name": name} for name in names], "status": True}


def done(detail: str) -> dict[str, Any]:
    return {"detail": detail, "status": True}


def message_status(number: int | str, status: str, reason: str | None) -> dict[str, Any]:
    """`status` and `reason` are the native API's words."""
    return {"id": number, "message_status": status_word(status, reason), "state": status.lower(), "status": True}


def status_word(status: str, reason: str | None) -> str:
    word = _STATUS_WORDS.get(status)
    if word is None:
        word = _FAILED_WORDS.get(reason, "failed") if reason is not None else "failed"
    return word


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


def _quota(facts: DeviceFacts) -> str:
    return UNLIMITED if facts.quota is None else str(facts.quota)


def _on_off(is_on: bool) -> str:
    return "on" if is_on else "off"


def _without(not_kept: Sequence[str]) -> dict[str, Any]:
    return {"ignored": list(not_kept)} if not_kept else {}


def _connected(facts: DeviceFacts) -> str:
    return "connect" if facts.is_connected else "disconnect"
