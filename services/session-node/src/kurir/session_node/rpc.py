"""Questions to the owner of a device, answered while the partition is owned: the way there and back.

Guarantees: one subscription for each partition; every question that arrives is answered or refused within
ANSWER_WITHIN_S; a device that answers slowly holds up no other device, and one that is asked too much is refused.
Nobody else listens on a partition's subjects, so a caller that finds nobody knows that the device has no owner now.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import structlog
from faststream.nats import NatsBroker, NatsMessage
from faststream.nats.subscriber import LogicSubscriber
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from kurir.contracts import queries, subjects
from kurir.contracts.queries import ANSWER_WITHIN_S, METHODS, Answer, Question, Refused, Reply
from kurir.runtime.lease import Lease
from kurir.runtime.objects import ObjectStore
from kurir.session_node.answers import Answers
from kurir.session_node.meters import Meters
from kurir.session_node.session import DeviceSession

log = structlog.get_logger(__name__)

AT_ONCE = 4  # questions of one device that its engine works on; the others wait for their turn
MOST_OF_DEVICE = 32  # with those that wait
MOST_OF_SHARD = 2000  # a few kB each
TRY_AGAIN_S = 2.0
CLOSE_TIMEOUT_S = 2.0  # for telling those who wait that they wait in vain

FindSession = Callable[[int, str, str], DeviceSession | None]
"""The session of partition, tenant and device, if it is ours."""

_encoder = msgspec.json.Encoder()


class _Asked:
    """The open questions of one device."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.count = 0


class Rpc:
    """A broker of its own: core NATS, nothing stored, nothing to acknowledge."""

    def __init__(
        self, nats_url: str, *, name: str, creds: str | None, find: FindSession, media: ObjectStore, meters: Meters
    ) -> None:
        credentials: dict[str, Any] = {"user_credentials": creds} if creds else {}
        self._broker = NatsBroker(
            [part.strip() for part in nats_url.split(",")],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            apply_types=False,
            decoder=_whole,
            logger=None,
            **credentials,
        )
        self._find = find
        self._meters = meters
        self._answers = Answers(media)
        self._subscribers: dict[int, LogicSubscriber[Any]] = {}
        self._serving: dict[int, set[asyncio.Task[None]]] = defaultdict(set)
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._open = 0

    async def start(self) -> None:
        await self._broker.start()

    async def stop(self) -> None:
        await self._answers.stop()
        with contextlib.suppress(NatsError):  # the bus may be away
            await self._broker.stop()

    async def open(self, partition: int, lease: Lease) -> None:
        """Begin to answer for a partition."""

        async def take(message: NatsMessage) -> None:
            # The subscription hands over one message at a time, so nothing is waited for here.
            self._begin(partition, lease, message)

        subject = subjects.rpcs_of_partition(partition)
        subscriber = self._broker.subscriber(subject, persistent=False, no_reply=True)
        subscriber(take)
        await subscriber.start()
        self._subscribers[partition] = subscriber

    async def close(self, partition: int) -> None:
        """Answer no more for a partition; questions that are open are refused. Harmless when repeated."""
        subscriber = self._subscribers.pop(partition, None)
        if subscriber is not None:
            with contextlib.suppress(NatsError):
                await subscriber.stop()
        serving = self._serving.pop(partition, set())
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving, timeout=CLOSE_TIMEOUT_S)

    def _begin(self, partition: int, lease: Lease, message: NatsMessage) -> None:
        if not message.reply_to:
            return
        serving = self._serving[partition]
        method = subjects.rpc_method(message.raw_message.subject)
        task = asyncio.create_task(self._serve(partition, lease, method, bytes(message.body), message.reply_to))
        serving.add(task)
        self._open += 1
        task.add_done_callback(partial(self._served, serving))

    def _served(self, serving: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        serving.discard(task)
        self._open -= 1

    async def _serve(self, partition: int, lease: Lease, method: str, body: bytes, reply_to: str) -> None:
        try:
            reply = await self._reply(partition, lease, method, body)
        except Exception:  # raising would leave the caller waiting for its time-out
            log.exception("rpc.failed", method=method, partition=partition)
            reply = Refused(code="INTERNAL_ERROR")
        if method in METHODS:
            self._meters.questions.add(method=method, outcome=_outcome_of(reply))
        try:
            await self._broker.publish(_encoder.encode(reply), reply_to)
        except MaxPayloadError:
            log.error("rpc.answer_too_large", method=method, partition=partition)
            await self._broker.publish(_encoder.encode(Refused(code="INTERNAL_ERROR")), reply_to)
        except NatsError as error:
            log.warning("rpc.not_answered", method=method, partition=partition, error=repr(error))

    async def _reply(self, partition: int, lease: Lease, method: str, body: bytes) -> Reply:
        if self._open > MOST_OF_SHARD:
            return Refused(code="TOO_MANY_REQUESTS", retry_after_s=TRY_AGAIN_S)
        if method not in METHODS:
            return Refused(code="NOT_SUPPORTED", detail=f"This node does not know {method}.")
        try:
            question = queries.decode_question(method, body)
        except msgspec.DecodeError as error:
            return Refused(code="VALIDATION_ERROR", detail=str(error))
        key = question.tenant, question.device
        asked = self._asked.setdefault(key, _Asked())
        if asked.count >= MOST_OF_DEVICE:
            return Refused(code="TOO_MANY_REQUESTS", retry_after_s=TRY_AGAIN_S)
        asked.count += 1
        try:
            return await self._in_turn(asked, partition, lease, question)
        finally:
            asked.count -= 1
            if not asked.count:
                del self._asked[key]

    async def _in_turn(self, asked: _Asked, partition: int, lease: Lease, question: Question[Any]) -> Reply:
        has_begun = False
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), asked.turns:
                session = self._find(partition, question.tenant, question.device)
                if not lease.valid() or (session is not None and session.is_stopping):
                    return Refused(code="SESSION_UNOWNED", retry_after_s=TRY_AGAIN_S)
                has_begun = True
                return await self._answers.answer(session, question)
        except TimeoutError:
            if not has_begun:
                return Refused(code="TOO_MANY_REQUESTS", retry_after_s=TRY_AGAIN_S)
            return Refused(code="OUTCOME_UNKNOWN" if queries.method_of(question).changes else "NO_ANSWER")
        except asyncio.CancelledError:  # the partition is closed; who asked is told before this task ends
            is_unknown = has_begun and queries.method_of(question).changes
            return Refused(code="OUTCOME_UNKNOWN" if is_unknown else "SESSION_UNOWNED", retry_after_s=TRY_AGAIN_S)


def _outcome_of(reply: Reply) -> str:
    if isinstance(reply, Answer):
        return "answered"
    if reply.code in ("NO_ANSWER", "OUTCOME_UNKNOWN"):
        return "unanswered"
    return "too_many" if reply.code == "TOO_MANY_REQUESTS" else "refused"


async def _whole(message: NatsMessage) -> NatsMessage:
    return message
