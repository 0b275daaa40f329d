"""Votes in polls are told with the texts of the options, wherever the poll is known from."""

import hashlib
from datetime import UTC, datetime

import msgspec

from kurir.contracts.content import MessageKey, Poll, PollVote
from kurir.contracts.events import MessageStatusChanged, MessageUpserted
from kurir.runtime.broker import Bus
from tests.broker.test_session_node_session import Stage, a_text
from tests.broker.test_session_node_session import stage as stage
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import FRIEND, TENANT, Gateway, LocalShard, a_message

ANSWERS = "628125550114@s.whatsapp.net"
POLL = Poll(question="Lunch?", options=("yes", "no"))


def a_vote(poll: str, *options: str) -> PollVote:
    hashes = tuple(hashlib.sha256(option.encode()).hexdigest() for option in options)
    return PollVote(target=MessageKey(chat=FRIEND, whatsapp_id=poll, from_me=True), hashes=hashes)


async def votes(gateway: Gateway) -> list[tuple[str, ...]]:
    told = [event.content for event in await gateway.events("d1") if isinstance(event, MessageUpserted)]
    return [content.options for content in told if isinstance(content, PollVote)]


async def until_votes(gateway: Gateway, *wanted: tuple[str, ...]) -> None:
    async def are_told() -> bool:
        return await votes(gateway) == list(wanted)

    await until(f"the votes {wanted}", are_told)


async def test_a_vote_in_a_poll_just_sent_names_its_option(bus: Bus, nats_server: NatsServer) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    await gateway.add_device("d1")
    async with LocalShard(gateway.url):
        await gateway.order(a_message("d1", to=ANSWERS, content=POLL))
        await until_votes(gateway, ("yes",))


async def test_votes_in_a_poll_of_a_former_owner_and_of_somebody_else_name_their_options(stage: Stage) -> None:
    device = await stage.gateway.add_device("d1")
    former = await stage.play(device)
    sent = MessageStatusChanged(
        id="m1-sent",
        tenant=TENANT,
        device="d1",
        at=datetime.now(UTC),
        message_id="m1",
        status="sent",
        to=FRIEND,
        whatsapp_id="w1",
        content=POLL,
    )
    await former.log.append(sent)
    await former.stop(is_lost=False)
    await former.lease.release()
    await stage.play(device, holder="next")
    theirs = msgspec.structs.replace(a_text("w2"), content=Poll(question="Cake?", options=("now", "later")))
    stage.puppet.report(theirs)
    cast = (a_vote("w1", "no", "yes"), a_vote("w2", "later"), a_vote("w1"), a_vote("unknown", "yes"))
    for number, vote in enumerate(cast):
        stage.puppet.report(msgspec.structs.replace(a_text(f"v{number}"), content=vote))
    await until_votes(stage.gateway, ("no", "yes"), ("later",), (), ())
    told = [event.content for event in await stage.gateway.events("d1") if isinstance(event, MessageUpserted)]
    assert isinstance(told[-1], PollVote)
    assert told[-1].hashes == cast[-1].hashes
