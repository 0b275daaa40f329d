"""Accepting messages, and changing those that wait for their time.

A message is accepted when its command is stored on the bus, never before.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.dispatch import Dispatch
from kurir.api.idempotency import IdempotencyKeys
from kurir.api.messages.changeable import EDIT_WINDOW, is_settled, to_edit, to_revoke
from kurir.api.messages.contents import content_of, media_content, quote_of, require_fitting
from kurir.api.messages.known import KnownMessages, is_visible
from kurir.api.messages.requests import (
    SendEdit,
    SendMedia,
    SendRequest,
    SendRevoke,
    SendText,
)
from kurir.api.messages.views import STATUS_WORDS
from kurir.api.people import chat_in, person_in, recipient_in
from kurir.api.problems import BACKLOG_RETRY_AFTER_S, Problem, problem_of
from kurir.api.quota import MonthlyQuota
from kurir.api.rate_limit import SendLimit
from kurir.contracts import ids, metadata
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS, Content, Edit, Media, Quote, Revoke
from kurir.contracts.records import Device
from kurir.runtime.clock import Clock

FARTHEST = timedelta(days=365)

_encoder = msgspec.json.Encoder()


class Accepted(Struct, frozen=True, kw_only=True, rename="camel"):
    """A message that will be carried out. `timestamp` in milliseconds; `messageId` is not known yet."""

    id: str
    message_id: None = None
    device_id: str
    to: str
    status: str
    timestamp: int
    send_at: datetime | UnsetType = UNSET


class Taken(Struct, frozen=True):
    """What `accept` did. `headers` tell the device's limit; `is_repeat`: it had been accepted before."""

    accepted: Accepted
    headers: dict[str, str]
    is_repeat: bool


class Order(Struct, frozen=True):
    """A request that was found valid. `content` is None while the file of a SendMedia is not stored; `expires_at` goes
    before the request's own `expires_in`. `outcomes` is before its id the subject on which somebody waits for what
    becomes of it. `message_id` is the id that it gets, None for a new one. `is_limited`: it counts against the
    device's messages of the minute."""

    caller: Caller
    device: Device
    to: str
    request: SendRequest
    content: Content | None
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    expires_at: datetime | None = None
    outcomes: str | None = None
    message_id: str | None = None
    is_limited: bool = True


class MediaSource(Protocol):
    """The file of a message, stored when it is asked for. `digest` is the file's, where it is known before."""

    @property
    def digest(self) -> str: ...

    async def get(self) -> Media: ...


class Messages:
    def __init__(
        self,
        clock: Clock,
        devices: Devices,
        dispatch: Dispatch,
        limit: SendLimit,
        quota: MonthlyQuota,
        idempotency: IdempotencyKeys,
        known: KnownMessages,
    ) -> None:
        self._clock = clock
        self._devices = devices
        self._dispatch = dispatch
        self._limit = limit
        self._quota = quota
        self._idempotency = idempotency
        self._known = known

    def check(
        self,
        caller: Caller,
        request: SendRequest,
        *,
        outcomes: str | None = None,
        message_id: str | None = None,
        is_limited: bool = True,
    ) -> Order:
        """Whether the caller may send this. Raises Problem naming the field."""
        device = self._ready(caller, request.device_id)
        country = caller.tenant.country
        to = recipient_in(request.to, country, "to")
        mentions = tuple([chat_in(text, country, f"mentions[{n}]") for n, text in enumerate(request.mentions)])
        quote = quote_of(request, to, country) if request.quote is not None else None
        if request.send_at is not None and not timedelta(0) < request.send_at - self._clock.now() <= FARTHEST:
            raise Problem("VALIDATION_ERROR", "This time is past, or more than a year away.", field="sendAt")
        if request.metadata is not None and (fault := metadata.fault(request.metadata)) is not None:
            raise Problem("VALIDATION_ERROR", f"The metadata {fault}.", field="metadata")
        content = None if isinstance(request, SendMedia) else content_of(request, to, country)
        if to == STATUS or request.audience or isinstance(request, SendText):
            require_fitting(request, to, content)
        return Order(
            caller,
            device,
            to,
            request,
            content,
            quote,
            mentions,
            audience=tuple([person_in(text, country, f"audience[{n}]") for n, text in enumerate(request.audience)]),
            outcomes=outcomes,
            message_id=message_id,
            is_limited=is_limited,
        )

    async def edit(self, caller: Caller, message_id: str, text: str, idempotency_key: str | None) -> Order:
        """Another text for a message that was sent. Raises Problem as `changeable.to_edit` and `check` do, and
        MESSAGE_TOO_OLD, but not for a repeat of what came in time.

        It ends unsent when the message has become too old before it could be sent.
        """
        target = to_edit(await self._known.facts(caller, message_id, is_settled))
        ends_at = target.sent_at + EDIT_WINDOW
        if self._clock.now() >= ends_at and not await self._idempotency.is_known(caller.tenant.id, idempotency_key):
            raise Problem("MESSAGE_TOO_OLD")
        chat = target.key.chat
        request = SendEdit(device_id=target.device, to=chat, priority="high", message=message_id, text=text)
        device = self._ready(caller, target.device)
        content = Edit(target=target.key, text=text)
        return Order(caller, device, chat, request, content, expires_at=ends_at)

    async def revoke(self, caller: Caller, message_id: str) -> Order:
        """The deletion of a message for everyone. Raises Problem as `changeable.to_revoke` and `check` do."""
        target = to_revoke(await self._known.facts(caller, message_id, is_settled))
        chat = target.key.chat
        request = SendRevoke(device_id=target.device, to=chat, priority="high", message=message_id)
        return Order(caller, self._ready(caller, target.device), chat, request, Revoke(target=target.key))

    async def take(
        self, order: Order, idempotency_key: str | None, media: MediaSource | None = None
    ) -> tuple[Accepted, dict[str, str]]:
        """`accept`, for those who need no more than the answer and its headers."""
        taken = await self.accept(order, idempotency_key, media)
        return taken.accepted, taken.headers

    async def accept(
        self,
        order: Order,
        idempotency_key: str | None,
        media: MediaSource | None = None,
        *,
        whatever_body: bool = False,
    ) -> Taken:
        """Count the message against the device's limit and accept it. With `whatever_body` the idempotency key alone
        says what a repeat is.

        Raises Problem, with the limit's headers once it was counted.
        """
        headers = await self._limit.hit(order.caller.tenant, order.device) if order.is_limited else {}
        try:
            accepted, is_repeat = await self._accept(order, idempotency_key, media, whatever_body)
            return Taken(accepted, headers, is_repeat)
        except Exception as error:
            problem = problem_of(error)
            problem.headers = headers | problem.headers
            raise problem from error

    async def _accept(
        self, order: Order, idempotency_key: str | None, media: MediaSource | None, whatever_body: bool
    ) -> tuple[Accepted, bool]:
        """Store the message's command, and whether it was before; `media` is asked for the file of a SendMedia when it
        is needed.

        What was accepted under the same idempotency key before is not sent again. Raises Problem, BacklogFull or
        another PublishError: then nothing was accepted, except that after an unknown outcome it may have been (the
        same idempotency key makes a repeat safe).
        """
        if idempotency_key is None:
            message_id, now = order.message_id or ids.uuid7(), self._clock.now()
            return await self._submit(order, message_id, now, media, may_be_repeated=False), False
        digest = _digest(order.request, media.digest if media else "")
        remembered = await self._idempotency.remember(
            order.caller.tenant.id,
            idempotency_key,
            digest,
            message_id=order.message_id,
            whatever_body=whatever_body,
        )
        record = remembered.record
        if record.accepted:
            return _accepted(order, record.message_id, record.at), True
        try:
            accepted = await self._submit(order, record.message_id, record.at, media, may_be_repeated=True)
        except Problem as problem:
            if problem.code == "QUOTA_EXCEEDED":  # not counted any more: a repeat is counted anew, under another id
                await self._idempotency.forget(remembered)
            raise
        await self._idempotency.accepted(remembered)
        return accepted, False

    async def cancel(self, caller: Caller, message_id: str) -> None:
        """Take back a message that waits for its `sendAt`. May be repeated until it succeeds.

        Raises Problem CONFLICT when its time has come or MESSAGE_NOT_FOUND, PublishError, or MongoError.
        """
        if not ids.is_token(message_id):
            raise Problem("MESSAGE_NOT_FOUND")
        message = await self._dispatch.scheduled(message_id)
        if message is not None:
            if not is_visible(caller, message.tenant, message.device):
                raise Problem("MESSAGE_NOT_FOUND")
            if await self._dispatch.cancel(message):
                return
        view = await self._known.show(caller, message_id)
        if view.status == STATUS_WORDS["canceled"]:
            return
        if view.status == STATUS_WORDS["scheduled"] and view.send_at is not None and view.send_at > self._clock.now():
            # Taken back by a request that could not tell of it any more.
            await self._dispatch.tell_canceled(caller.tenant.id, view.device_id, message_id, view.chat)
            return
        raise Problem("CONFLICT", "This message is not waiting for its time; it cannot be canceled any more.")

    async def reschedule(self, caller: Caller, message_id: str, send_at: datetime) -> None:
        """Give a message that waits for its `sendAt` another one. May be repeated.

        Raises Problem VALIDATION_ERROR about `sendAt`, CONFLICT when its time has come, MESSAGE_NOT_FOUND,
        PublishError, or MongoError.
        """
        now = self._clock.now()
        if not timedelta(0) < send_at - now <= FARTHEST:
            raise Problem("VALIDATION_ERROR", "This time is past, or more than a year away.", field="sendAt")
        message = await self._dispatch.scheduled(message_id) if ids.is_token(message_id) else None
        if message is not None and is_visible(caller, message.tenant, message.device):
            await self._dispatch.submit(message, send_at=send_at, changed_at=now)
            return
        await self._known.show(caller, message_id)
        raise Problem("CONFLICT", "This message is not waiting for its time any more.")

    async def _submit(
        self,
        order: Order,
        message_id: str,
        accepted_at: datetime,
        media: MediaSource | None,
        *,
        may_be_repeated: bool,
    ) -> Accepted:
        request = order.request
        content = order.content
        if content is None:
            assert isinstance(request, SendMedia)
            assert media is not None
            content = media_content(request, await media.get())
        message = SendMessage(
            id=message_id,
            tenant=order.device.tenant,
            device=order.device.id,
            to=order.to,
            content=content,
            accepted_at=accepted_at,
            priority=request.priority,
            quote=order.quote,
            mentions=order.mentions,
            audience=order.audience,
            expires_at=order.expires_at or _expiry(request, accepted_at),
            on_unknown=order.caller.tenant.on_unknown,
            typing_ms=request.typing_ms,
            reply_to=f"{order.outcomes}.{message_id}" if order.outcomes is not None else None,
            metadata=request.metadata,
        )
        tenant = order.caller.tenant
        if tenant.messages_per_month is None or isinstance(content, Edit | Revoke):  # what was sent was counted
            await self._dispatch.submit(message, send_at=request.send_at)
        else:
            async with self._quota.counted(tenant, message_id, may_be_repeated=may_be_repeated):
                await self._dispatch.submit(message, send_at=request.send_at)
        return _accepted(order, message_id, accepted_at)

    def _ready(self, caller: Caller, device_id: str) -> Device:
        """The caller's device, for another message. Raises Problem."""
        device = self._devices.get(caller, device_id)
        session = self._devices.session(device)
        if session is not None and session.is_backlog_full:
            raise Problem("BACKLOG_FULL", headers={"Retry-After": str(BACKLOG_RETRY_AFTER_S)})
        return device


def _expiry(request: SendRequest, accepted_at: datetime) -> datetime | None:
    if request.expires_in is None:
        return None
    return (request.send_at or accepted_at) + timedelta(seconds=request.expires_in)


def _accepted(order: Order, message_id: str, at: datetime) -> Accepted:
    send_at = order.request.send_at
    return Accepted(
        id=message_id,
        device_id=order.device.id,
        to=order.to,
        status=STATUS_WORDS["queued" if send_at is None else "scheduled"],
        timestamp=round(at.timestamp() * 1000),
        send_at=send_at if send_at is not None else UNSET,
    )


def _digest(request: SendRequest, file_digest: str) -> str:
    """What makes two requests the same: their kind and fields, and of an uploaded file its bytes."""
    digest = hashlib.sha256(type(request).__name__.encode())
    digest.update(_encoder.encode(request))
    digest.update(file_digest.encode())
    return digest.hexdigest()
