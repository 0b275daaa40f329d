"""Answering questions that any process of a service may be asked, over core NATS: nothing stored, nothing repeated.

Each question goes to one process of the queue group. Every one that arrives is answered by what `answer` returns;
whoever asks finds nobody when no process is there, and waits out its time when one died over the question.
"""

import asyncio
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from kurir.runtime.broker import Bus
from kurir.runtime.logs import get

log = get("kurir.answering")


class Answering:
    """From `start` to `stop`. `answer` gets a question's body and must not raise; beyond `at_once` it is `too_many`."""

    def __init__(
        self,
        bus: Bus,
        subject: str,
        *,
        queue: str,
        answer: Callable[[bytes], Awaitable[bytes]],
        at_once: int,
        too_many: bytes,
    ) -> None:
        self._bus = bus
        self._subject, self._queue = subject, queue
        self._answer = answer
        self._at_once, self._too_many = at_once, too_many
        self._subscription: Subscription | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        # The subscription hands over one message at a time, so nothing is waited for in its callback.
        self._subscription = await self._bus.nc.subscribe(self._subject, queue=self._queue, cb=self._take)

    async def stop(self) -> None:
        """Take no more, and finish what is under way."""
        if self._subscription is not None and self._bus.connected:
            await self._subscription.unsubscribe()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _take(self, message: Msg) -> None:
        task = asyncio.create_task(self._serve(message, len(self._under_way) >= self._at_once))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _serve(self, message: Msg, is_too_many: bool) -> None:
        reply = self._too_many if is_too_many else await self._answer(message.data)
        try:
            await self._bus.nc.publish(message.reply, reply)
        except NatsError as error:
            log.warning("question.not_answered", subject=self._subject, error=repr(error))
