"""The judge of what happened to a cluster finds what is wrong: each test plants one thing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kurir.contracts.content import Address, Text
from kurir.contracts.events import AnyEvent, ConnectionUpdate, MessageStatusChanged, MessageUpserted
from kurir.contracts.states import ConnectionState, MessageStatus, Reason
from tests.support.session_nodes import FRIEND, a_message
from tests.support.whatsapp_emulator.journal import Journal
from tests.system.sessions import findings
from tests.system.sessions.cluster import Happened

NAMES = {"d1": "628:1"}
AT = datetime.now(UTC)
ORDER = a_message("d1", text="order 1", on_unknown="resend")


class Record(Journal):
    """A journal in which things happen at given seconds."""

    def at(self, second: float, kind: str, **facts: Any) -> "Record":
        self.record(kind, **{"device": "628:1", **facts, "at": second})
        return self


def said(status: MessageStatus, whatsapp_id: str | None = None, reason: Reason | None = None) -> MessageStatusChanged:
    return MessageStatusChanged(
        id=status,
        tenant="t1",
        device="d1",
        at=AT,
        message_id=ORDER.id,
        status=status,
        whatsapp_id=whatsapp_id,
        reason=reason,
        to=FRIEND,
    )


def connection(state: ConnectionState, epoch: int, after_s: float = 0) -> ConnectionUpdate:
    at = AT + timedelta(seconds=after_s)
    return ConnectionUpdate(id=f"{state}{epoch}", tenant="t1", device="d1", at=at, state=state, epoch=epoch)


def received(whatsapp_id: str) -> MessageUpserted:
    person = Address(jid=FRIEND)
    return MessageUpserted(
        id="e",
        tenant="t1",
        device="d1",
        at=AT,
        message_id="m",
        whatsapp_id=whatsapp_id,
        chat=person,
        sender=person,
        content=Text(text="x"),
        sent_at=AT,
    )


def two_owners(first_ends_at: float) -> Record:
    record = Record().at(1, "connection.logged_in", connection=1).at(first_ends_at, "connection.ended", connection=1)
    return record.at(5, "connection.logged_in", connection=2)


def outbound(events: list[AnyEvent], record: Record) -> findings.Findings:
    return findings.outbound({"order 1": ORDER}, events, record.entries(), NAMES)


def connections(events: Sequence[AnyEvent], *happened: Happened) -> findings.Findings:
    return findings.connections(events, NAMES, happened)


def sent(record: Record, whatsapp_id: str) -> Record:
    content = {"conversation": "order 1"}
    return record.at(2, "message.sent", id=whatsapp_id, connection=1, to="628111000001").at(
        3, "message.read", id=whatsapp_id, phone="628111000001", content=content
    )


def test_two_connected_owners_are_found() -> None:
    assert not findings.owners(two_owners(first_ends_at=4).entries()).wrong
    assert len(findings.owners(two_owners(first_ends_at=6).entries()).wrong) == 1


def test_a_word_of_a_former_owner_is_found() -> None:
    record = two_owners(first_ends_at=4).at(6, "receipt.sent", connection=1)
    assert len(findings.owners(record.entries()).wrong) == 1


def test_what_must_not_become_of_a_connection_is_found() -> None:
    assert not connections([connection("connected", 1), connection("connected", 2)]).wrong
    assert connections([connection("replaced", 1)]).wrong
    assert connections([connection("connected", 2), connection("connected", 1)]).wrong


def test_what_a_former_owner_said_may_come_late_only_if_it_was_said_in_a_cut() -> None:
    late = [connection("connected", 2, after_s=2), connection("connecting", 1, after_s=1)]
    after_the_successor = [connection("connected", 2, after_s=1), connection("connecting", 1, after_s=2)]
    began = AT.timestamp()
    cut = Happened("cut a node off", "n0", began, frozenset({"628:1"}), until=began + 5)
    assert connections(late).wrong
    assert not connections(late, cut).wrong
    assert connections(late, cut).counts.total() == 1
    assert connections(after_the_successor, cut).wrong
    assert connections(late, Happened("cut a node off", "n0", began, frozenset({"628:2"}), until=began + 5)).wrong
    assert connections(late, Happened("cut a node off", "n0", began + 2, frozenset({"628:1"}), until=began + 5)).wrong
    assert connections(late, Happened("freeze a shard", "n0", began, frozenset({"628:1"}), until=began + 5)).wrong


def test_a_command_without_an_end_is_found() -> None:
    assert not outbound([said("sent", "W1")], sent(Record(), "W1")).wrong
    assert outbound([said("retrying", reason="device_offline")], Record()).wrong
    assert outbound([said("sent", "W1")], Record()).wrong  # WhatsApp does not know it


def test_a_message_that_went_out_twice_has_to_be_explained() -> None:
    twice = sent(sent(Record(), "W1"), "W2")
    assert outbound([said("sent", "W2")], twice).wrong
    assert not outbound([said("retrying", reason="outcome_unknown"), said("sent", "W2")], twice).wrong


def test_a_message_that_came_and_is_no_event_is_found() -> None:
    record = Record().at(9, "message.delivered", id="W1", connection=1)
    mine = {"W1": "628:1"}
    assert not findings.inbound(mine, [received("W1")], record.entries(), []).wrong
    assert findings.inbound(mine, [], record.entries(), []).wrong
    killed = Happened("kill a shard", "n0", 10.0, frozenset({"628:1"}), until=10.0)
    assert not findings.inbound(mine, [], record.entries(), [killed]).wrong
    killed.since = killed.until = 20.0
    assert findings.inbound(mine, [], record.entries(), [killed]).wrong
    assert findings.inbound(mine, [received("W1"), received("W1")], record.entries(), []).wrong
