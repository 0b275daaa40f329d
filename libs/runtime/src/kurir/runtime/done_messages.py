"""Which messages this process is done with, should the server bring them again.

After a crash the server does not know the newest acknowledgements of a stream that keeps its messages, and delivers
those messages as if for the first time. Only what this process did itself is known, and only the newest of it.
"""

from collections import OrderedDict
from typing import Final

from kurir.runtime.incoming import Incoming

REMEMBERED: Final = 8192  # many times what a consumer may have delivered and not heard of


class DoneMessages:
    """The newest messages of one stream that were settled for good."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        # By sequence; a stream that was made anew counts from 1 again. Ordered, as a dict whose first entry is taken
        # away again and again looks through all that were taken before.
        self._published_at: OrderedDict[int, float] = OrderedDict()

    def __contains__(self, message: Incoming) -> bool:
        known = self._published_at.get(message.stream_seq)
        return known is not None and known == message.published_at

    def add(self, message: Incoming) -> None:
        """Note that `message` was settled for good."""
        self._published_at[message.stream_seq] = message.published_at
        if len(self._published_at) > self._remembered:
            self._published_at.popitem(last=False)
