"""How far a consumer of a stream has come, in time: what was stored before has been worked and acknowledged."""

import time

import nats.errors

from kurir.runtime.broker import BrokerUnavailable, Bus


async def settled_until(bus: Bus, stream: str, consumer: str, subject: str) -> float:
    """Unix seconds of the oldest message of `subject` that the consumer has not acknowledged; now when there is none.

    Raises BrokerUnavailable.
    """
    now = time.time()  # before asking: what is stored meanwhile is later
    try:
        info = await bus.js.consumer_info(stream, consumer)
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"{consumer} cannot be asked: {error!r}", outcome_unknown=False) from error
    if not info.num_pending and not info.num_ack_pending:
        return now
    settled = info.ack_floor.stream_seq if info.ack_floor is not None else 0
    waiting = await bus.read_from(stream, subject, settled + 1, 1)
    return waiting[0].published_at if waiting else now
