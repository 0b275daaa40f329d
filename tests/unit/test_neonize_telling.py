"""Reports keep their order while somebody's number is looked up."""

import asyncio
from datetime import UTC, datetime

import pytest

from kurir.contracts.content import Address, Text
from kurir.contracts.groups import GroupMember
from kurir.session_node.engines.engine import Observation, Received, StateChanged
from kurir.session_node.engines.neonize import telling as module
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.telling import Telling
from kurir.session_node.engines.observations import GroupJoined, MembershipChanged, PresenceSeen
from tests.support.conditions import until

NOW = datetime(2026, 11, 20, tzinfo=UTC)
GROUP = Address(jid="120363@g.us")
ANN, ANN_PN = Address(jid="101@lid", lid="101@lid"), "62811@s.whatsapp.net"


class Store:
    """Knows numbers; answers when it is let."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known, self.asked, self.may_answer = known, list[str](), asyncio.Event()

    async def number_of(self, hidden: str) -> str | None:
        self.asked.append(hidden)
        await self.may_answer.wait()
        return self.known.get(hidden)


class Told(list[Observation]):
    def __call__(self, observation: Observation) -> None:
        self.append(observation)


def left(who: Address) -> MembershipChanged:
    return MembershipChanged(chat=GROUP, action="leave", participants=(who,), author=who, at=NOW)


def a_text(words: str) -> Received:
    return Received(whatsapp_id=words, chat=ANN, sender=ANN, content=Text(text=words), sent_at=NOW)


async def test_what_is_opened_is_told_in_its_turn_and_as_it_came_when_it_cannot_be() -> None:
    told, may_open = Told(), asyncio.Event()
    telling = Telling(told, AddressBook(), Store({}).number_of)

    async def opened() -> Observation:
        await may_open.wait()
        return a_text("opened")

    async def broken() -> Observation:
        raise RuntimeError("no secret")

    telling.tell(a_text("sealed"), opened)
    telling.tell(a_text("second"))
    telling.tell(a_text("broken"), broken)
    assert told == []
    may_open.set()
    await until("all told", lambda: len(told) == 3)
    assert told == [a_text("opened"), a_text("second"), a_text("broken")]
    telling.tell(a_text("sealed"), opened)
    telling.flush()
    assert told[-1] == a_text("sealed")


async def test_what_happens_during_a_look_up_waits_its_turn() -> None:
    told, store = Told(), Store({ANN.jid: ANN_PN})
    telling = Telling(told, AddressBook(), store.number_of)
    telling.tell(a_text("first"))
    telling.tell(left(ANN))
    telling.tell(a_text("last"))
    assert [type(each) for each in told] == [Received]
    store.may_answer.set()
    await until("all is told", lambda: len(told) == 3)
    _, moved, last = told
    assert isinstance(moved, MembershipChanged)
    assert [(who.pn, who.lid) for who in moved.participants] == [(ANN_PN, ANN.jid)]
    assert moved.author == moved.participants[0]
    assert isinstance(last, Received)
    telling.tell(left(ANN))
    assert len(told) == 4, "who is known is told at once"
    assert store.asked == [ANN.jid]


async def test_members_of_a_group_are_completed_too() -> None:
    told, store = Told(), Store({ANN.jid: ANN_PN})
    store.may_answer.set()
    telling = Telling(told, AddressBook(), store.number_of)
    telling.tell(GroupJoined(chat=GROUP, subject="Choir", members=(GroupMember(address=ANN, role="admin"),), at=NOW))
    await until("it is told", lambda: bool(told))
    (joined,) = told
    assert isinstance(joined, GroupJoined)
    assert joined.members == (GroupMember(address=Address(jid=ANN.jid, lid=ANN.jid, pn=ANN_PN), role="admin"),)


async def test_a_change_of_the_connection_waits_for_nobody_and_overtakes_nothing() -> None:
    told, store = Told(), Store({})
    telling = Telling(told, AddressBook(), store.number_of)
    telling.tell(left(ANN))
    telling.tell(a_text("before"))
    telling.tell(StateChanged(state="disconnected", reason="connection_lost"))
    assert [type(each) for each in told] == [MembershipChanged, Received, StateChanged]


async def test_an_unknown_number_is_looked_up_once() -> None:
    told, store = Told(), Store({})
    store.may_answer.set()
    telling = Telling(told, AddressBook(), store.number_of)
    telling.tell(PresenceSeen(chat=ANN, sender=ANN, presence="composing", at=NOW))
    await until("it is told", lambda: len(told) == 1)
    telling.tell(PresenceSeen(chat=ANN, sender=ANN, presence="paused", at=NOW))
    assert len(told) == 2
    assert store.asked == [ANN.jid]


async def test_a_look_up_that_hangs_holds_up_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_UP_S", 0.05)
    told = Told()
    telling = Telling(told, AddressBook(), Store({}).number_of)
    telling.tell(left(ANN))
    telling.tell(a_text("behind it"))
    await until("both are told", lambda: len(told) == 2)
    assert [type(each) for each in told] == [MembershipChanged, Received]


async def test_so_much_waits_behind_a_store_that_hangs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 3)
    told = Told()
    telling = Telling(told, AddressBook(), Store({}).number_of)
    telling.tell(left(ANN))
    telling.tell(a_text("second"))
    assert told == []
    telling.tell(a_text("third"))
    assert told == [left(ANN), a_text("second"), a_text("third")]
    telling.tell(a_text("fourth"))
    assert told[3:] == [a_text("fourth")]
