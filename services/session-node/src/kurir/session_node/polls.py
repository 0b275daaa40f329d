"""What the options of a device's polls are, which votes name by their hashes alone.

Known of the last polls that were sent or seen, and of those that the device sent in the last day; votes in others stay
as WhatsApp tells them.
"""

import hashlib

import msgspec

from kurir.contracts.content import Content, Poll, PollVote
from kurir.session_node.look_back import Remembered

REMEMBERED = 500  # per device, about 1 kB each


class Polls(Remembered[dict[str, str]]):
    """Of one device at one owner: the options by their hashes."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        super().__init__(limit)

    def remember(self, whatsapp_id: str, content: Content | None) -> None:
        """Of a message that was sent or received, if it is a poll."""
        if isinstance(content, Poll):
            self.keep(whatsapp_id, {hashlib.sha256(one.encode()).hexdigest(): one for one in content.options})

    def named(self, vote: PollVote) -> PollVote:
        """The vote with the texts of its options, if the poll is known."""
        options = self.find(vote.target.whatsapp_id)
        if options is None or not all(one in options for one in vote.hashes):
            return vote
        return msgspec.structs.replace(vote, options=tuple(options[one] for one in vote.hashes))
