"""From what an engine observed to events: connection changes, received messages, receipts.

The event ids are computed from what they are about, so that an observation that is repeated is stored once.
"""

from datetime import UTC, datetime

import msgspec

from kurir.contracts import content as contents
from kurir.contracts import ids
from kurir.contracts.content import STATUS, Content
from kurir.contracts.events import ConnectionUpdate, MediaFailed, MessageStatusChanged, MessageUpserted
from kurir.contracts.records import Session
from kurir.contracts.states import MessageStatus
from kurir.session_node.engines.engine import ReceiptSeen, Received, StateChanged
from kurir.session_node.inbound_media import Missing
from kurir.session_node.receipts import SentMessage


def connection_event(record: Session, change: StateChanged) -> ConnectionUpdate:
    """The event of a connection change; `record` is the session after it. Each is a fact of its own: a random id."""
    return ConnectionUpdate(
        id=ids.uuid7(),
        tenant=record.tenant,
        device=record.device,
        at=record.at,
        state=record.state,
        reason=record.reason,
        detail=change.detail,
        code=change.code,
        qr=record.qr,
        qr_expires_at=record.qr_expires_at,
        pairing_code=record.pairing_code,
        phone=record.phone,
        jid=record.jid,
        lid=record.lid,
        push_name=record.push_name,
        banned_until=record.banned_until,
    )


def session_after(record: Session, change: StateChanged, at: datetime) -> Session:
    """The session's record after a connection change; who the device is stays known until it is unlinked."""
    is_paired = change.state == "connected" or (record.paired and change.state != "logged_out")
    return msgspec.structs.replace(
        record,
        state=change.state,
        at=at,
        reason=change.reason,
        paired=is_paired,
        jid=(change.jid or record.jid) if is_paired else None,
        lid=change.lid or record.lid,
        phone=change.phone or record.phone,
        push_name=change.push_name or record.push_name,
        qr=change.qr,
        qr_expires_at=change.qr_expires_at,
        pairing_code=change.pairing_code,
        banned_until=change.banned_until,
    )


def message_event(tenant: str, device: str, received: Received, content: Content) -> MessageUpserted:
    """The event of a received message, or of one that was sent from another of the account's devices."""
    message_id = ids.inbound_message_id(device, received.chat.jid, received.sender.jid, received.whatsapp_id)
    return MessageUpserted(
        id=ids.status_event_id(message_id, "received"),
        tenant=tenant,
        device=device,
        at=datetime.now(UTC),
        message_id=message_id,
        whatsapp_id=received.whatsapp_id,
        chat=received.chat,
        sender=received.sender,
        content=content,
        sent_at=received.sent_at,
        from_me=received.from_me,
        is_group=received.is_group,
        push_name=received.push_name,
        quote=received.quote,
        mentions=received.mentions,
    )


def media_failed_event(told: MessageUpserted, missing: Missing) -> MediaFailed:
    """The event of a file that was not kept, of the message that was just told."""
    media = contents.media_of(told.content)
    assert media is not None, "only media can be missing"
    return MediaFailed(
        id=ids.status_event_id(told.message_id, "media-failed"),
        tenant=told.tenant,
        device=told.device,
        at=told.at,
        message_id=told.message_id,
        whatsapp_id=told.whatsapp_id,
        chat=told.chat,
        sender=told.sender,
        media=media,
        reason=missing.reason,
        detail=missing.detail,
    )


def receipt_event(
    tenant: str, device: str, seen: ReceiptSeen, status: MessageStatus, whatsapp_id: str, message: SentMessage
) -> MessageStatusChanged:
    """The event of a receipt for one message. In groups each reader's receipt is a fact of its own."""
    readers = (seen.sender.jid,) if seen.chat.jid.endswith(("@g.us", STATUS)) else ()
    return MessageStatusChanged(
        id=ids.status_event_id(message.message_id, status, *readers),
        tenant=tenant,
        device=device,
        at=seen.at,
        message_id=message.message_id,
        status=status,
        to=message.to,
        whatsapp_id=whatsapp_id,
        recipient=seen.sender,
    )
