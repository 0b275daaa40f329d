"""What the options of a device's polls are, which votes name by their hashes alone.

Kept in memory for the last polls that were sent or seen. Of others that the device sent in the last day, with an owner
before this one perhaps, the status events tell; votes in older ones stay as WhatsApp tells them.
"""

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict

import msgspec

from kurir.contracts import events, subjects
from kurir.contracts.content import Content, Poll, PollVote
from kurir.contracts.events import MessageStatusChanged
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus, PublishError
from kurir.session_node.receipts import LOOK_AGAIN_AFTER_S, LOOK_BACK_EVENTS, LOOK_BACK_S

REMEMBERED = 500  # per device, about 1 kB each
LOOK_BACK_PAUSE_S = 0.5


class Polls:
    """Of one device at one owner."""

    def __init__(self, tenant: str, device: str, bus: Bus, limit: int = REMEMBERED) -> None:
        self._subject = subjects.event(tenant, device, "send.message.status")
        self._bus = bus
        self._limit = limit
        self._options: OrderedDict[str, dict[str, str]] = OrderedDict()  # by hash, by WhatsApp's id of the poll
        self._looked_at: float | None = None

    def remember(self, whatsapp_id: str, content: Content | None) -> None:
        """Of a message that was sent or received, if it is a poll."""
        if isinstance(content, Poll):
            self._options[whatsapp_id] = {hashlib.sha256(one.encode()).hexdigest(): one for one in content.options}
            if len(self._options) > self._limit:
                self._options.popitem(last=False)

    async def named(self, vote: PollVote) -> PollVote:
        """The vote with the texts of its options, if the poll is known."""
        if vote.target.whatsapp_id not in self._options and self._should_look_back():
            await self._look_back()
        options = self._options.get(vote.target.whatsapp_id, {})
        if not all(one in options for one in vote.hashes):
            return vote
        return msgspec.structs.replace(vote, options=tuple(options[one] for one in vote.hashes))

    def _should_look_back(self) -> bool:
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_AGAIN_AFTER_S:
            return False
        self._looked_at = now
        return True

    async def _look_back(self) -> None:
        while True:
            try:
                since = time.time() - LOOK_BACK_S
                stored = await self._bus.read_from(EVENTS.name, self._subject, 1, LOOK_BACK_EVENTS, since=since)
                break
            except PublishError:
                await asyncio.sleep(LOOK_BACK_PAUSE_S)
        for message in stored:
            with contextlib.suppress(msgspec.DecodeError):
                fact = events.decode("send.message.status", message.data)
                if isinstance(fact, MessageStatusChanged) and fact.whatsapp_id is not None:
                    self.remember(fact.whatsapp_id, fact.content)
