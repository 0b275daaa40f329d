"""What is known of a device's messages by WhatsApp's ids: of the last ones in memory, of the last day's in the stream.

What was sent before this owner began, or longer ago than memory reaches, is found in the status events. A look back
reads many of them, so a memory says when one may find something. Older messages are not found.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec

from kurir.contracts import events, subjects
from kurir.contracts.events import MessageStatusChanged
from kurir.contracts.streams import EVENTS
from kurir.runtime.broker import Bus, PublishError

LOOK_BACK_S = 24 * 3600.0
LOOK_BACK_EVENTS = 20_000
LOOK_BACK_PAUSE_S = 0.5
LOOK_AGAIN_AFTER_S = 60.0  # a device whose own phone writes much gets many receipts that are not ours

Kept = TypeVar("Kept")


class Remembered(Generic[Kept]):
    """What is kept of messages, by WhatsApp's ids; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._forgot_some = True  # what was before us counts as forgotten
        self._looked_at: float | None = None

    def find(self, whatsapp_id: str) -> Kept | None:
        return self._kept.get(whatsapp_id)

    def keep(self, whatsapp_id: str, kept: Kept) -> None:
        self._kept[whatsapp_id] = kept
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
            self._forgot_some = True

    def should_look_back(self, now: float) -> bool:
        """Whether a miss may be found in the stream; true at most once in LOOK_AGAIN_AFTER_S, and then it is done."""
        if not self._forgot_some or (self._looked_at is not None and now - self._looked_at < LOOK_AGAIN_AFTER_S):
            return False
        self._looked_at = now
        # When all of it fits, a second look would find nothing more.
        self._forgot_some = False
        return True


async def statuses_of_last_day(bus: Bus, tenant: str, device: str) -> list[tuple[str, MessageStatusChanged]]:
    """The statuses of messages that have got WhatsApp's id, by it, oldest first. Waits while the bus is away."""
    subject = subjects.event(tenant, device, "send.message.status")
    while True:
        try:
            stored = await bus.read_from(EVENTS.name, subject, 1, LOOK_BACK_EVENTS, since=time.time() - LOOK_BACK_S)
            break
        except PublishError:
            await asyncio.sleep(LOOK_BACK_PAUSE_S)
    found = []
    for message in stored:
        with contextlib.suppress(msgspec.DecodeError):
            fact = events.decode("send.message.status", message.data)
            if isinstance(fact, MessageStatusChanged) and fact.whatsapp_id is not None:
                found.append((fact.whatsapp_id, fact))
    return found
