"""What people and groups do around a device is reported in the same terms by every engine."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from kurir.contracts.content import Document
from kurir.session_node.engines.engine import Engine, MediaFailed
from kurir.session_node.engines.observations import (
    CallSeen,
    ContactChanged,
    GroupChanged,
    MembershipChanged,
    PresenceSeen,
    Seen,
)
from kurir.session_node.engines.requests import RejectsCalls
from tests.contract.engine.worlds import Happening, Watched, World
from tests.support.conditions import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

Kind = TypeVar("Kind", bound=Seen)


def seen(watched: Watched, kind: type[Kind]) -> list[Kind]:
    return [each for each in watched.seen if isinstance(each, kind)]


async def provoked(
    world: World, engine: Engine, watched: Watched, happening: Happening, kind: type[Kind], count: int
) -> list[Kind]:
    """Let it happen and wait for so many observations of a kind."""
    session, _ = await world.paired(engine, watched)
    await world.provoke(session, happening)
    await until(f"{count} × {kind.__name__}", lambda: len(seen(watched, kind)) >= count, seen=lambda: watched.seen[-5:])
    found = seen(watched, kind)
    assert all(abs(each.at - datetime.now(UTC)) < timedelta(minutes=2) for each in found)
    return found


async def test_somebody_types_and_pauses(world: World, engine: Engine, watched: Watched) -> None:
    await provoked(world, engine, watched, "typing", PresenceSeen, 2)
    await until("a pause", lambda: any(each.presence == "paused" for each in seen(watched, PresenceSeen)))
    told = seen(watched, PresenceSeen)
    assert [each.presence for each in told if each.presence in ("composing", "paused")] == ["composing", "paused"]
    assert all(each.chat == each.sender for each in told)


async def test_a_call_rings_and_is_missed(world: World, engine: Engine, watched: Watched) -> None:
    offered, missed = await provoked(world, engine, watched, "call", CallSeen, 2)
    assert (offered.state, missed.state, missed.reason) == ("offered", "missed", "timeout")
    assert offered.call_id == missed.call_id
    assert offered.sender.pn is not None


async def test_a_call_that_rings_is_rejected(world: World, engine: Engine, watched: Watched) -> None:
    session, _ = await world.paired(engine, watched)
    assert "reject_calls" in engine.capabilities
    assert isinstance(session, RejectsCalls)
    await world.provoke(session, "ringing")
    await until("it rings", lambda: bool(seen(watched, CallSeen)))
    offered = seen(watched, CallSeen)[0]
    await session.reject_call(offered.sender.jid, offered.call_id)

    async def is_rejected() -> bool:  # WhatsApp does not confirm it
        return offered.call_id in await world.rejected_calls(session)

    await until("it is rejected", is_rejected)


async def test_a_message_whose_file_is_gone_is_there_and_its_file_fails(
    world: World, engine: Engine, watched: Watched
) -> None:
    session, _ = await world.paired(engine, watched)
    await world.provoke(session, "lost_file")
    await until("the document is there", lambda: any(isinstance(r.content, Document) for r in watched.received()))
    received = next(r for r in watched.received() if isinstance(r.content, Document))
    assert received.attachment is not None
    with pytest.raises(MediaFailed) as failed:
        async for _ in received.attachment.chunks():
            pass
    assert failed.value.reason == "media_expired"


async def test_somebody_has_a_new_picture(world: World, engine: Engine, watched: Watched) -> None:
    told = await provoked(world, engine, watched, "new_picture", ContactChanged, 1)
    await until("it has changed", lambda: seen(watched, ContactChanged)[-1].picture == "changed")
    assert told[0].contact.jid


async def test_a_group_changes_and_members_come_rise_and_go(world: World, engine: Engine, watched: Watched) -> None:
    await provoked(world, engine, watched, "group_life", MembershipChanged, 1)
    await until("the member leaves", lambda: any(m.action == "leave" for m in seen(watched, MembershipChanged)))
    moves = seen(watched, MembershipChanged)
    actions = [each.action for each in moves]
    assert actions.index("add") < actions.index("promote") < actions.index("leave")
    assert not any(each.includes_me for each in moves)
    left = moves[actions.index("leave")]
    assert left.author is not None
    assert [who.jid for who in left.participants] == [left.author.jid]
    changed = seen(watched, GroupChanged)[0]
    assert changed.subject
    assert changed.chat.jid == left.chat.jid


async def test_the_device_itself_is_removed_from_a_group(world: World, engine: Engine, watched: Watched) -> None:
    (removed,) = await provoked(world, engine, watched, "removed", MembershipChanged, 1)
    assert (removed.action, removed.includes_me) == ("remove", True)
    assert removed.author is not None
