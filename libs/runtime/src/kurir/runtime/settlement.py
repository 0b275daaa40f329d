"""What becomes of a message after its handler: the only place that decides between ack, again and giving up.

Handlers return, or raise: `Retry` (the world is busy), `Rejected` (this message is wrong), anything else is our
bug and is tried again, later and later, until it is given up. Nothing is given up before it is stored in DEAD
with its reason. Not guaranteed: that a handler runs once; a repeat must be harmless.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from fast_depends.exceptions import ValidationError as InvalidArguments  # FastStream's word for it
from faststream import BaseMiddleware
from faststream.message import StreamMessage
from nats.aio.msg import Msg

from kurir.contracts import headers, subjects
from kurir.contracts.ids import is_token
from kurir.runtime.broker import Bus, Incoming, PublishError, PublishRefused
from kurir.runtime.logs import get

log = get("kurir.settlement")

MAX_DELIVERIES: Final = 12  # with the delays below: given up after about seven minutes
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 60.0
BROKER_AWAY_DELAY_S: Final = 1.0
DEAD_LETTER_AGAIN_S: Final = 5.0


class Retry(Exception):
    """The world is busy: the same message again after `delay_s`. Not counted: it may be retried for ever."""

    def __init__(self, delay_s: float, reason: str) -> None:
        super().__init__(f"{reason} (again in {delay_s:g} s)")
        self.delay_s = delay_s
        self.reason = reason


class Rejected(Exception):
    """This message is wrong and will stay wrong. `code` is one of contracts.errors, `detail` for an operator."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Done(msgspec.Struct, frozen=True):
    """The handler returned."""


DONE: Final = Done()


class Again(msgspec.Struct, frozen=True):
    """The handler is to be called again after `delay_s`."""

    delay_s: float
    reason: str


class GivenUp(msgspec.Struct, frozen=True):
    """The message goes to DEAD."""

    rejected: Rejected


Fate = Done | Again | GivenUp
Handler = Callable[[Incoming], Awaitable[Any]]


def fate_of(error: Exception | None, attempt: int) -> Fate:
    """What the handler's outcome at its `attempt`-th call (from 1) means for the message."""
    match error:
        case None:
            return DONE
        case Retry():
            return Again(max(0.0, error.delay_s), error.reason)
        case Rejected():
            return GivenUp(error)
        case msgspec.DecodeError() | InvalidArguments() | json.JSONDecodeError() | UnicodeDecodeError():
            return GivenUp(Rejected("VALIDATION_ERROR", str(error)))
        case PublishError() if not isinstance(error, PublishRefused):
            return Again(BROKER_AWAY_DELAY_S, str(error))
        case _ if attempt >= MAX_DELIVERIES:
            return GivenUp(Rejected("INTERNAL_ERROR", f"failed {attempt} times, at last with {error!r}"))
        case _:
            return Again(delay_after(attempt), repr(error))


def delay_after(attempt: int) -> float:
    """Seconds to wait after the `attempt`-th unexplained failure: 0.5, 1, 2, … up to a minute."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 30))


async def call(handler: Handler, message: Incoming, attempt: int) -> Fate:
    """Call the handler and judge. Only cancellation gets through; an unexplained error is logged here, once."""
    try:
        await handler(message)
    except Exception as error:
        return _fate_told(error, message, attempt)
    return DONE


def _fate_told(error: Exception, message: Incoming, attempt: int) -> Fate:
    fate = fate_of(error, attempt)
    is_explained = isinstance(error, Retry | Rejected | PublishError) or (
        isinstance(fate, GivenUp) and fate.rejected.code != "INTERNAL_ERROR"
    )
    if not is_explained:
        log.exception("message.failed", attempt=attempt, **_facts(message))
    return fate


async def settle(bus: Bus, message: Incoming, handler: Handler) -> Fate:
    """Call the handler and settle the message by what came of it; returns what it was.

    A cancelled handler gives its message back at once and lets the cancellation through.
    """
    try:
        await handler(message)
    except asyncio.CancelledError:
        message.nak()
        raise
    except Exception as error:
        return await conclude(bus, message, _fate_told(error, message, message.delivered))
    message.ack()
    return DONE


async def conclude(bus: Bus, message: Incoming, fate: Fate, *, keeps_place: bool = False) -> Fate:
    """Say the fate to the server and return it. With `keeps_place`, a message to be tried again is left unsettled.

    A message whose dead letter cannot be stored is not given up yet, but tried again.
    """
    if isinstance(fate, GivenUp):
        try:
            await dead_letter(bus, message, fate.rejected)
        except PublishError as error:
            fate = Again(DEAD_LETTER_AGAIN_S, f"dead letter not stored: {error}")
        else:
            message.term(fate.rejected.code)
    elif isinstance(fate, Done):
        message.ack()
    if isinstance(fate, Again) and not keeps_place:
        log.info("message.again", delay_s=fate.delay_s, reason=fate.reason, **_facts(message))
        message.nak(fate.delay_s)
    return fate


async def dead_letter(bus: Bus, message: Incoming, rejected: Rejected) -> None:
    """Store the message in DEAD, with its headers and the reason. Settles nothing; a repeat stores nothing new.

    Raises PublishError when that was not confirmed.
    """
    subject = message.headers.get(headers.ORIGIN_SUBJECT, message.subject)
    sequence = message.headers.get(headers.ORIGIN_SEQUENCE, str(message.stream_seq))
    kept = {name: value for name, value in message.headers.items() if not name.startswith("Nats-")}
    kept[headers.DEAD_REASON] = " ".join(str(rejected).split())[:1000]
    kept[headers.DEAD_SUBJECT] = subject
    kept[headers.DEAD_SEQUENCE] = sequence
    await bus.publish(
        dead_subject(message.stream, subject, message.data),
        message.data,
        msg_id=f"dead:{message.stream}:{sequence}",
        headers=kept,
    )
    log.warning("message.dead", code=rejected.code, detail=rejected.detail, **_facts(message))


class _Owner(msgspec.Struct):
    tenant: str = ""


def dead_subject(stream: str, subject: str, data: bytes) -> str:
    """Where a message of `stream` goes when it is given up; what names no tenant is filed under `unknown`."""
    parts = subject.split(".")
    match parts[1:]:
        case ["cmd", _, tenant, device, *_]:
            return subjects.dead(stream.lower(), tenant, device)
        case ["evt", tenant, device, *_]:
            return subjects.dead(stream.lower(), tenant, device)
        case ["aud", tenant, *_]:
            return subjects.dead(stream.lower(), tenant, parts[-1])
    try:
        tenant = msgspec.json.decode(data, type=_Owner).tenant
    except (msgspec.DecodeError, UnicodeDecodeError):
        tenant = ""
    return subjects.dead(stream.lower(), tenant if is_token(tenant) else "unknown", parts[-1])


def _facts(message: Incoming) -> dict[str, Any]:
    return {
        "stream": message.stream,
        "subject": message.subject,
        "seq": message.stream_seq,
        "delivered": message.delivered,
    }


class Settlement:
    """FastStream broker middleware: `NatsBroker(..., middlewares=[Settlement(bus)], ack_policy=AckPolicy.MANUAL)`.

    Settles JetStream messages as `settle` does, also those that FastStream could not decode. Requests (core
    messages) pass through: there is nothing to acknowledge, their handlers answer `Refused` instead of raising.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __call__(self, msg: Any, /, *, context: Any) -> "_Scope":
        return _Scope(msg, context=context, bus=self._bus)


class _Scope(BaseMiddleware[Any, Any]):
    def __init__(self, msg: Any, /, *, context: Any, bus: Bus) -> None:
        super().__init__(msg, context=context)
        self._bus = bus

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        raw = msg.raw_message
        if not isinstance(raw, Msg) or not raw.reply.startswith("$JS.ACK."):
            return await call_next(msg)
        # Settled over our own connection: an ack is an ordinary publish to the message's reply subject.
        message = self._bus.incoming(raw.subject, raw.reply, raw.headers or {}, raw.data)
        result: Any = None

        async def handle(_: Incoming) -> None:
            nonlocal result
            result = await call_next(msg)

        await settle(self._bus, message, handle)
        raw._ackd = True
        return result
