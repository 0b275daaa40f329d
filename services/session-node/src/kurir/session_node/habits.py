"""What a device does by itself, as its tenant chose: it marks what it receives as read, appears online, rejects calls
and writes to who called.

Never in the way of anything: nobody waits for it. What WhatsApp does not take is let go, and so are the oldest marks
when too many wait.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from kurir.contracts import ids
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS, MessageKey, Text
from kurir.contracts.events import CallUpdated, MessageUpserted
from kurir.contracts.records import DeviceSettings
from kurir.runtime.broker import PublishError
from kurir.session_node.engines.engine import EngineSession, NotConnected
from kurir.session_node.engines.observations import StatusPosted
from kurir.session_node.engines.requests import MarksRead, RejectsCalls, RequestFailed, ShowsPresence
from kurir.session_node.tasks import ended

log = structlog.get_logger(__name__)

MAX_WAITING = 1_000
MAX_CALLS = 20
RINGS_FOR = timedelta(seconds=60)  # WhatsApp gives up after some 45 s
OF_INTEREST_FOR = timedelta(minutes=10)
AT_ONCE = 100
WITHIN_S = 35.0  # an engine gives WhatsApp 30 s


class Habits:
    """Of one device. `session` gives the engine's session that is open now, `order` stores a message to be sent;
    `stop` ends what is under way."""

    def __init__(
        self,
        device_id: str,
        session: Callable[[], EngineSession | None],
        order: Callable[[SendMessage], Awaitable[None]],
    ) -> None:
        self.settings = DeviceSettings()
        self._device_id = device_id
        self._session = session
        self._order = order
        self._calls = deque[CallUpdated](maxlen=MAX_CALLS)
        self._answered = deque[str](maxlen=MAX_CALLS)
        self._unread = deque[MessageKey](maxlen=MAX_WAITING)
        self._appears = False
        self._task: asyncio.Task[None] | None = None

    def connected(self) -> None:
        """A connection is open: WhatsApp takes each new one for offline."""
        self._appears = self.settings.always_online
        self._begin()

    def received(self, message: MessageUpserted) -> None:
        """A message is stored, and may be said to be read."""
        if not self.settings.read_messages or message.from_me:
            return
        participant = message.sender.jid if message.is_group else None
        self._unread.append(MessageKey(chat=message.chat.jid, whatsapp_id=message.whatsapp_id, participant=participant))
        self._begin()

    def posted(self, posted: StatusPosted) -> None:
        """Somebody showed a status update, who may be told that it was seen."""
        if self.settings.read_status:
            key = MessageKey(chat=STATUS, whatsapp_id=posted.whatsapp_id, participant=posted.sender.jid)
            self._unread.append(key)
            self._begin()

    def called(self, call: CallUpdated) -> None:
        """A call is stored, or what became of it. Of old ones, which rang while the device was away, nobody waits for
        an answer."""
        rings = call.state == "offered" and datetime.now(UTC) - call.at < RINGS_FOR
        if (
            rings
            and call.call_id not in self._answered
            and (self.settings.reject_call or self.settings.msg_call.strip())
        ):
            self._answered.append(call.call_id)
            self._calls.append(call)
            self._begin()

    async def stop(self) -> None:
        self._unread.clear()
        self._calls.clear()
        if self._task is not None:
            self._task.cancel()
        await ended(self._task)

    def _begin(self) -> None:
        if self._task is None and (self._appears or self._unread or self._calls):
            self._task = asyncio.get_running_loop().create_task(self._follow(), name=f"habits {self._device_id}")

    async def _follow(self) -> None:
        try:
            while self._appears or self._unread or self._calls:
                if self._calls:
                    await self._answer(self._calls.popleft())
                    continue
                appears, self._appears = self._appears, False
                keys = tuple(self._unread.popleft() for _ in range(min(AT_ONCE, len(self._unread))))
                try:
                    async with asyncio.timeout(WITHIN_S):
                        await self._do(appears, keys)
                except (RequestFailed, NotConnected, TimeoutError) as error:
                    log.info("session.habit_failed", device=self._device_id, error=str(error), unread=len(keys))
        finally:
            self._task = None

    async def _answer(self, call: CallUpdated) -> None:
        """Each for itself: a call that is not rejected is written about all the same."""
        session = self._session()
        try:
            if self.settings.reject_call and isinstance(session, RejectsCalls):
                async with asyncio.timeout(WITHIN_S):
                    await session.reject_call(call.sender.jid, call.call_id)
        except (RequestFailed, NotConnected, TimeoutError) as error:
            log.info("session.call_not_rejected", device=self._device_id, error=str(error))
        text = self.settings.msg_call.strip()
        if not text:
            return
        try:
            await self._order(_message_about(call, text))
        except PublishError as error:
            log.warning("session.call_not_written_about", device=self._device_id, error=str(error))

    async def _do(self, appears: bool, keys: tuple[MessageKey, ...]) -> None:
        session = self._session()
        if appears and isinstance(session, ShowsPresence):
            await session.show_online(True)
        if keys and isinstance(session, MarksRead):
            await session.mark_read(keys, False)


def _message_about(call: CallUpdated, text: str) -> SendMessage:
    """One message for one call, however often it is reported."""
    now = datetime.now(UTC)
    return SendMessage(
        id=ids.uuid7_of(round(call.at.timestamp() * 1000), "about call", call.device, call.call_id),
        tenant=call.tenant,
        device=call.device,
        to=call.sender.pn or call.sender.jid,
        content=Text(text=text),
        accepted_at=now,
        expires_at=now + OF_INTEREST_FOR,
    )
