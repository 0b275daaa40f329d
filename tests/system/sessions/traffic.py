"""What goes on while nodes come and go: every device is told to send, and people write to every device.

Every text is different, so that what a phone has read says which command it came from.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kurir.contracts.commands import SendMessage
from tests.support.session_nodes import a_message
from tests.system.sessions.cluster import Cluster

PEOPLE = tuple(f"6289990001{number:02}" for number in range(6))
ORDERS_PER_S = 8.0
SAID_PER_S = 4.0
ENDED_WITHIN_S = 30.0
ACK_S = 0.2  # as over a real network: so there is always a send whose outcome is not known yet


@dataclass(slots=True)
class Traffic:
    """`orders` by their texts; `said` are WhatsApp's ids of what people wrote, by the device (emulator's name)."""

    orders: dict[str, SendMessage] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def traffic(cluster: Cluster) -> AsyncIterator[Traffic]:
    """Traffic until the block ends. Half of the commands are to be sent again when their outcome is not known."""
    whatsapp, made = cluster.whatsapp, Traffic()
    for person in PEOPLE:
        await whatsapp.contact(person, name=f"Person {person}", delivered=True, read=True, echo=True)

    await whatsapp.set_faults(ack_delay_s=ACK_S)
    is_over = asyncio.Event()  # looked at between two orders: what was given is on record

    async def pause(per_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), random.expovariate(per_s))

    async def order() -> None:
        devices = itertools.cycle(cluster.linked_as)
        for number in itertools.takewhile(lambda _: not is_over.is_set(), itertools.count()):
            # Every third is answered by the person's phone with the rest of the text.
            text = f"{'echo ' if number % 3 == 0 else ''}order {number}"
            order = a_message(
                next(devices),
                to=f"{random.choice(PEOPLE)}@s.whatsapp.net",
                text=text,
                on_unknown="resend" if number % 2 else "report",
            )
            await cluster.gateway.order(order)
            made.orders[text] = order
            await pause(ORDERS_PER_S)

    async def say() -> None:
        devices = itertools.cycle(cluster.linked_as)
        for number in itertools.takewhile(lambda _: not is_over.is_set(), itertools.count()):
            device = next(devices)
            said = await whatsapp.say(random.choice(PEOPLE), cluster.phones[device], text=f"said {number}")
            made.said[said] = cluster.linked_as[device]
            await pause(SAID_PER_S)

    going = [asyncio.create_task(order()), asyncio.create_task(say())]
    try:
        yield made
    finally:
        is_over.set()
        ends = await asyncio.wait_for(asyncio.gather(*going, return_exceptions=True), ENDED_WITHIN_S)
        failed = [end for end in ends if isinstance(end, Exception)]
        assert not failed, failed
