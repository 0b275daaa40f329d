"""What became of a message whose sending was begun before: by a former owner, or by us before a redelivery.

The `sending` mark is stored before the engine is called, the outcome after it. So a mark without outcome means that
nobody knows. Pure: outbound.py reads the stream and acts on the verdict.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.contracts.states import SETTLED_STATUSES


class Verdict(Struct, frozen=True):
    """`settled`: the outcome is stored. `again`: it was certainly not sent. `unknown`: it may have been.

    `attempt` is the last one that was begun.
    """

    kind: Literal["settled", "again", "unknown"]
    attempt: int


def verdict(message_id: str, marks: Iterable[MessageSending], statuses: Iterable[MessageStatusChanged]) -> Verdict:
    """Judge by everything stored about the device since the message's first mark; other messages are ignored."""
    begun: dict[int, int] = {}
    for mark in marks:
        if mark.message_id == message_id:
            begun[mark.attempt] = max(mark.epoch, begun.get(mark.attempt, 0))
    last = max(begun, default=0)
    outcomes = [status for status in statuses if status.message_id == message_id]
    if any(status.status in SETTLED_STATUSES for status in outcomes):
        return Verdict("settled", last)
    # `retrying` says for certain that an attempt was not sent. A former owner may say so late, of its own attempt
    # of this number; about the one that a later owner began, it knows nothing.
    is_certain = any(
        status.status == "retrying" and status.attempt == last and status.epoch >= begun[last] for status in outcomes
    )
    return Verdict("again" if last == 0 or is_certain else "unknown", last)
