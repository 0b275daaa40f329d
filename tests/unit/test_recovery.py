"""What became of a message whose sending was begun before."""

from datetime import UTC, datetime

from kurir.contracts.events import MessageSending, MessageStatusChanged
from kurir.contracts.states import MessageStatus
from kurir.session_node.recovery import Verdict, verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_mark(attempt: int = 1, message_id: str = "m1", epoch: int = 5) -> MessageSending:
    return MessageSending(
        id="x", tenant="t", device="d", at=AT, message_id=message_id, to="j", attempt=attempt, epoch=epoch
    )


def a_status(status: MessageStatus, attempt: int = 1, message_id: str = "m1", epoch: int = 5) -> MessageStatusChanged:
    return MessageStatusChanged(
        id="y",
        tenant="t",
        device="d",
        at=AT,
        message_id=message_id,
        to="j",
        status=status,
        attempt=attempt,
        epoch=epoch,
    )


def test_a_mark_without_outcome_means_that_nobody_knows() -> None:
    assert verdict("m1", [a_mark()], []) == Verdict("unknown", 1)


def test_an_outcome_of_another_message_says_nothing() -> None:
    assert verdict("m1", [a_mark()], [a_status("sent", message_id="m0")]) == Verdict("unknown", 1)


def test_a_stored_outcome_settles_it() -> None:
    settled: tuple[MessageStatus, ...] = ("sent", "failed", "unknown", "expired", "delivered", "read")
    for status in settled:
        assert verdict("m1", [a_mark()], [a_status(status)]).kind == "settled"


def test_an_attempt_that_was_certainly_not_sent_may_be_repeated() -> None:
    assert verdict("m1", [a_mark()], [a_status("retrying", 1)]) == Verdict("again", 1)


def test_a_later_attempt_without_outcome_is_unknown_again() -> None:
    assert verdict("m1", [a_mark(1), a_mark(2)], [a_status("retrying", 1)]) == Verdict("unknown", 2)


def test_a_former_owners_late_word_says_nothing_about_the_attempt_of_a_later_one() -> None:
    assert verdict("m1", [a_mark(epoch=7)], [a_status("retrying", 1, epoch=5)]) == Verdict("unknown", 1)


def test_a_later_owner_may_decide_to_repeat_what_a_former_one_began() -> None:
    assert verdict("m1", [a_mark(epoch=5)], [a_status("retrying", 1, epoch=7)]) == Verdict("again", 1)


def test_a_message_that_was_never_begun_may_be_sent() -> None:
    assert verdict("m1", [a_mark(message_id="m0")], []) == Verdict("again", 0)
