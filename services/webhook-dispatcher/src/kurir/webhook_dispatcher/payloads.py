"""The body of a webhook, made once for all endpoints that get the same event in the same words."""

from typing import Final

from kurir.contracts.content import Media
from kurir.contracts.deliveries import Delivery
from kurir.contracts.records import Endpoint, PayloadShape
from kurir.dialects.dialect import Context, Payload
from kurir.dialects.shapes import SHAPES

KEPT: Final = 256
"""Deliveries of one event are worked within milliseconds of each other; at 100 kB each this is 25 MB at worst."""


class Payloads:
    """`of` a delivery. Media are named below `public_url`, where tenants reach the api."""

    def __init__(self, public_url: str) -> None:
        self._server_url = public_url.rstrip("/")
        self._shared = Context(media_url=self._media_url)
        self._kept: dict[tuple[str, str, PayloadShape], Payload] = {}

    def of(self, delivery: Delivery, endpoint: Endpoint) -> Payload:
        """Raises msgspec.DecodeError when the event cannot be read."""
        shape = endpoint.payload
        if SHAPES[shape].names is not None:
            context = Context(
                media_url=self._media_url,
                destination=endpoint.url,
                server_url=self._server_url,
                options=endpoint.payload_options,
            )
            return SHAPES[shape].payload(delivery.event_type, delivery.event, context, delivery.told_as)
        key = (delivery.tenant, delivery.event_id, shape)
        payload = self._kept.get(key)
        if payload is None:
            payload = SHAPES[shape].payload(delivery.event_type, delivery.event, self._shared)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = payload
        return payload

    def _media_url(self, media: Media) -> str | None:
        """The api serves a tenant's own media by id; the tenant before it is known from the key."""
        identifier = media.object.partition("/")[2]
        return self._server_url + "/media/" + identifier if identifier else None
