"""Which of our messages a receipt is about: WhatsApp's id against ours."""

from typing import NamedTuple

from kurir.session_node.look_back import Remembered

REMEMBERED = 2_000  # per device, about 350 bytes each: an hour at the full pace of a busy device


class SentMessage(NamedTuple):
    """`has_receipt`: some device of a receiver has it."""

    message_id: str
    to: str
    has_receipt: bool = False


class SentMessages(Remembered[SentMessage]):
    """The last messages of one device."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        super().__init__(limit)

    def remember(self, whatsapp_id: str, message_id: str, to: str) -> None:
        if self.find(whatsapp_id) is None:
            self.keep(whatsapp_id, SentMessage(message_id, to))

    def received(self, whatsapp_id: str) -> None:
        """A device of a receiver has this message."""
        known = self.find(whatsapp_id)
        if known is not None and not known.has_receipt:
            self.keep(whatsapp_id, known._replace(has_receipt=True))
