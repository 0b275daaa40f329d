"""Every message ends where its handler's outcome says, in batches and under FastStream alike."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from fast_depends.msgspec import MsgSpecSerializer
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import ConsumerConfig, StreamConfig

from kurir.runtime.broker import Bus, Incoming, Unreachable
from kurir.runtime.settlement import MAX_DELIVERIES, Again, Done, GivenUp, Rejected, Retry, Settlement, settle
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


class Order(msgspec.Struct):
    does: str


async def a_queue(bus: Bus, *, with_dead: bool = True) -> None:
    await bus.js.add_stream(
        StreamConfig(name="COMMANDS", subjects=["kurir.cmd.>"], retention="workqueue")  # type: ignore[arg-type]
    )
    await bus.js.add_consumer("COMMANDS", ConsumerConfig(durable_name="c", ack_wait=30))
    if with_dead:
        await bus.js.add_stream(StreamConfig(name="DEAD", subjects=["kurir.dead.>"], allow_direct=True))


async def obey(message: Incoming) -> None:
    order = msgspec.json.decode(message.data, type=Order)
    match order.does:
        case "return":
            return
        case "retry":
            raise Retry(1.0, "busy")
        case "reject":
            raise Rejected("INVALID_RECIPIENT", "no\r\ndigits")
        case _:
            raise KeyError(order.does)


async def take(bus: Bus, data: bytes) -> Incoming:
    await bus.publish("kurir.cmd.3.t1.d1.send", data, headers={"ce-id": "1"})
    [message] = await bus.pull("COMMANDS", "c", batch=1, expires_s=5)
    return message


async def left(bus: Bus, stream: str = "COMMANDS") -> int:
    return int((await bus.js.stream_info(stream)).state.messages)


def is_empty(bus: Bus) -> Callable[[], object]:
    async def look() -> bool:
        return await left(bus) == 0

    return look


async def test_a_handled_message_is_gone(bus: Bus) -> None:
    await a_queue(bus)
    assert await settle(bus, await take(bus, b'{"does":"return"}'), obey) == Done()
    await until("it is gone", is_empty(bus))  # type: ignore[arg-type]
    assert await left(bus, "DEAD") == 0


async def test_a_retried_message_comes_again_after_its_delay(bus: Bus) -> None:
    await a_queue(bus)
    assert await settle(bus, await take(bus, b'{"does":"retry"}'), obey) == Again(1.0, "busy")
    assert await bus.pull("COMMANDS", "c", batch=1, expires_s=0.1) == []
    [again] = await bus.pull("COMMANDS", "c", batch=1, expires_s=5)
    assert again.delivered == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [(b'{"does":"reject"}', "INVALID_RECIPIENT: no digits"), (b'{"does":', "VALIDATION_ERROR: ")],
)
async def test_a_hopeless_message_is_kept_among_the_dead_with_its_reason(bus: Bus, data: bytes, code: str) -> None:
    await a_queue(bus)
    assert isinstance(await settle(bus, await take(bus, data), obey), GivenUp)
    await until("it is gone", is_empty(bus))  # type: ignore[arg-type]
    dead = await bus.last_by_subject("DEAD", "kurir.dead.commands.t1.d1")
    assert dead is not None
    assert dead.data == data
    assert dead.headers["Kurir-Dead-Reason"].startswith(code)
    assert dead.headers["Kurir-Dead-Subject"] == "kurir.cmd.3.t1.d1.send"
    assert dead.headers["Kurir-Dead-Sequence"] == "1"
    assert dead.headers["ce-id"] == "1"


async def test_a_message_is_not_given_up_while_its_dead_letter_cannot_be_stored(bus: Bus) -> None:
    await a_queue(bus, with_dead=False)
    await settle(bus, await take(bus, b'{"does":"reject"}'), obey)
    assert await left(bus) == 1


async def test_a_message_that_keeps_failing_is_given_up_in_the_end(bus: Bus) -> None:
    await a_queue(bus)
    message = await take(bus, b'{"does":"fail"}')
    for delivery in range(2, MAX_DELIVERIES + 1):
        message.nak()
        [message] = await bus.pull("COMMANDS", "c", batch=1, expires_s=5)
        assert message.delivered == delivery
    assert isinstance(await settle(bus, message, obey), GivenUp)
    assert await left(bus, "DEAD") == 1


async def test_a_cancelled_handler_gives_its_message_back_at_once(bus: Bus) -> None:
    await a_queue(bus)
    message = await take(bus, b'{"does":"return"}')
    begun = asyncio.Event()

    async def hang(_: Incoming) -> None:
        begun.set()
        await asyncio.Event().wait()

    settling = asyncio.create_task(settle(bus, message, hang))
    await begun.wait()
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    [again] = await bus.pull("COMMANDS", "c", batch=1, expires_s=5)
    assert again.delivered == 2


def a_broker(bus: Bus, nats_server: NatsServer) -> NatsBroker:
    return NatsBroker(
        nats_server.url,
        middlewares=[Settlement(bus)],
        ack_policy=AckPolicy.MANUAL,
        serializer=MsgSpecSerializer(),
    )


async def test_faststream_handlers_are_settled_alike(bus: Bus, nats_server: NatsServer) -> None:
    await a_queue(bus)
    seen: list[str] = []
    broker = a_broker(bus, nats_server)

    @broker.subscriber(
        "kurir.cmd.>", durable="c", stream=JStream("COMMANDS", declare=False), pull_sub=PullSub(5, timeout=0.2)
    )
    async def obey_order(order: Order) -> None:
        seen.append(order.does)
        if order.does == "retry" and seen.count("retry") < 3:
            raise Retry(0.05, "busy")
        if order.does == "reject":
            raise Rejected("INVALID_RECIPIENT", "no digits")

    async with broker:
        await broker.start()
        for data in (b'{"does":"return"}', b'{"does":"retry"}', b'{"does":"reject"}', b"{}", b"no json"):
            await bus.publish("kurir.cmd.3.t1.d1.send", data)
        await until("all are settled", is_empty(bus), seen=lambda: seen)  # type: ignore[arg-type]
    assert sorted(seen) == ["reject", "retry", "retry", "retry", "return"]
    dead = await bus.read_from("DEAD", "kurir.dead.>", 1, 10)
    assert sorted(d.data for d in dead) == [b"no json", b'{"does":"reject"}', b"{}"]


async def test_faststream_requests_pass_through_unsettled(bus: Bus, nats_server: NatsServer) -> None:
    broker = a_broker(bus, nats_server)

    @broker.subscriber("ask")
    async def answer(order: Order) -> str:
        return f"did {order.does}"

    async with broker:
        await broker.start()
        await until("the handler is reachable", lambda: _is_reachable(bus))
        assert await bus.request("ask", b'{"does":"it"}', 5) == b"did it"


async def _is_reachable(bus: Bus) -> bool:
    try:
        await bus.request("ask", b'{"does":"nothing"}', 5)
    except Unreachable:
        return False
    return True
