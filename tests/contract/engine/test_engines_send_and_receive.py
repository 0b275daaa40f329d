"""What becomes of messages, by the recipient's behaviour."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from kurir.contracts.content import (
    STATUS,
    Address,
    Audio,
    Contact,
    ContactCard,
    Content,
    Document,
    Edit,
    Image,
    List,
    ListRow,
    ListSection,
    Location,
    MessageKey,
    Poll,
    Reaction,
    Revoke,
    Sticker,
    Style,
    Text,
    Video,
    kind_of,
    media_of,
)
from kurir.contracts.states import Reason
from kurir.session_node.engines.engine import (
    Engine,
    EngineSession,
    OutcomeUnknown,
    Outgoing,
    SendFailed,
    SendOrder,
    Sent,
)
from tests.contract.engine.worlds import Behaviour, Kept, Watched, World
from tests.support.conditions import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
    "a5f645400000000049454e44ae426082"
)
KEPT = Kept(PIXEL, "image/png", "pixel.png")
OF_OURS = MessageKey(chat="6281234567@s.whatsapp.net", whatsapp_id="3EB0", from_me=True)
MENU = List(
    title="Lunch",
    text="What shall it be?",
    button="Menu",
    footer="until 2 pm",
    sections=(
        ListSection(title="Warm", rows=(ListRow(id="soto", title="Soto", description="with rice"),)),
        ListSection(title="Cold", rows=(ListRow(id="gado", title="Gado-gado"),)),
    ),
)
ONE_OF_EACH: tuple[Content, ...] = (
    Text(text="hi"),
    Image(media=KEPT.media, caption="a pixel"),
    Video(media=KEPT.media),
    Video(media=KEPT.media, note=True),
    Audio(media=KEPT.media),
    Document(media=KEPT.media, caption="a pixel"),
    Sticker(media=KEPT.media),
    Location(latitude=-6.2, longitude=106.8),
    Contact(contacts=(ContactCard(name="Ani", phones=("628123",)),)),
    Poll(question="Lunch?", options=("yes", "no")),
    MENU,
    Reaction(target=OF_OURS, emoji="\N{THUMBS UP SIGN}"),
    Edit(target=OF_OURS, text="better"),
    Revoke(target=OF_OURS),
)


async def say(session: EngineSession, to: str, content: Content | str = "hi", media: Outgoing | None = None) -> Sent:
    words = Text(text=content) if isinstance(content, str) else content
    return await session.send(SendOrder(message_id=f"m{id(words)}", to=to, content=words, media=media))


@pytest_asyncio.fixture(loop_scope="session")
async def session(world: World, engine: Engine, watched: Watched) -> EngineSession:
    return (await world.paired(engine, watched))[0]


async def test_a_text_is_sent_then_delivered_then_read(world: World, session: EngineSession, watched: Watched) -> None:
    friend = world.contact("friendly")
    sent = await say(session, friend)
    assert re.fullmatch(r"3EB0[0-9A-F]{16,18}", sent.whatsapp_id)
    assert abs(sent.sent_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert friend in (sent.chat.jid, sent.chat.pn)
    await watched.until_receipts(sent.whatsapp_id, "delivered", "read")


async def test_a_contact_who_never_reads_leaves_it_at_delivered(
    world: World, session: EngineSession, watched: Watched
) -> None:
    sent = await say(session, world.contact("no_blue_ticks"))
    read = await say(session, world.contact("friendly"))
    await watched.until_receipts(read.whatsapp_id, "delivered", "read")
    await watched.until_receipts(sent.whatsapp_id, "delivered")


async def test_a_phone_that_is_off_leaves_it_at_sent(world: World, session: EngineSession, watched: Watched) -> None:
    sent = await say(session, world.contact("phone_off"))
    read = await say(session, world.contact("friendly"))
    await watched.until_receipts(read.whatsapp_id, "delivered", "read")
    assert watched.receipts(sent.whatsapp_id) == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("not_on_whatsapp", "not_on_whatsapp"),
        ("refused", "engine_error"),
        ("timelocked", "reachout_timelock"),
    ],
)
async def test_a_refused_message_fails_with_its_reason_and_the_device_goes_on(
    world: World, session: EngineSession, behaviour: Behaviour, reason: Reason
) -> None:
    with pytest.raises(SendFailed) as failed:
        await say(session, world.contact(behaviour))
    assert failed.value.reason == reason
    assert await say(session, world.contact("friendly"))


async def test_no_answer_in_time_means_that_the_outcome_is_unknown(world: World, session: EngineSession) -> None:
    with pytest.raises(OutcomeUnknown) as unknown:
        await say(session, world.contact("no_answer"))
    assert unknown.value.reason == "send_timeout"


async def test_an_unaddressable_recipient_is_refused(session: EngineSession) -> None:
    with pytest.raises(SendFailed) as failed:
        await say(session, "not-a-jid")
    assert failed.value.reason == "invalid_recipient"


@pytest.mark.parametrize("content", ONE_OF_EACH, ids=lambda content: kind_of(content))
async def test_a_kind_is_sent_or_refused_as_the_capabilities_say(
    world: World, engine: Engine, session: EngineSession, content: Content
) -> None:
    media = KEPT if media_of(content) is not None else None
    if f"send.{kind_of(content)}" in engine.capabilities:
        assert await say(session, world.contact("friendly"), content, media)
    else:
        with pytest.raises(SendFailed) as failed:
            await say(session, world.contact("friendly"), content, media)
        assert failed.value.reason == "kind_not_supported"


async def test_a_status_is_sent_to_whoever_may_see_it(session: EngineSession) -> None:
    card = Text(text="Open today", style=Style(background="#008069", font=2))
    assert (await say(session, STATUS, card)).chat == Address(jid=STATUS)
    assert (await say(session, STATUS, Image(media=KEPT.media), KEPT)).chat == Address(jid=STATUS)


async def test_media_that_is_gone_fails_with_its_reason(world: World, session: EngineSession) -> None:
    with pytest.raises(SendFailed) as failed:
        await say(session, world.contact("friendly"), Image(media=KEPT.media))
    assert failed.value.reason == "media_missing"


async def test_an_answer_is_received_from_the_contact(world: World, session: EngineSession, watched: Watched) -> None:
    contact = world.contact("echoes")
    await say(session, contact, "echo good morning")
    await until("an answer", lambda: len(watched.received()) == 1)
    received = watched.received()[0]
    assert received.content == Text(text="good morning")
    assert contact in (received.sender.jid, received.sender.pn)
    assert received.chat == received.sender
    assert not received.from_me
    assert not received.is_group
    assert received.sent_at.tzinfo is not None


async def test_many_messages_at_once_get_ids_of_their_own_and_all_their_receipts(
    world: World, session: EngineSession, watched: Watched
) -> None:
    sent = await asyncio.gather(*(say(session, world.contact("friendly"), f"text {n}") for n in range(30)))
    ids = [one.whatsapp_id for one in sent]
    assert len(set(ids)) == 30
    for whatsapp_id in ids:
        await watched.until_receipts(whatsapp_id, "delivered", "read")
