"""Which of our messages a receipt is about, and which poll a vote is in."""

from kurir.contracts.content import MessageKey, Poll, PollVote
from kurir.session_node.look_back import LOOK_AGAIN_AFTER_S
from kurir.session_node.polls import Polls
from kurir.session_node.receipts import SentMessage, SentMessages


def test_the_oldest_messages_are_forgotten_first() -> None:
    sent = SentMessages(limit=2)
    for n in range(3):
        sent.remember(f"w{n}", f"m{n}", "to")
    assert sent.find("w0") is None
    assert sent.find("w2") == SentMessage("m2", "to")


def test_a_new_owner_looks_back_once() -> None:
    sent = SentMessages()
    assert sent.should_look_back(now=0)
    assert not sent.should_look_back(now=10 * LOOK_AGAIN_AFTER_S)


def test_what_was_forgotten_is_looked_up_but_not_for_every_receipt() -> None:
    sent = SentMessages(limit=1)
    assert sent.should_look_back(now=0)
    sent.remember("w1", "m1", "to")
    sent.remember("w2", "m2", "to")
    assert not sent.should_look_back(now=1)
    assert sent.should_look_back(now=LOOK_AGAIN_AFTER_S)


def test_votes_in_polls_of_others_do_not_have_the_stream_read_again_and_again() -> None:
    polls = Polls(limit=1)
    vote = PollVote(target=MessageKey(chat="120363@g.us", whatsapp_id="theirs"), hashes=("ab",))
    assert polls.named(vote) == vote
    assert polls.should_look_back(now=0)
    polls.remember("w1", Poll(question="Lunch?", options=("yes", "no")))
    assert not polls.should_look_back(now=10 * LOOK_AGAIN_AFTER_S)
    polls.remember("w2", Poll(question="Cake?", options=("now", "later")))
    assert polls.should_look_back(now=10 * LOOK_AGAIN_AFTER_S), "the first is forgotten"
