"""From what an engine observed to events: connection changes, received messages, receipts.

The event ids are computed from what they are about, so that an observation that is repeated is stored once.
Media of received messages goes to the media store first; if that fails, the message is reported without its bytes.
"""

import asyncio
from datetime import UTC, datetime

import msgspec
import structlog

from kurir.contracts import content as contents
from kurir.contracts import ids
from kurir.contracts.content import Content, Media
from kurir.contracts.events import ConnectionUpdate, MessageStatusChanged, MessageUpserted
from kurir.contracts.records import Session
from kurir.contracts.states import MessageStatus
from kurir.runtime.broker import PublishError
from kurir.runtime.objects import ObjectStore, StoreUnavailable, TooLarge, object_name
from kurir.session_node.engines.engine import Attachment, MediaFailed, ReceiptSeen, Received, StateChanged
from kurir.session_node.receipts import SentMessage

log = structlog.get_logger(__name__)

MEDIA_TIMEOUT_S = 120.0  # a slow download holds what the device receives after it, but not for longer


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


def receipt_event(
    tenant: str, device: str, seen: ReceiptSeen, status: MessageStatus, whatsapp_id: str, message: SentMessage
) -> MessageStatusChanged:
    """The event of a receipt for one message. In groups each reader's receipt is a fact of its own."""
    readers = (seen.sender.jid,) if seen.chat.jid.endswith("@g.us") else ()
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


async def stored_content(media: ObjectStore, tenant: str, device: str, received: Received, max_bytes: int) -> Content:
    """The received content with its media in the store; as it came when that is not possible (logged)."""
    attachment, described = received.attachment, contents.media_of(received.content)
    if attachment is None or described is None:
        return received.content
    try:
        async with asyncio.timeout(MEDIA_TIMEOUT_S):
            kept = await _store(media, tenant, attachment, described, max_bytes)
    except (MediaFailed, TooLarge, PublishError, StoreUnavailable, TimeoutError) as error:
        log.warning("inbound.media_not_stored", device=device, whatsapp_id=received.whatsapp_id, error=repr(error))
        return received.content
    return msgspec.structs.replace(received.content, media=kept)


async def _store(media: ObjectStore, tenant: str, attachment: Attachment, described: Media, max_bytes: int) -> Media:
    name = object_name(tenant, ids.short_id("md"))
    info = await media.put_stream(
        name, attachment.chunks(), max_bytes=max_bytes, headers={"Content-Type": attachment.mimetype}
    )
    return msgspec.structs.replace(described, object=name, size=info.size, sha256=info.sha256)
