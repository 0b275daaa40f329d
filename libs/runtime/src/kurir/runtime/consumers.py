"""Consumers that come and go with what they serve. Those that last stand in contracts.streams."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kurir.runtime.broker import BrokerUnavailable, Bus


async def open_one_by_one(
    bus: Bus,
    stream: str,
    name: str,
    filters: Sequence[str],
    *,
    since: datetime | None,
    ack_wait_s: float,
    idle_s: float,
) -> bool:
    """A durable that hands out one message at a time, to all who pull together, in the order of the stream.

    It begins with what was stored at `since`; one that is there already stays where it is and gets the new filters.
    With `since` None none is made, and False says that there is none. After `idle_s` without a pull it is forgotten.
    Raises BrokerUnavailable.
    """
    with _failures():
        try:
            config = (await bus.js.consumer_info(stream, name)).config
        except NotFoundError:
            if since is None:
                return False
            config = ConsumerConfig(
                durable_name=name,
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=since.astimezone(UTC),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait_s,
                max_ack_pending=1,
                inactive_threshold=idle_s,
            )
        config.filter_subjects = list(filters)
        await bus.js.add_consumer(stream, config)
    return True


async def delete(bus: Bus, stream: str, name: str) -> None:
    """Delete a consumer, whether it is there or not. Raises BrokerUnavailable."""
    with _failures(), contextlib.suppress(NotFoundError):
        await bus.js.delete_consumer(stream, name)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except NatsError as error:
        raise BrokerUnavailable(str(error) or repr(error), outcome_unknown=True) from error
