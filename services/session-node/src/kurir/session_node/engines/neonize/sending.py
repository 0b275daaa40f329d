"""Sending through one session's link: one message after the other, each with an outcome.

An answer is `sent`, a refusal that is certain, or unknown; receipts are held back until the send they are for returned.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from kurir.contracts.content import Address, Quote, kind_of, media_of
from kurir.session_node.engines.engine import (
    Capability,
    MediaFailed,
    OutcomeUnknown,
    Outgoing,
    ReceiptSeen,
    SendFailed,
    SendOrder,
    Sent,
)
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.library import Library
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.media_forms import MediaForm, MediaForms
from kurir.session_node.engines.neonize.quiet import Quiet
from kurir.session_node.engines.requests import RequestFailed

ACK_TIMEOUT_S = 40.0  # the first message to a group of 1,000 asks for their keys before; whatsmeow would wait 75 s
TURN_TIMEOUT_S = 90.0
MEDIA_TIMEOUT_S = 180.0
TYPING_CALL_TIMEOUT_S = 10.0
AUDIENCE_TIMEOUT_S = 20.0
MAX_TYPING_S = 25.0
MAX_MEDIA_BYTES = 100 * 1024 * 1024  # the library takes and gives media whole, in memory
LARGE_BYTES = 1024 * 1024
LARGE_AT_ONCE = 8
SENT_REMEMBERED = 1000
RESENDABLE = 256  # a whatsmeow client remembers so many of its messages, in memory, to send them again (its retry.go)


class Transfers:
    """Large media that is in memory at once, over all sessions of the process; small media is never held up."""

    def __init__(self, at_once: int = LARGE_AT_ONCE) -> None:
        self._large = asyncio.Semaphore(at_once)

    def room(self, size: int) -> contextlib.AbstractAsyncContextManager[None]:
        """Enter before media of `size` bytes is read, leave when it is forgotten."""
        return self._large if size >= LARGE_BYTES else contextlib.nullcontext()


class Sender:
    """`require_link` gives the link that is connected now or raises NotConnected; `give_up` ends that link, `tell`
    reports a receipt; `own_jid` is who we are in a chat.
    """

    def __init__(
        self,
        library: Library,
        capabilities: frozenset[Capability],
        people: AddressBook,
        forms: MediaForms,
        transfers: Transfers,
        quiet: Quiet,
        require_link: Callable[[], Link],
        give_up: Callable[[str], None],
        tell: Callable[[ReceiptSeen], None],
        own_jid: Callable[[str], str],
        *,
        ack_timeout_s: float = ACK_TIMEOUT_S,
    ) -> None:
        self._library = library
        self._capabilities = capabilities
        self._people = people
        self._forms = forms
        self._transfers = transfers
        self._quiet = quiet
        self._require_link = require_link
        self._give_up = give_up
        self._tell = tell
        self._own_jid = own_jid
        self._ack_timeout_s = ack_timeout_s
        self._turn = asyncio.Lock()
        self._sending = False
        self._sent_lately: OrderedDict[str, None] = OrderedDict()
        self._resendable: deque[str] = deque(maxlen=RESENDABLE)
        self._early: list[ReceiptSeen] = []

    def has_new_link(self) -> None:
        """The library's new client remembers nothing that a former one sent."""
        self._resendable.clear()

    async def send(self, order: SendOrder) -> Sent:
        """Send one message; messages of one session go one after the other.

        Raises SendFailed, OutcomeUnknown or NotConnected.
        """
        from kurir.session_node.engines.neonize import to_whatsapp

        link = self._require_link()
        if f"send.{kind_of(order.content)}" not in self._capabilities:
            raise SendFailed("kind_not_supported", kind_of(order.content))
        try:
            to = to_whatsapp.jid(order.to).SerializeToString()
        except ValueError as error:
            raise SendFailed("invalid_recipient", str(error)) from error
        # whatsmeow holds a lock while it waits for an ack; waiting here keeps one slow send from adding up to minutes.
        async with self._my_turn():
            upload, form = None, None
            media = media_of(order.content)
            if media is not None:
                async with self._transfers.room(media.size):
                    form = await self._forms.form(order.content, *await self._read(order.media))
                    upload = await self._upload(link, form, to_whatsapp.MEDIA_TYPE[type(order.content)])
                    form = msgspec.structs.replace(form, data=b"")  # uploaded; the rest of the send may take a while
            message = to_whatsapp.message(
                order.content,
                upload=upload,
                form=form,
                quote=self._with_author(order.quote),
                mentions=order.mentions,
                thumbnail=order.thumbnail,
            ).SerializeToString()
            if order.audience:
                await self._require_audience(link, frozenset(order.audience))
            if order.typing_ms > 0:
                await self._type(link, to, order.typing_ms / 1000)
            await self._quiet.wait(self._names_of(order.to))
            self._sending = True
            try:
                return await self._send(link, order.to, to, message)
            finally:
                self._sending = False
                # Once the caller has its answer.
                asyncio.get_running_loop().call_soon(self._tell_early)

    async def _require_audience(self, link: Link, audience: frozenset[str]) -> None:
        """Raises SendFailed unless all to whom the library would show a status are in `audience`.

        It takes no list: its recipients are those of the account's setting, or of the contacts with a name (whatsmeow's
        broadcast.go).
        """
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        def ask(function: str) -> Awaitable[bytes]:
            return link.call(self._library.ask, function, (), timeout_s=AUDIENCE_TIMEOUT_S)

        try:
            setting = answers.status_setting(await ask("GetStatusPrivacy"))
            contacts = answers.contacts(await ask("GetAllContacts")) if setting.only is None else []
        except (TimeoutError, RequestFailed) as error:
            raise SendFailed("server_unavailable", "who would see the status is not known", 30.0) from error
        seen_by = setting.shown_to(contacts)
        known = {name for jid in audience for name in self._names_of(jid)}
        strangers = sum(known.isdisjoint(self._names_of(jid)) for jid in seen_by)
        if strangers:
            raise SendFailed("kind_not_supported", f"a status to chosen people: {strangers} more would see it")

    def _with_author(self, quote: Quote | None) -> Quote | None:
        """Whose message is quoted, where the caller says no more than that it is ours."""
        if quote is None or not quote.key.from_me or quote.key.participant is not None:
            return quote
        key = msgspec.structs.replace(quote.key, participant=self._own_jid(quote.key.chat))
        return msgspec.structs.replace(quote, key=key)

    def _names_of(self, chat: str) -> tuple[str | None, ...]:
        """Every form in which the chat is known."""
        server = chat.partition("@")[2]
        known = self._people.complete(
            Address(jid=chat, pn=chat if server == "s.whatsapp.net" else None, lid=chat if server == "lid" else None)
        )
        return (known.jid, known.pn, known.lid)

    async def _send(self, link: Link, to_text: str, to: bytes, message: bytes) -> Sent:
        from kurir.session_node.engines.neonize import from_whatsapp

        self._require_link()
        try:
            answer = await link.call(self._library.send_message, to, message, timeout_s=self._ack_timeout_s)
        except TimeoutError as error:
            # whatsmeow holds a lock while it waits, and would send the message again after a reconnect: of a message
            # that is called unknown nothing may leave any more, and those behind it must not wait for it.
            self._give_up("an acknowledgement did not come")
            raise OutcomeUnknown(f"no answer within {self._ack_timeout_s:.0f} s") from error
        sent = from_whatsapp.sent(answer, to_text)
        self._remember(sent.whatsapp_id)
        return msgspec.structs.replace(sent, chat=self._people.complete(sent.chat))

    async def _read(self, media: Outgoing | None) -> tuple[bytes, str]:
        """The media's bytes and its mimetype. Raises SendFailed."""
        if media is None:
            raise SendFailed("media_missing", "the order has no media")
        if media.media.size > MAX_MEDIA_BYTES:
            raise SendFailed("media_refused", f"{media.media.size} bytes are more than {MAX_MEDIA_BYTES}")
        chunks, size = list[bytes](), 0
        try:
            async with asyncio.timeout(MEDIA_TIMEOUT_S):
                async for chunk in media.chunks():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_MEDIA_BYTES:
                        raise SendFailed("media_refused", f"more than {MAX_MEDIA_BYTES} bytes")
        except MediaFailed as error:
            raise SendFailed(error.reason, error.detail, error.retry_after_s) from error
        except TimeoutError as error:
            raise SendFailed("server_unavailable", "reading the media took too long", 30.0) from error
        return b"".join(chunks), media.media.mimetype

    async def _upload(self, link: Link, form: MediaForm, media_type: int) -> Any:
        from kurir.session_node.engines.neonize import from_whatsapp

        try:
            answer = await link.call(self._library.upload, form.data, media_type, timeout_s=MEDIA_TIMEOUT_S)
        except TimeoutError as error:
            raise SendFailed("server_unavailable", "the upload took too long", 30.0) from error
        return from_whatsapp.uploaded(answer)

    async def _type(self, link: Link, to: bytes, typing_s: float) -> None:
        """Show "typing…" for a while. A hint: when it fails, the message goes out all the same."""

        async def show(state: int) -> None:
            arguments = (to, len(to), state, 0)
            with contextlib.suppress(TimeoutError):
                await link.call(self._library.ask, "SendChatPresence", arguments, timeout_s=TYPING_CALL_TIMEOUT_S)

        await show(0)
        await asyncio.sleep(min(typing_s, MAX_TYPING_S))
        await show(1)

    @contextlib.asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise SendFailed("engine_error", "messages before this one block the session", 30.0) from error
        try:
            yield
        finally:
            self._turn.release()

    def hear(self, receipt: ReceiptSeen) -> None:
        """Report a receipt, but never before the send that it is for has returned, nor before an earlier one."""
        ids = set(receipt.whatsapp_ids)
        is_early = self._sending and not self._sent_lately.keys() & ids
        if is_early or any(ids.intersection(early.whatsapp_ids) for early in self._early):
            self._early.append(receipt)
        elif receipt.status != "unreadable" or not ids.intersection(self._resendable):
            self._tell_receipt(receipt)  # else the library sends it again

    def _tell_early(self) -> None:
        early, self._early = self._early, []
        for receipt in early:
            self.hear(receipt)

    def _tell_receipt(self, receipt: ReceiptSeen) -> None:
        chat, sender = self._people.complete(receipt.chat), self._people.complete(receipt.sender)
        self._tell(msgspec.structs.replace(receipt, chat=chat, sender=sender))

    def _remember(self, whatsapp_id: str) -> None:
        self._resendable.append(whatsapp_id)
        self._sent_lately[whatsapp_id] = None
        if len(self._sent_lately) > SENT_REMEMBERED:
            self._sent_lately.popitem(last=False)
