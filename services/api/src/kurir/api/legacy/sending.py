"""From an order in any API's words to an accepted message, and to what became of it.

The same way as the native API's: the device's limit, the idempotency key, the file into the media store, the command
into JetStream. Who calls may wait for the engine's word; the message is accepted and carried out whether or not.
"""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from kurir.api.auth import Caller
from kurir.api.devices.offline import not_connected
from kurir.api.devices.service import Devices
from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.messages.requests import QuoteIn, SendContent, SendMedia, SendRequest
from kurir.api.messages.service import MediaSource, Messages
from kurir.contracts.content import Media
from kurir.contracts.events import MessageStatusChanged
from kurir.contracts.records import Device
from kurir.contracts.states import MessageStatus, Reason
from kurir.dialects.orders import File, Order
from kurir.runtime.outcomes import Outcomes


class Sent(Struct, frozen=True, kw_only=True):
    """An accepted message. `outcome` is the engine's word, None when there was none in the time that was waited.

    `to` is the recipient's JID, `at` when it was accepted. `headers` are those of the native answer (X-RateLimit-*).
    `status` is `queued` or `scheduled` until there is an outcome. `is_repeat`: it had been accepted before.
    """

    id: str
    device: Device
    to: str
    at: datetime
    headers: dict[str, str]
    status: MessageStatus
    is_repeat: bool = False
    outcome: MessageStatusChanged | None = None

    @property
    def whatsapp_id(self) -> str | None:
        return self.outcome.whatsapp_id if self.outcome is not None else None

    @property
    def reason(self) -> Reason | None:
        return self.outcome.reason if self.outcome is not None else None


class Sender:
    def __init__(self, devices: Devices, messages: Messages, media: MediaStore, outcomes: Outcomes) -> None:
        self._devices = devices
        self._messages = messages
        self._media = media
        self._outcomes = outcomes

    async def send(
        self,
        caller: Caller,
        device: Device,
        order: Order,
        *,
        uploaded: StoredFile | None = None,
        request_id: str | None = None,
        refuse_offline: bool = False,
        wait_s: float = 0.0,
        message_id: str | None = None,
        is_limited: bool = True,
        whatever_body: bool = False,
    ) -> Sent:
        """Accept a message and wait up to `wait_s` seconds for its outcome, if the device is connected.

        `uploaded` is the file of an order whose `file` names neither URL nor data. `request_id` is the caller's
        idempotency key: a repeat is the same message and is not waited for. `message_id` is the id that the message
        gets, None for a new one. Without `is_limited` it does not count against the device's messages of the minute,
        for APIs that have no such limit. With `whatever_body` the idempotency key alone says what a repeat is.

        Raises Problem as the native API does: about a field (`to`, `url`, `file`, `mentions[…]`), DEVICE_NOT_CONNECTED
        with `refuse_offline`, BACKLOG_FULL, RATE_LIMIT_EXCEEDED, IDEMPOTENCY_CONFLICT; or PublishError.
        """
        session = self._devices.session(device)
        is_connected = session is not None and session.state == "connected"
        if refuse_offline and not is_connected:
            raise not_connected(session)
        checked = self._messages.check(
            caller,
            _request(device, order),
            outcomes=self._outcomes.prefix,
            message_id=message_id,
            is_limited=is_limited,
        )
        source = self._source(caller.tenant.id, order.file, uploaded) if order.file is not None else None
        taken = await self._messages.accept(checked, request_id, source, whatever_body=whatever_body)
        if uploaded is not None:
            uploaded.is_sent = True
        accepted, headers = taken.accepted, taken.headers
        sent = Sent(
            id=accepted.id,
            device=device,
            to=accepted.to,
            at=datetime.fromtimestamp(accepted.timestamp / 1000).astimezone(),
            headers=headers,
            status="queued" if order.send_at is None else "scheduled",
            is_repeat=taken.is_repeat,
        )
        if wait_s <= 0 or not is_connected or order.send_at is not None or taken.is_repeat:
            return sent
        outcome = await self._outcomes.of(accepted.id, wait_s)
        if outcome is None:
            return sent
        return Sent(
            id=sent.id,
            device=device,
            to=sent.to,
            at=sent.at,
            headers=headers,
            status=outcome.status,
            outcome=outcome,
        )

    def _source(self, tenant: str, file: File, uploaded: StoredFile | None) -> MediaSource:
        if file.url is not None:
            return _Fetched(self._media, tenant, file, file.url)
        if file.data is not None:
            return _Given(self._media, tenant, file, file.data)
        assert uploaded is not None, "an order with a file names it, or its form held one"
        return _Uploaded(uploaded, file)


def _request(device: Device, order: Order) -> SendRequest:
    quote = order.quote
    common: dict[str, Any] = {
        "device_id": device.id,
        "to": order.to,
        "quote": QuoteIn(
            message_id=quote.key.whatsapp_id,
            from_me=quote.key.from_me,
            participant=quote.key.participant,
            text=quote.text,
        )
        if quote is not None
        else None,
        "mentions": order.mentions,
        "send_at": order.send_at,
        "expires_in": order.expires_in_s,
        "typing_ms": order.typing_ms,
        "metadata": order.metadata,
        "audience": order.audience,
    }
    file = order.file
    if file is None:
        assert order.content is not None, "an order has a content or a file"
        return SendContent(content=order.content, **common)
    return SendMedia(
        kind=file.kind,
        url=file.url,
        caption=file.caption,
        file_name=file.file_name,
        ptt=file.voice,
        ptv=file.note,
        view_once=file.view_once,
        **common,
    )


class _Uploaded:
    """The file of the request's own form."""

    def __init__(self, stored: StoredFile, file: File) -> None:
        self._media = stored.as_kind(file.kind, file.file_name, field="file", any_type=file.any_type)
        self.digest = self._media.sha256

    async def get(self) -> Media:
        return self._media


class _Given:
    """The bytes that stood in the request."""

    def __init__(self, media: MediaStore, tenant: str, file: File, data: bytes) -> None:
        self._media = media
        self._tenant = tenant
        self._file = file
        self._data = data
        self.digest = hashlib.sha256(data).hexdigest()

    async def get(self) -> Media:
        async def pieces() -> AsyncIterator[bytes]:
            yield self._data

        kind, name = self._file.kind, self._file.file_name
        stored = await self._media.keep(self._tenant, pieces(), kind=kind, file_name=name, field="file")
        return stored.as_kind(kind, name, field="file")


class _Fetched:
    """The file at a URL, downloaded after everything else was found right, and not for a repeat."""

    digest = ""

    def __init__(self, media: MediaStore, tenant: str, file: File, url: str) -> None:
        self._media = media
        self._tenant = tenant
        self._file = file
        self._url = url

    async def get(self) -> Media:
        kind, name = self._file.kind, self._file.file_name
        stored = await self._media.fetch(self._tenant, self._url, kind=kind, file_name=name)
        return stored.as_kind(kind, name, field="url")
