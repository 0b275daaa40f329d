"""Every payload shape by the name that an endpoint's record gives it."""

from kurir.contracts.records import PayloadShape as ShapeName
from kurir.dialects import native
from kurir.dialects.baileys_gateway import events as baileys_gateway
from kurir.dialects.device_gateway import events as device_gateway
from kurir.dialects.dialect import Shape
from kurir.dialects.evolution import events as evolution
from kurir.dialects.fonnte import events as fonnte
from kurir.dialects.rk_connect import events as rk_connect

SHAPES: dict[ShapeName, Shape] = {
    "native": Shape(native.payload),
    "evolution": Shape(evolution.payload, evolution.NAMES, evolution.told_as, evolution.words),
    "baileys_gateway": Shape(baileys_gateway.payload, baileys_gateway.NAMES, baileys_gateway.told_as),
    "rk_connect": Shape(rk_connect.payload, rk_connect.NAMES, rk_connect.told_as),
    "device_gateway": Shape(device_gateway.payload),
    "fonnte": Shape(fonnte.payload, fonnte.NAMES, fonnte.told_as),
}

ALIASES = {
    "messages.upsert": "message.received",
    "send.message.status": "message.status",
    "connection.update": "device.status",
}
"""Names by which an endpoint may ask for an event type beside the type itself. `message.status` means outcomes and
receipts alone: who wants to hear of each message before it is sent asks for `send.message.*`."""
