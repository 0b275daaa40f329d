"""Which messages this process is done with, should the server bring them again.

After a crash the server does not know the newest acknowledgements of a stream that keeps its messages, and delivers
those messages as if for the first time. Only what this process did itself is known, and only the newest of it.
"""

from typing import Final

from kurir.runtime.incoming import Incoming

REMEMBERED: Final = 8192  # many times what a consumer may have delivered and not heard of


class DoneMessages:
    """The newest messages of one stream that were settled for good."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._published_at: dict[int, float] = {}  # by sequence; a stream that was made anew counts from 1 again

    def __contains__(self, message: Incoming) -> bool:
        return self._published_at.get(message.stream_seq) == message.published_at

    def add(self, message: Incoming) -> None:
        """Note that `message` was settled for good."""
        self._published_at[message.stream_seq] = message.published_at
        if len(self._published_at) > self._remembered:
            del self._published_at[next(iter(self._published_at))]
