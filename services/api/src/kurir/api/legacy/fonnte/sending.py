"""`/send`: one request, a message for each of its targets, and the numbers by which they are known.

All targets are judged before the first message is accepted. What is to wait, for its time or for the delay between
targets, waits in JetStream; nothing waits in the request. A single message that goes now is waited for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kurir.api.address_book.service import AddressBook
from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.legacy.access import Access
from kurir.api.legacy.fonnte.numbers import MessageNumbers
from kurir.api.legacy.sending import Sender, Sent
from kurir.api.media.service import MediaStore, StoredFile
from kurir.api.messages.known import KnownMessages
from kurir.api.people import chat_in
from kurir.api.problems import Problem, problem_of
from kurir.contracts.content import MessageKey, Quote, Text
from kurir.contracts.records import Device, Tenant
from kurir.dialects.fonnte import answers, errors, numbers, requests
from kurir.dialects.fonnte.fields import ROTATOR
from kurir.dialects.fonnte.requests import Send, Target
from kurir.dialects.orders import Order
from kurir.runtime.clock import Clock

SENT_WITHIN_S = 15.0  # a video is converted in that time; the end of a service leaves requests 20 s


Fetched = dict[tuple[str, str | None], StoredFile]
"""The files of a request, by URL and by the name that was given."""


class _Ready(Struct, frozen=True):
    """An order that was found right, and who sends it."""

    caller: Caller
    device: Device
    order: Order
    file: StoredFile | None
    is_refused_offline: bool


class FonnteSends:
    def __init__(
        self,
        clock: Clock,
        access: Access,
        devices: Devices,
        sender: Sender,
        known_messages: KnownMessages,
        media: MediaStore,
        message_numbers: MessageNumbers,
        address_book: AddressBook,
    ) -> None:
        self._clock = clock
        self._access = access
        self._devices = devices
        self._sender = sender
        self._known_messages = known_messages
        self._media = media
        self._numbers = message_numbers
        self._address_book = address_book
        self._chance = Random()

    async def request_id(self) -> int:
        """A number for a request, unlike that of any message. Raises PublishError."""
        (identifier,) = await self._numbers.take(1)
        return numbers.number_of(identifier) or 0

    def time_of(self, fields: dict[str, Any]) -> datetime:
        """When a message is to be sent instead. Raises Refused."""
        now = self._clock.now()
        at = requests.schedule_of(fields, now)
        least, most = requests.delay_of(fields)
        if at is None and not most:
            raise errors.invalid("schedule", "give a time in Unix seconds, or a delay.")
        return (at or now) + timedelta(seconds=self._chance.randint(least, most))

    async def send(
        self,
        callers: Sequence[Caller],
        fields: dict[str, Any],
        file: StoredFile | None,
        request_id: int,
        idempotency_key: str | None,
    ) -> dict[str, Any]:
        """The answer. Of several `callers`, of one tenant, each message is sent by one that is chosen by chance.

        When something fails on the way, what was accepted before stays accepted, and the answer says what was not.
        Raises Refused or Problem, then nothing was accepted or the one message was not sent.
        """
        sends = requests.sends_of(fields, now=self._clock.now(), has_file=file is not None)
        fetched: Fetched = {}
        try:
            ready = [one for send in sends for one in await self._ready(callers, send, file, fetched)]
            accepted, failure = await self._accept(ready, idempotency_key)
        finally:
            for one_file in fetched.values():
                if not one_file.is_sent:
                    await self._media.forget(one_file)
        answer = answers.sent(
            [numbers.number_of(sent.id) or 0 for sent in accepted],
            [answers.recipient(sent.to) for sent in accepted],
            request_id,
            is_scheduled=all(sent.status == "scheduled" for sent in accepted),
        )
        if failure is not None:
            answer["detail"] = errors.of_kurir(failure.code, failure.message).reason
            answer["not_accepted"] = [one.order.to for one in ready[len(accepted) :]]
        return answer

    async def _ready(
        self,
        callers: Sequence[Caller],
        send: Send,
        uploaded: StoredFile | None,
        fetched: Fetched,
    ) -> list[_Ready]:
        """A request's orders, its file stored and among `fetched`. Raises Refused or Problem."""
        tenant = callers[0].tenant
        file = uploaded if send.has_file else None
        if file is not None and file.info.size > requests.MAX_FILE_BYTES:
            raise Problem("MEDIA_TOO_LARGE", "The file is larger than 4 MB.", field="file")
        send = replace(send, targets=tuple([self._chosen(tenant, target) for target in send.targets]))
        for target in send.targets:
            chat_in(target.to, tenant.country, "to")
        quote = await self._quote(callers[0], send.inbox_number) if send.inbox_number is not None else None
        if send.url is not None:
            file = fetched.get((send.url, send.file_name))
            if file is None:
                file = await self._media.fetch(tenant.id, send.url, kind=None, file_name=send.file_name)
                fetched[send.url, send.file_name] = file
        kind = file.usual_kind if file is not None else None
        ready = []
        for order in send.orders(self._clock.now(), self._chance, kind):
            caller = self._chance.choice(callers)
            is_refused = send.is_refused_offline
            if is_refused is None:
                is_refused = caller.key.options.when_offline != "queue"
            ready.append(_Ready(caller, self._access.device(caller), replace(order, quote=quote), file, is_refused))
        return ready

    def _chosen(self, tenant: Tenant, target: Target) -> Target:
        """Of a rotator, which is a contact group, one of its numbers by chance. Raises Refused."""
        if not target.to.startswith(ROTATOR):
            return target
        name = target.to.removeprefix(ROTATOR)
        numbers_ = self._address_book.numbers_in(tenant.id, name)
        if not numbers_:
            raise errors.Refused(400, "target invalid", f"target: there is no contact group {name!r} with contacts.")
        return replace(target, to=self._chance.choice(numbers_))

    async def _accept(self, ready: list[_Ready], idempotency_key: str | None) -> tuple[list[Sent], Problem | None]:
        """What was accepted, and what the next one failed by. Raises as `send`."""
        accepted: list[Sent] = []
        is_single = len(ready) == 1
        try:
            for message_id, one in zip(await self._numbers.take(len(ready)), ready, strict=True):
                session = self._devices.session(one.device)
                is_connected = session is not None and session.state == "connected"
                sent = await self._sender.send(
                    one.caller,
                    one.device,
                    one.order,
                    uploaded=one.file,
                    request_id=idempotency_key if is_single else None,
                    refuse_offline=one.is_refused_offline,
                    wait_s=SENT_WITHIN_S if is_single and is_connected else 0,
                    message_id=message_id,
                    is_limited=False,
                )
                if sent.outcome is not None and sent.status != "sent":
                    raise errors.not_sent(sent.reason)
                accepted.append(sent)
        except Exception as error:
            if not accepted:
                raise
            return accepted, problem_of(error)
        return accepted, None

    async def _quote(self, caller: Caller, inbox_number: int) -> Quote:
        """The received message of this number. Raises Problem."""
        beginning = numbers.inbox_beginning(inbox_number)
        try:
            if beginning is None:
                raise Problem("MESSAGE_NOT_FOUND")
            received = await self._known_messages.received(caller, beginning)
        except Problem as problem:
            if problem.code != "MESSAGE_NOT_FOUND":
                raise
            raise errors.invalid("inboxid", "there is no such message.") from None
        sender = received.sender.pn or received.sender.jid if received.is_group else None
        return Quote(
            key=MessageKey(
                chat=received.chat.pn or received.chat.jid,
                whatsapp_id=received.whatsapp_id,
                from_me=received.from_me,
                participant=sender,
            ),
            text=received.content.text if isinstance(received.content, Text) else None,
        )
