"""The judge of the chaos test finds what is missing, lost, astray or unexplained, and believes only deaths that fit."""

from datetime import UTC, datetime
from typing import Any

from tests.support.endpoint_farm import ELSEWHERE, Arrival
from tests.system.deliveries_under_chaos.killing import Kill
from tests.system.deliveries_under_chaos.ledger import (
    BROUGHT_AGAIN,
    MOVED_NOT_ACKNOWLEDGED,
    RECORDED_NOT_ACKNOWLEDGED,
    SENT_NOT_RECORDED,
    Key,
    Ledger,
    Record,
)

SAID = 1_000_000.0
WELL, SICK = 1, 2


def arrived(after_s: float, endpoint: int = WELL, event: str = "e1") -> Arrival:
    return Arrival(SAID + after_s, endpoint, event, connection=1)


def recorded(after_s: float, outcome: str = "delivered", status: int | None = 204) -> Record:
    return Record(event_id="e1", at=datetime.fromtimestamp(SAID + after_s, UTC), outcome=outcome, status=status)


def killed(victim: Any, after_s: float, away_s: float = 1.0, forgets_s: float = 0.2) -> Kill:
    at = SAID + after_s
    return Kill(victim, victim, at, at + away_s, knew_until=at - forgets_s)


def a_ledger(
    arrivals: list[Arrival], records: list[Record] | None = None, kills: tuple[Kill, ...] = (), **fields: Any
) -> Ledger:
    given: dict[str, Any] = {
        "said": {"e1": SAID},
        "hears": {"e1": (WELL,)},
        "arrivals": arrivals,
        "attempts": [(WELL, record) for record in records or []],
        "waiting": set(),
        "dead": set(),
        "kills": kills,
        "healthy": {WELL},
        "deadline_s": 3.0,
        "settled_before": SAID + 1000,
    }
    return Ledger(**{**given, **fields})


def test_an_event_that_never_arrived_is_missing() -> None:
    assert a_ledger([]).missing() == [Key("e1", WELL)]
    assert a_ledger([arrived(1)]).missing() == []


def test_a_delivery_is_lost_unless_it_succeeded_waits_or_is_dead() -> None:
    assert a_ledger([arrived(1)], [recorded(1, "retry", 500)]).lost({WELL}) == [Key("e1", WELL)]
    assert a_ledger([arrived(1)], [recorded(1)]).lost({WELL}) == []
    assert a_ledger([], waiting={Key("e1", WELL)}).lost({WELL}) == []
    assert a_ledger([], dead={Key("e1", WELL)}).lost({WELL}) == []


def test_a_request_that_follows_a_redirect_or_reaches_a_stranger_is_astray() -> None:
    assert len(a_ledger([arrived(1, ELSEWHERE), arrived(1, SICK), arrived(1, event="e2")]).astray()) == 3
    assert a_ledger([arrived(1)]).astray() == []


def test_an_attempt_on_record_needs_its_request() -> None:
    assert a_ledger([], [recorded(1)]).untrue() == [recorded(1)]
    assert a_ledger([], [recorded(1, "retry", None)]).untrue() == []


def test_a_request_without_a_record_needs_a_dispatcher_that_died_right_after() -> None:
    assert len(a_ledger([arrived(1)]).unrecorded_unexplained()) == 1
    assert len(a_ledger([arrived(1)], kills=(killed("dispatcher", 20),)).unrecorded_unexplained()) == 1
    assert len(a_ledger([arrived(1)], kills=(killed("nats-server", 1.1),)).unrecorded_unexplained()) == 1
    assert a_ledger([arrived(1)], kills=(killed("dispatcher", 1.1),)).unrecorded_unexplained() == []
    assert a_ledger([arrived(1)], kills=(killed("nats-server", 1.1, 20),)).unrecorded_unexplained() == []


def test_a_duplicate_needs_a_death_that_can_have_caused_it() -> None:
    def cause(first_s: float, again_s: float, *kills: Kill, both_recorded: bool = True) -> list[str]:
        records = [recorded(first_s), recorded(again_s)] if both_recorded else [recorded(again_s)]
        causes, unexplained = a_ledger([arrived(first_s), arrived(again_s)], records, kills).explained()
        assert len(unexplained) == 1 - causes.total()
        return list(causes)

    assert cause(1, 40) == []
    assert cause(1, 32, killed("dispatcher", 1.1), both_recorded=False) == [SENT_NOT_RECORDED]
    assert cause(1, 32, killed("dispatcher", 1.1)) == [RECORDED_NOT_ACKNOWLEDGED]
    assert cause(1, 5, killed("dispatcher", 1.1)) == [], "what it held does not come again so soon"
    assert cause(1, 60, killed("dispatcher", 20)) == [], "acknowledged long before"
    assert cause(5, 40, killed("dispatcher", 1)) == [MOVED_NOT_ACKNOWLEDGED]
    assert cause(1, 3, killed("nats-server", 2)) == [BROUGHT_AGAIN]
    assert cause(1, 8, killed("nats-server", 6)) == [], "written down by then"
    assert cause(1, 8, killed("nats-server", 6, forgets_s=5.5)) == [BROUGHT_AGAIN]
    assert cause(1, 40, killed("nats-server", 30)) == [], "remembered for long by then"
    assert cause(1, 3, killed("mongo", 2)) == []
