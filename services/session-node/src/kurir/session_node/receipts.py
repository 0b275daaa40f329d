"""Which of our messages a receipt is about: WhatsApp's id against ours.

Kept in memory for the last messages of a device; what was sent before this owner began, or longer ago than memory
reaches, is looked up in the status events of the last day. Older receipts are not matched.
"""

from collections import OrderedDict
from typing import NamedTuple

REMEMBERED = 2_000  # per device, about 350 bytes each: an hour at the full pace of a busy device
LOOK_BACK_S = 24 * 3600.0
LOOK_BACK_EVENTS = 20_000
LOOK_AGAIN_AFTER_S = 60.0  # a device whose own phone writes much gets many receipts that are not ours


class SentMessage(NamedTuple):
    """`has_receipt`: some device of a receiver has it."""

    message_id: str
    to: str
    has_receipt: bool = False


class SentMessages:
    """WhatsApp ids of the last messages of one device; the oldest go first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._messages: OrderedDict[str, SentMessage] = OrderedDict()
        self._forgot_some = True  # what was sent before us counts as forgotten
        self._looked_at: float | None = None

    def remember(self, whatsapp_id: str, message_id: str, to: str) -> None:
        self._messages.setdefault(whatsapp_id, SentMessage(message_id, to))
        if len(self._messages) > self._limit:
            self._messages.popitem(last=False)
            self._forgot_some = True

    def received(self, whatsapp_id: str) -> None:
        """A device of a receiver has this message."""
        known = self._messages.get(whatsapp_id)
        if known is not None and not known.has_receipt:
            self._messages[whatsapp_id] = known._replace(has_receipt=True)

    def find(self, whatsapp_id: str) -> SentMessage | None:
        return self._messages.get(whatsapp_id)

    def should_look_back(self, now: float) -> bool:
        """Whether a miss may be found in the stream; true at most once in LOOK_AGAIN_AFTER_S, and then it is done."""
        if not self._forgot_some or (self._looked_at is not None and now - self._looked_at < LOOK_AGAIN_AFTER_S):
            return False
        self._looked_at = now
        # When all of it fits, a second look would find nothing more.
        self._forgot_some = False
        return True
