"""The body of a webhook, made once for all endpoints that get the same event in the same shape."""

from typing import Final

from kurir.contracts.content import Media
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import PayloadShape
from kurir.dialects.dialect import Payload
from kurir.dialects.shapes import SHAPES

KEPT: Final = 256
"""Deliveries of one event are worked within milliseconds of each other; at 100 kB each this is 25 MB at worst."""


class Payloads:
    """`of` a delivery. Media are named below `public_url`, where tenants reach the api."""

    def __init__(self, public_url: str) -> None:
        self._media_at = public_url.rstrip("/") + "/media/"
        self._kept: dict[tuple[str, str, PayloadShape], Payload] = {}

    def of(self, delivery: Delivery, shape: PayloadShape) -> Payload:
        """Raises msgspec.DecodeError when the event cannot be read."""
        key = (delivery.tenant, delivery.event_id, shape)
        payload = self._kept.get(key)
        if payload is None:
            payload = SHAPES[shape](delivery.event_type, delivery.event, self._media_url)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = payload
        return payload

    def _media_url(self, media: Media) -> str | None:
        """The api serves a tenant's own media by id; the tenant before it is known from the key."""
        identifier = media.object.partition("/")[2]
        return self._media_at + identifier if identifier else None
