"""What became of a message whose sending was begun before."""

from datetime import UTC, datetime

from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.contracts.states import MessageStatus
from kurir.session_node.recovery import Verdict, verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_mark(attempt: int = 1, message_id: str = "m1") -> MessageSending:
    return MessageSending(id="x", tenant="t", device="d", at=AT, message_id=message_id, to="j", attempt=attempt)


def a_status(status: MessageStatus, attempt: int = 1, message_id: str = "m1") -> MessageStatusChanged:
    return MessageStatusChanged(
        id="y", tenant="t", device="d", at=AT, message_id=message_id, to="j", status=status, attempt=attempt
    )


def test_a_mark_without_outcome_means_that_nobody_knows() -> None:
    assert verdict("m1", [a_mark()], []) == Verdict("unknown", 1)


def test_an_outcome_of_another_message_says_nothing() -> None:
    assert verdict("m1", [a_mark()], [a_status("sent", message_id="m0")]) == Verdict("unknown", 1)


def test_a_stored_outcome_settles_it() -> None:
    for status in ("sent", "failed", "unknown", "expired", "delivered", "read"):
        assert verdict("m1", [a_mark()], [a_status(status)]).kind == "settled"  # type: ignore[arg-type]


def test_an_attempt_that_was_certainly_not_sent_may_be_repeated() -> None:
    assert verdict("m1", [a_mark()], [a_status("retrying", 1)]) == Verdict("again", 1)


def test_a_later_attempt_without_outcome_is_unknown_again() -> None:
    assert verdict("m1", [a_mark(1), a_mark(2)], [a_status("retrying", 1)]) == Verdict("unknown", 2)


def test_a_message_that_was_never_begun_may_be_sent() -> None:
    assert verdict("m1", [a_mark(message_id="m0")], []) == Verdict("again", 0)
