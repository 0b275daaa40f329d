"""What a device does by itself, as its tenant chose: it marks what it receives as read, and appears online.

Never in the way of anything: nobody waits for it. What WhatsApp does not take is let go, and so are the oldest marks
when too many wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from kurir.contracts.content import MessageKey
from kurir.contracts.events import MessageUpserted
from kurir.contracts.records import DeviceSettings
from kurir.session_node.engines.engine import EngineSession, NotConnected
from kurir.session_node.engines.requests import MarksRead, RequestFailed, ShowsPresence
from kurir.session_node.tasks import ended

log = structlog.get_logger(__name__)

MAX_WAITING = 1_000
AT_ONCE = 100
WITHIN_S = 35.0  # an engine gives WhatsApp 30 s


class Habits:
    """Of one device. `session` gives the engine's session that is open now; `stop` ends what is under way."""

    def __init__(self, device_id: str, session: Callable[[], EngineSession | None]) -> None:
        self.settings = DeviceSettings()
        self._device_id = device_id
        self._session = session
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

    async def stop(self) -> None:
        self._unread.clear()
        if self._task is not None:
            self._task.cancel()
        await ended(self._task)

    def _begin(self) -> None:
        if self._task is None and (self._appears or self._unread):
            self._task = asyncio.get_running_loop().create_task(self._follow(), name=f"habits {self._device_id}")

    async def _follow(self) -> None:
        try:
            while self._appears or self._unread:
                appears, self._appears = self._appears, False
                keys = tuple(self._unread.popleft() for _ in range(min(AT_ONCE, len(self._unread))))
                try:
                    async with asyncio.timeout(WITHIN_S):
                        await self._do(appears, keys)
                except (RequestFailed, NotConnected, TimeoutError) as error:
                    log.info("session.habit_failed", device=self._device_id, error=str(error), unread=len(keys))
        finally:
            self._task = None

    async def _do(self, appears: bool, keys: tuple[MessageKey, ...]) -> None:
        session = self._session()
        if appears and isinstance(session, ShowsPresence):
            await session.show_online(True)
        if keys and isinstance(session, MarksRead):
            await session.mark_read(keys, False)
