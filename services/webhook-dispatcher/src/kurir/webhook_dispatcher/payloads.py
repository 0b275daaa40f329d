"""The body of a webhook, made once for all endpoints that get the same event in the same words."""

from typing import Final

from msgspec.structs import replace

from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint, PayloadShape
from kurir.dialects.dialect import Payload
from kurir.dialects.shapes import SHAPES
from kurir.webhook_dispatcher.contexts import Contexts

KEPT: Final = 256
"""Deliveries of one event are worked within milliseconds of each other; at 100 kB each this is 25 MB at worst."""


class Payloads:
    """`of` a delivery."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._kept: dict[tuple[str, str, PayloadShape], Payload] = {}

    def of(self, delivery: Delivery, endpoint: Endpoint, key: str | None = None, file: str | None = None) -> Payload:
        """`key` is the API key that the endpoint wants repeated, `file` the event's medium in base64.

        Raises msgspec.DecodeError when the event cannot be read.
        """
        shape = SHAPES[endpoint.payload]
        if shape.names is not None:  # it tells of the endpoint too
            context = self._contexts.of(endpoint, delivery.device, key)
            if file is not None:
                context = replace(context, file=file)
            return shape.payload(delivery.event_type, delivery.event, context, delivery.told_as)
        kept_as = (delivery.tenant, delivery.event_id, endpoint.payload)
        payload = self._kept.get(kept_as)
        if payload is None:
            payload = shape.payload(delivery.event_type, delivery.event, self._contexts.plain)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[kept_as] = payload
        return payload
