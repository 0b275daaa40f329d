"""How far a consumer of a stream has come: what was stored before has been worked and acknowledged."""

import time

import nats.errors
from nats.js.api import ConsumerInfo

from kurir.runtime.broker import BrokerUnavailable, Bus


async def settled_until(bus: Bus, stream: str, consumer: str, subject: str) -> float:
    """Unix seconds of the oldest message of `subject` that the consumer has not acknowledged; now when there is none.

    Raises BrokerUnavailable.
    """
    now = time.time()  # before asking: what is stored meanwhile is later
    settled = await settled_seq(bus, stream, consumer)
    if settled is None:
        return now
    waiting = await bus.first_from(stream, subject, settled + 1)
    return waiting.published_at if waiting is not None else now


async def settled_seq(bus: Bus, stream: str, consumer: str) -> int | None:
    """The sequence up to which the consumer has acknowledged everything; None when nothing at all waits for it.

    Raises BrokerUnavailable, also when there is no such consumer.
    """
    info = await _info(bus, stream, consumer)
    if not info.num_pending and not info.num_ack_pending:
        return None
    return info.ack_floor.stream_seq if info.ack_floor is not None else 0


async def acknowledged_seq(bus: Bus, stream: str, consumer: str) -> int:
    """The sequence up to which the consumer has acknowledged everything it was to have, whatever waits behind it.

    Raises BrokerUnavailable, also when there is no such consumer.
    """
    info = await _info(bus, stream, consumer)
    return info.ack_floor.stream_seq if info.ack_floor is not None else 0


async def taken_seq(bus: Bus, stream: str, consumer: str) -> int:
    """The sequence up to which the consumer has handed out everything, settled or not; 0 when nothing.

    Raises BrokerUnavailable, also when there is no such consumer.
    """
    info = await _info(bus, stream, consumer)
    return info.delivered.stream_seq if info.delivered is not None else 0


async def last_seq(bus: Bus, stream: str) -> int:
    """The sequence of the newest message that was ever stored. Raises BrokerUnavailable."""
    try:
        return int((await bus.js.stream_info(stream)).state.last_seq)
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"{stream} cannot be asked: {error!r}", outcome_unknown=False) from error


async def pending(bus: Bus, stream: str, consumer: str) -> int:
    """Messages that the consumer has not acknowledged, those it has handed out included. Raises BrokerUnavailable."""
    info = await _info(bus, stream, consumer)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def _info(bus: Bus, stream: str, consumer: str) -> ConsumerInfo:
    try:
        info: ConsumerInfo = await bus.js.consumer_info(stream, consumer)
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"{consumer} cannot be asked: {error!r}", outcome_unknown=False) from error
    return info
