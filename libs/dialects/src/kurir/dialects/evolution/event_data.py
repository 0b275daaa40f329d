"""What stands in `data` of each of Evolution's events. Pure.

Where v1 and v2 differ, the endpoint's options decide. What the original leaves undefined is absent.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from kurir.contracts import events, states
from kurir.contracts.content import STATUS, Address, Content, Edit, MessageKey, media_of
from kurir.contracts.states import ConnectionState, MessageStatus
from kurir.dialects import baileys
from kurir.dialects.baileys import phone_form
from kurir.dialects.dialect import Context
from kurir.dialects.qr import qr_data_url

ENDED: Final[dict[ConnectionState, int]] = {"logged_out": 401, "banned": 403, "replaced": 440, "outdated": 405}
"""States from which nothing brings the connection back by itself, and Baileys' number for each (DisconnectReason)."""

_STATES: Final[dict[ConnectionState, str]] = {"connecting": "connecting", "connected": "open"}
_CLOSED: Final = 428
_OK: Final = 200

RECEIPTS: Final[dict[MessageStatus, str]] = {"delivered": "DELIVERY_ACK", "read": "READ", "played": "PLAYED"}
FAILURES: Final[frozenset[MessageStatus]] = frozenset({"failed", "unknown", "expired", "canceled"})
_OUTCOMES: Final[dict[MessageStatus, str]] = {"sent": "sent", "retrying": "retry"}

_CODES: Final[dict[states.Reason, str]] = {"not_on_whatsapp": "number_not_on_whatsapp"}

_CALLS: Final = {
    "offered": "offer",
    "accepted": "accept",
    "rejected": "reject",
    "missed": "timeout",
    "ended": "terminate",
}
_ACTIONS: Final = {"join": "add", "leave": "remove"}
_ADMIN: Final = {"owner": "superadmin", "admin": "admin", "member": None}
_DEVICES: Final = (("ios", r"3A.{18}"), ("web", r"3E.{20}"), ("android", r".{21}|.{32}"), ("desktop", r"3F.*|.{18}"))
"""What an id's form says of the client that made it (Baileys, getDevice)."""


class Teller(Struct, frozen=True):
    """In whose name an event is told: `instance` is what clients call the device, `instance_id` its id."""

    context: Context
    instance: str
    instance_id: str

    @property
    def is_v2(self) -> bool:
        return self.context.options.version == "v2"

    @property
    def owner(self) -> str | None:
        return account(self.context.owner)

    @property
    def tag(self) -> dict[str, str]:
        """Whose the thing is, as each version says it."""
        return {"instanceId": self.instance_id} if self.is_v2 else {"owner": self.instance}


def iso(at: datetime) -> str:
    """As JavaScript's toISOString writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def account(jid: str | None) -> str | None:
    """A JID without the number of the device in it."""
    return re.sub(r":\d+", "", jid) if jid else None


def connection(fact: events.ConnectionUpdate, teller: Teller) -> dict[str, Any]:
    if fact.reason == "qr_timeout":
        return {"instance": teller.instance, "state": "refused", "statusReason": _CLOSED}
    state = _STATES.get(fact.state, "close")
    usual = ENDED.get(fact.state, _CLOSED) if state == "close" else _OK
    data: dict[str, Any] = {"instance": teller.instance}
    if state == "open":
        data["wuid"] = account(fact.jid) or teller.owner
        data |= {"profileName": fact.push_name, "profilePictureUrl": None}
    return data | {"state": state, "statusReason": (fact.code or usual) if state == "close" else usual}


def qr_code(fact: events.ConnectionUpdate, teller: Teller) -> dict[str, Any]:
    if fact.reason == "qr_timeout":
        return {"message": "QR code limit reached, please login again", "statusCode": 500}
    base64 = qr_data_url(fact.qr) if fact.qr else None
    code = {"instance": teller.instance, "pairingCode": fact.pairing_code, "code": fact.qr, "base64": base64}
    return {"qrcode": code}


def ended(fact: events.ConnectionUpdate, teller: Teller) -> dict[str, Any]:
    data: dict[str, Any] = {"instance": teller.instance, "status": "closed"}
    if teller.is_v2:
        code = fact.code or ENDED[fact.state]
        data |= {"disconnectionAt": iso(fact.at), "disconnectionReasonCode": code}
    return data


def received(fact: events.MessageUpserted, teller: Teller) -> dict[str, Any]:
    key: dict[str, Any] = {"remoteJid": phone_form(fact.chat), "fromMe": fact.from_me, "id": fact.whatsapp_id}
    if fact.is_group:
        key["participant"] = phone_form(fact.sender)
    status = ("SERVER_ACK" if fact.from_me else "DELIVERY_ACK") if teller.is_v2 else None
    message = baileys.message(fact.content, fact.quote, fact.mentions, teller.context.media_url)
    return _message(teller, key, fact.push_name, status, message, fact.content, fact.sent_at)


def sent(fact: events.MessageStatusChanged, teller: Teller) -> dict[str, Any]:
    key: dict[str, Any] = {"remoteJid": fact.to, "fromMe": True, "id": fact.whatsapp_id}
    content = fact.content
    assert content is not None, "what is sent has a content"
    if isinstance(content, Edit):
        return edited(content)
    message = baileys.message(content, None, (), teller.context.media_url)
    return _message(teller, key, None, "PENDING", message, content, fact.at)


def _message(
    teller: Teller,
    key: dict[str, Any],
    push_name: str | None,
    status: str | None,
    message: tuple[str, dict[str, Any]],
    content: Content,
    sent_at: datetime,
) -> dict[str, Any]:
    kind = message[0]
    told = _defined(message[1])
    context_info = told.get(kind, {}).get("contextInfo") if isinstance(told.get(kind), dict) else None
    if teller.is_v2 and (media := media_of(content)) is not None:
        told["mediaUrl"] = teller.context.media_url(media)
    if teller.context.file is not None:
        # Base64 has nothing to be escaped, and must never be cut.
        told["base64"] = msgspec.Raw(b'"' + teller.context.file.encode() + b'"')
    data: dict[str, Any] = _defined(
        {
            "key": key,
            "pushName": push_name,
            "status": status,
            "message": told,
            "contextInfo": context_info,
            "messageType": kind,
            "messageTimestamp": int(sent_at.timestamp()),
            **teller.tag,
            "source": source(str(key["id"] or "")),
        }
    )
    return data


def edited(edit: Edit) -> dict[str, Any]:
    """A ProtocolMessage."""
    _, message = baileys.message(edit, None, (), lambda _: None)
    told: dict[str, Any] = _defined(message)["protocolMessage"]
    return told


def key_of(target: MessageKey) -> dict[str, Any]:
    key: dict[str, Any] = _defined(baileys.key_of(target))
    return key


def contact_of_sender(fact: events.MessageUpserted, teller: Teller) -> Any:
    return _contact(phone_form(fact.sender if fact.is_group else fact.chat), fact.push_name, teller)


def contact(fact: events.ContactUpdated, teller: Teller) -> list[Any]:
    return [_contact(phone_form(fact.contact), None, teller)]


def _contact(jid: str, name: str | None, teller: Teller) -> dict[str, Any]:
    named = {} if name is None else {"pushName": name}
    if teller.is_v2:
        return {"remoteJid": jid, **named, "profilePicUrl": None, **teller.tag}
    return {"id": jid, **named, "profilePictureUrl": None, **teller.tag}


def chat_of(fact: events.MessageUpserted, teller: Teller) -> list[Any]:
    jid = phone_form(fact.chat)
    return [{"remoteJid": jid, **teller.tag}] if teller.is_v2 else [_defined({"id": jid, "owner": teller.owner})]


def update(fact: events.MessageStatusChanged, teller: Teller) -> dict[str, Any]:
    status = RECEIPTS.get(fact.status, "SERVER_ACK" if fact.status == "sent" else "ERROR")
    is_one_of_many = fact.to.endswith(("@g.us", STATUS))
    participant = phone_form(fact.recipient) if fact.recipient is not None and is_one_of_many else None
    if teller.is_v2:
        key = {"messageId": fact.message_id, "keyId": fact.whatsapp_id, "remoteJid": fact.to, "fromMe": True}
        return key | {"participant": participant or fact.to, "status": status, **teller.tag}
    key = {"remoteJid": fact.to, "fromMe": True, "id": fact.whatsapp_id}
    said = {"participant": participant} if participant else {}
    return {**key, **said, "status": status, "datetime": round(fact.at.timestamp() * 1000), **teller.tag}


def status(fact: events.MessageStatusChanged) -> dict[str, Any]:
    """What became of a message that was ordered here. `attempt` counts from 1; retries go on until it expires."""
    error = None
    word = _OUTCOMES.get(fact.status, "failed")
    if word != "sent":
        code: str = _CODES.get(fact.reason, fact.reason) if fact.reason else fact.status
        sentence = states.SENTENCES[fact.reason] if fact.reason else "The message was not sent."
        error = {"code": code.upper(), "message": f"{sentence} ({fact.detail})" if fact.detail else sentence}
    return {
        "key": {"remoteJid": fact.to, "fromMe": True, "id": fact.whatsapp_id},
        "messageId": fact.message_id,
        "number": fact.to.removesuffix("@s.whatsapp.net"),
        "status": word,
        "attempt": fact.attempt,
        "maxAttempts": None,
        "nextRetryAt": None,
        "error": error,
        "timestamp": int(fact.at.timestamp()),
    }


def presence(fact: events.PresenceUpdated) -> dict[str, Any]:
    said: dict[str, Any] = {"lastKnownPresence": fact.presence}
    if fact.last_seen is not None:
        said["lastSeen"] = int(fact.last_seen.timestamp())
    return {"id": phone_form(fact.chat), "presences": {phone_form(fact.sender): said}}


def call(fact: events.CallUpdated) -> dict[str, Any]:
    data: dict[str, Any] = {"chatId": phone_form(fact.chat), "from": phone_form(fact.sender), "id": fact.call_id}
    data |= {"date": iso(fact.at), "offline": False, "status": _CALLS[fact.state]}
    data |= {"isVideo": fact.is_video, "isGroup": fact.is_group}
    return data | ({"groupJid": phone_form(fact.chat)} if fact.is_group else {})


def new_group(fact: events.GroupUpserted) -> list[Any]:
    """Baileys' GroupMetadata."""
    participants = [
        {"id": phone_form(member.address), "admin": _ADMIN[member.role]} for member in fact.members
    ]  # `admin` is null for the others
    group = {
        "id": fact.chat.jid,
        "subject": fact.subject,
        "size": len(participants),
        "creation": int(fact.created_at.timestamp()) if fact.created_at else None,
        "owner": _jid(fact.owner),
        "desc": fact.description,
        "restrict": fact.is_locked,
        "announce": fact.is_announce,
        "author": _jid(fact.author),
    }
    return [{**_defined(group), "participants": participants}]


def group(fact: events.GroupUpdated) -> list[Any]:
    """What was changed, of Baileys' GroupMetadata."""
    changed = {
        "id": fact.chat.jid,
        "author": _jid(fact.author),
        "subject": fact.subject,
        "desc": fact.description,
        "restrict": fact.is_locked,
        "announce": fact.is_announce,
        "ephemeralDuration": fact.ephemeral_s,
        "inviteCode": fact.invite_link.rsplit("/", 1)[-1] if fact.invite_link else None,
    }
    return [_defined(changed)]


def members(fact: events.GroupMembersChanged) -> dict[str, Any]:
    participants = [phone_form(one) for one in fact.participants]
    data = {"id": fact.chat.jid, "author": _jid(fact.author), "participants": participants}
    told: dict[str, Any] = _defined(data | {"action": _ACTIONS.get(fact.action, fact.action)})
    return told


def _jid(address: Address | None) -> str | None:
    return phone_form(address) if address is not None else None


def source(whatsapp_id: str) -> str:
    """What client made the message of this id."""
    return next((name for name, form in _DEVICES if re.fullmatch(form, whatsapp_id)), "unknown")


def _defined(value: Any) -> Any:
    """Without the members that are None, as JavaScript's JSON leaves out what is undefined."""
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items() if one is not None}
    return [_defined(one) for one in value] if isinstance(value, list) else value
