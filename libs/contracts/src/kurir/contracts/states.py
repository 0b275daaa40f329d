"""States of messages, devices and deliveries, the reasons for them, and one sentence for each reason.

Legacy dialects translate these words; nobody invents others.
"""

from collections.abc import Iterable
from typing import Literal

MessageStatus = Literal[
    "scheduled",
    "queued",
    "sending",
    "retrying",
    "sent",
    "undelivered",
    "delivered",
    "read",
    "played",
    "failed",
    "unknown",
    "expired",
    "canceled",
]

FINAL_STATUSES: frozenset[MessageStatus] = frozenset(
    {"delivered", "read", "played", "failed", "unknown", "expired", "canceled"}
)
"""Nothing that the gateway does will change these. Receipts may still raise `delivered` and `unknown`."""

SETTLED_STATUSES: frozenset[MessageStatus] = FINAL_STATUSES | {"sent", "undelivered"}
"""The command behind the message is done with: sending it again would be a second message."""

_RANK: dict[MessageStatus, int] = {
    "scheduled": 0,
    "queued": 1,
    "sending": 2,
    "retrying": 3,
    # Unknown is the least of the outcomes: a receipt that arrives later is better knowledge.
    "unknown": 4,
    "failed": 5,
    "expired": 5,
    "canceled": 5,
    "sent": 6,
    # WhatsApp has it and no phone has said so: less than any receipt, whenever that comes.
    "undelivered": 7,
    "delivered": 8,
    "read": 9,
    "played": 10,
}


def rank(status: MessageStatus) -> int:
    """How far a message has come; a lower status that is reported late never replaces a higher one."""
    return _RANK[status]


def furthest(statuses: Iterable[MessageStatus]) -> MessageStatus:
    """The status that counts among all that were ever reported. Raises ValueError when there is none."""
    return max(statuses, key=_RANK.__getitem__)


ConnectionState = Literal[
    "disconnected",
    "connecting",
    "qr",
    "pairing_code",
    "connected",
    "logged_out",
    "banned",
    "replaced",
    "outdated",
    "passkey_required",
]

DeliveryOutcome = Literal["delivered", "retry", "dead", "disabled", "canceled", "failed"]
"""`failed` is a test that did not get through: nothing follows from it."""

Reason = Literal[
    "not_on_whatsapp",
    "invalid_recipient",
    "device_offline",
    "device_logged_out",
    "device_banned",
    "device_replaced",
    "client_outdated",
    "passkey_required",
    "kind_not_supported",
    "media_missing",
    "media_refused",
    "media_fetch_failed",
    "media_too_large",
    "media_expired",
    "media_damaged",
    "media_timeout",
    "group_left",
    "not_allowed",
    "reachout_timelock",
    "rate_overlimit",
    "send_timeout",
    "outcome_unknown",
    "no_receipt",
    "unreadable",
    "expired",
    "canceled",
    "engine_error",
    "engine_unavailable",
    "qr_timeout",
    "pairing_failed",
    "requested",
    "connection_lost",
    "server_unavailable",
    "proxy_unreachable",
    "proxy_refused",
    "device_store_unavailable",
    "no_capacity",
    "moved",
    "device_deleted",
]

SENTENCES: dict[Reason, str] = {
    "not_on_whatsapp": "This number has no WhatsApp account; check it, or remove it from your list.",
    "invalid_recipient": "The recipient is neither a phone number with country code nor a group id.",
    "device_offline": "The device is not connected; the message waits until it is.",
    "device_logged_out": "WhatsApp has unlinked this device; pair it again by QR or phone code.",
    "device_banned": "WhatsApp has banned this number, at least for a time; sending is paused.",
    "device_replaced": "Another client took over this connection; connect again to take it back.",
    "client_outdated": "WhatsApp refuses this client version; the gateway has to be updated.",
    "passkey_required": "WhatsApp asks for a passkey to link this account, which the engine cannot answer yet.",
    "kind_not_supported": "The device's engine cannot send this kind of message.",
    "media_missing": "The media is no longer in the store; send it again.",
    "media_refused": "WhatsApp refused the media; check its format and size.",
    "media_fetch_failed": "The media could not be fetched from its URL.",
    "media_too_large": "The file is larger than what is kept of received media; its message came without it.",
    "media_expired": "WhatsApp no longer has the file; ask the sender to send it again.",
    "media_damaged": "The file that came is not the one that was sent; ask the sender to send it again.",
    "media_timeout": "The file did not come in time; its message came without it.",
    "group_left": "The device is not a member of this group.",
    "not_allowed": "WhatsApp does not let this device do that; in groups it may be for admins alone.",
    "reachout_timelock": "WhatsApp does not let this number write to new contacts for now; try later.",
    "rate_overlimit": "WhatsApp says that this number sends too fast; slow down.",
    "send_timeout": "WhatsApp did not confirm in time; the message may or may not have been sent.",
    "outcome_unknown": "The process died while sending; the message may or may not have been sent.",
    "no_receipt": "No device of the recipient confirmed it in the time you set; try another way, or wait longer.",
    "unreadable": "The recipient's WhatsApp could not decrypt the message; send it anew.",
    "expired": "The message's time limit passed before it could be sent.",
    "canceled": "The message was canceled before it was sent.",
    "engine_error": "The engine failed to send the message; the detail says how.",
    "engine_unavailable": "The gateway cannot start this device's engine at the moment; its operator has to look.",
    "qr_timeout": "The QR code was not scanned in time; connect again for a new one.",
    "pairing_failed": "WhatsApp did not accept the pairing; connect again.",
    "requested": "The tenant asked for it.",
    "connection_lost": "The connection to WhatsApp was lost; it is being restored.",
    "server_unavailable": "WhatsApp's server is not available at the moment; the connection is being retried.",
    "proxy_unreachable": "WhatsApp cannot be reached through the device's proxy; the connection is being retried.",
    "proxy_refused": "The device's proxy may not be used; the detail says why. Give the device another one.",
    "device_store_unavailable": "The gateway cannot reach the device's keys now; the connection is being retried.",
    "no_capacity": "The gateway has no room for another connection; the device is connected as soon as it has.",
    "moved": "The session is moving to another shard.",
    "device_deleted": "The device was deleted.",
}
