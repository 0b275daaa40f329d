"""Messages of a work queue that were acknowledged and stand in their stream all the same: a nats-server that was killed
may know their acknowledgements, and have the messages back.

No consumer that knows of the acknowledgements hands them out again, so they would stand there for ever.
"""

from kurir.runtime.broker import Bus
from kurir.runtime.logs import get
from kurir.runtime.progress import acknowledged_seq

log = get("kurir.leftovers")


async def clear_acknowledged(bus: Bus, stream: str, consumer: str, subject: str) -> int | None:
    """Delete what lies below the floor under which `consumer` has acknowledged all of its `subject`.

    Returns the sequence of the oldest message of `subject` that is there to stay, None when there is none. Raises
    BrokerUnavailable, also when there is no such consumer.
    """
    # The floor first: what lies below it was acknowledged by then, whatever is stored or removed meanwhile.
    floor = await acknowledged_seq(bus, stream, consumer)
    deleted, seq = 0, 1
    while (first := await bus.first_from(stream, subject, seq)) is not None and first.seq <= floor:
        await bus.delete_message(stream, first.seq)
        deleted, seq = deleted + 1, first.seq + 1
    if deleted:
        log.warning("leftovers.deleted", stream=stream, consumer=consumer, count=deleted, floor=floor)
    return first.seq if first is not None else None
