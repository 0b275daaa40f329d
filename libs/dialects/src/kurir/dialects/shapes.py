"""Every payload shape by the name that an endpoint's record gives it."""

from kurir.contracts.records import PayloadShape as ShapeName
from kurir.dialects import native
from kurir.dialects.device_gateway import events as device_gateway
from kurir.dialects.dialect import PayloadShape

SHAPES: dict[ShapeName, PayloadShape] = {"native": native.payload, "device_gateway": device_gateway.payload}

ALIASES = {
    "messages.upsert": "message.received",
    "send.message.status": "message.status",
    "connection.update": "device.status",
}
"""Names by which an endpoint may ask for an event type beside the type itself. `message.status` means outcomes and
receipts alone: who wants to hear of each message before it is sent asks for `send.message.*`."""
