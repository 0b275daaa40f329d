"""Receipts of others for messages that we sent."""

from neonize.proto import Neonize_pb2 as neonize

from kurir.session_node.engines.engine import ReceiptSeen
from kurir.session_node.engines.neonize.from_whatsapp.who import address, moment

# 9 (inactive) is a delivery to a device that is not looking. 3 asks for the message again; 2, 5,
# 7, 10 and 11 come from the account's own devices.
RECEIPT_STATUS = {1: "delivered", 9: "delivered", 4: "read", 6: "played", 3: "unreadable"}


def receipt(data: bytes) -> ReceiptSeen | None:
    """A receipt of somebody else for messages that we sent."""
    event = neonize.Receipt.FromString(data)
    status = RECEIPT_STATUS.get(event.Type)
    source = event.MessageSource
    if status is None or source.IsFromMe or not event.MessageIDs:
        return None
    return ReceiptSeen(
        whatsapp_ids=tuple(event.MessageIDs),
        status=status,  # type: ignore[arg-type]
        chat=address(source.Chat, None if source.IsGroup else source.SenderAlt),
        sender=address(source.Sender, source.SenderAlt),
        at=moment(event.Timestamp),
    )
