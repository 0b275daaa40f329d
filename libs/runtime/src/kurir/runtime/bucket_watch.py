"""One reading of a KV bucket: everything it holds, then each change, in order, until something is wrong.

Guarantees that no change is missed silently: a gap, silence beyond the heartbeat or a lost connection ends the watch
with WatchBroken, and its owner (the registry) begins a new one from the start. It never repairs itself.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg

from kurir.runtime import keyvalue
from kurir.runtime.broker import BrokerUnavailable, Bus, Unreachable

HEARTBEAT_S = 3  # the server says at this interval that there is nothing to say
SILENCE_S = 3 * HEARTBEAT_S  # one lost heartbeat may be a hiccup, three are a dead watch
CREATE_TIMEOUT_S = 5.0
ABANDONED_AFTER_S = 10  # how long the server keeps the consumer of a watch that ended

_NS = 1_000_000_000


class WatchBroken(Exception):
    """The watch cannot vouch for its view any more; its text is the reason."""


class Update(Struct, frozen=True):
    """What a key holds at a revision; `value` None means that it is gone. `ttl_s`: it expires after so many seconds."""

    key: str
    revision: int
    value: bytes | None
    ttl_s: int | None


class BucketWatch:
    """`on_update` gets each entry and change, `on_complete` comes once, when all that was there has been given.

    `on_complete` is told a revision: nothing of that or an older one is still to come.
    """

    def __init__(
        self, bus: Bus, bucket: str, on_update: Callable[[Update], None], on_complete: Callable[[int], None]
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._on_update = on_update
        self._on_complete = on_complete
        self._is_complete = False
        self._began_at = 0
        self._last_delivered = 0
        self._heard_at = time.monotonic()
        self._broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> NoReturn:
        """Read and follow the bucket. Raises WatchBroken, for ever its only end but cancellation."""
        inbox = self._bus.nc.new_inbox()
        try:
            # The newest entry may be gone: then no update tells how far this reading goes.
            self._began_at = await keyvalue.last_revision(self._bus, self._bucket)
            subscription = await self._bus.nc.subscribe(inbox, cb=self._receive)
            try:
                if await self._create_consumer(inbox) == 0:
                    self._complete()
                raise WatchBroken(await self._breakage())
            finally:
                with contextlib.suppress(nats.errors.Error):
                    await subscription.unsubscribe()
        except (nats.errors.Error, BrokerUnavailable, Unreachable) as error:
            raise WatchBroken(repr(error)) from error

    def break_off(self, reason: str) -> None:
        """End the watch from outside, e.g. after a reconnect. Harmless when repeated."""
        if not self._broken.done():
            self._broken.set_result(reason)

    async def _create_consumer(self, inbox: str) -> int:
        """Ask for an ephemeral consumer and return how many entries it is going to deliver."""
        stream = keyvalue.stream_of(self._bucket)
        config = {
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "filter_subject": f"$KV.{self._bucket}.>",
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * _NS),
            "inactive_threshold": ABANDONED_AFTER_S * _NS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        asked = json.dumps({"stream_name": stream, "config": config}).encode()
        answer = await self._bus.request(f"$JS.API.CONSUMER.CREATE.{stream}", asked, CREATE_TIMEOUT_S)
        created: dict[str, Any] = json.loads(answer)
        if "error" in created:
            raise WatchBroken(f"{stream}: {created['error'].get('description')}")
        return int(created["num_pending"])

    async def _breakage(self) -> str:
        while True:
            done, _ = await asyncio.wait([self._broken], timeout=HEARTBEAT_S)
            if done:
                return self._broken.result()
            if time.monotonic() - self._heard_at > SILENCE_S:
                return f"nothing heard for {SILENCE_S} s"

    async def _receive(self, message: Msg) -> None:
        self._heard_at = time.monotonic()
        if self._broken.done():
            return
        if message.headers is not None and message.headers.get("Status") == "100":
            await self._answer_control(message)
            return
        metadata = message.metadata
        if metadata.sequence.consumer != self._last_delivered + 1:
            self.break_off(f"change {self._last_delivered + 1} was lost")
            return
        said = message.headers or {}
        self._on_update(
            Update(
                key=keyvalue.key_in(self._bucket, message.subject),
                revision=metadata.sequence.stream,
                value=None if keyvalue.is_marker(said) else message.data,
                ttl_s=keyvalue.ttl_of(said),
            )
        )
        # Only now: an update that could not be applied shows as a gap at the next one.
        self._last_delivered = metadata.sequence.consumer
        if metadata.num_pending == 0:
            self._complete()

    async def _answer_control(self, message: Msg) -> None:
        """Heartbeats carry the last delivery; flow control asks for an empty answer (ADR-13)."""
        said = message.headers or {}
        answer_to = message.reply or said.get("Nats-Consumer-Stalled")
        if answer_to:
            with contextlib.suppress(nats.errors.Error):  # a lost connection is noticed by its owner
                await self._bus.nc.publish(answer_to)
        delivered = said.get("Nats-Last-Consumer")
        if delivered is None:
            return
        if int(delivered) != self._last_delivered:
            self.break_off(f"the end was lost: {delivered} delivered, {self._last_delivered} received")
        else:
            # The last pending entries may have expired instead of being delivered.
            self._complete()

    def _complete(self) -> None:
        if not self._is_complete:
            self._is_complete = True
            self._on_complete(self._began_at)
