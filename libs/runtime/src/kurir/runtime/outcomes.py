"""What became of a message just accepted, for callers that wait for it.

Each replica listens on one subject of its own; a session node tells there after it has stored the outcome. What is not
heard in time is not lost: it is in the stream, and the caller is told that the message is on its way.
"""

import asyncio
import contextlib
from collections import OrderedDict

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from kurir.contracts.events import MessageStatusChanged
from kurir.runtime import logs
from kurir.runtime.broker import Bus

MAX_EARLY = 4096  # outcomes that came before anybody asked; their callers ask within milliseconds

_decoder = msgspec.json.Decoder(MessageStatusChanged)

log = logs.get("kurir.outcomes")


class Outcomes:
    """`start` before the first message, `stop` after the last."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.prefix = bus.nc.new_inbox()
        """Before the message's id, the subject on which its outcome is to be told."""
        self._waiting: dict[str, asyncio.Future[MessageStatusChanged]] = {}
        self._early: OrderedDict[str, MessageStatusChanged] = OrderedDict()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._subscription = await self._bus.nc.subscribe(f"{self.prefix}.*", cb=self._heard)

    async def stop(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        for waiting in self._waiting.values():
            waiting.cancel()

    async def of(self, message_id: str, wait_s: float) -> MessageStatusChanged | None:
        """The outcome (sent, failed, unknown or expired) of a message submitted with our prefix; None when there is
        none within `wait_s` seconds."""
        early = self._early.pop(message_id, None)
        if early is not None:
            return early
        outcome: asyncio.Future[MessageStatusChanged] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = outcome
        try:
            async with asyncio.timeout(wait_s):
                return await outcome
        except TimeoutError:
            return None
        finally:
            del self._waiting[message_id]

    async def _heard(self, message: Msg) -> None:
        try:
            told = _decoder.decode(message.data)
        except msgspec.DecodeError as error:
            log.warning("outcome.not_read", error=str(error))
            return
        if told.status == "retrying":
            return
        waiting = self._waiting.get(told.message_id)
        if waiting is None:
            self._early[told.message_id] = told
            if len(self._early) > MAX_EARLY:
                self._early.popitem(last=False)
        elif not waiting.done():
            waiting.set_result(told)
