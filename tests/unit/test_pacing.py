"""How fast one device may send."""

import pytest

from kurir.session_node.pacing import JITTER, Pace


def sent_within(pace: Pace, seconds: float, start: float = 0.0) -> int:
    """How many messages a sender that waits exactly as told gets away in so many seconds."""
    now, sent = start, 0
    while True:
        wait = pace.wait_s(now, jitter=0)
        if wait == 0:
            pace.take(now)
            sent += 1
            continue
        now += wait
        if now > start + seconds:
            return sent


def test_a_quiet_device_may_send_a_minutes_worth_at_once_and_then_at_its_rate() -> None:
    pace = Pace(30, now=0)
    assert sent_within(pace, 0) == 30
    assert sent_within(pace, 60) == 30
    assert pace.wait_s(60, jitter=0) == pytest.approx(2.0)


def test_zero_means_no_pace() -> None:
    pace = Pace(0, now=0)
    for _ in range(10_000):
        assert pace.wait_s(0) == 0
        pace.take(0)


def test_a_wait_is_stretched_by_jitter_and_never_shortened() -> None:
    pace = Pace(60, now=0, last_sent_s_ago=0)
    assert pace.wait_s(0, jitter=0) == pytest.approx(1.0)
    assert pace.wait_s(0, jitter=1) == pytest.approx(1 + JITTER)


def test_a_moved_bucket_is_no_fuller_than_it_can_have_become() -> None:
    assert sent_within(Pace(30, now=100, last_sent_s_ago=10), 0, start=100) == 5
    assert sent_within(Pace(30, now=100, last_sent_s_ago=3600), 0, start=100) == 30


def test_nothing_is_sent_during_a_pause_and_an_earlier_end_does_not_shorten_it() -> None:
    pace = Pace(0, now=0)
    pace.pause_until(50)
    pace.pause_until(20)
    assert pace.wait_s(10) == 40
    assert pace.wait_s(50) == 0


def test_a_lower_rate_holds_from_now_on() -> None:
    pace = Pace(600, now=0)
    pace.set_rate(6, now=0)
    assert sent_within(pace, 0) == 6
    pace.set_rate(0, now=0)
    assert pace.wait_s(0) == 0
    pace.set_rate(6, now=0)
    assert sent_within(pace, 0) == 6


def test_time_that_steps_back_gives_no_tokens() -> None:
    pace = Pace(60, now=100, last_sent_s_ago=0)
    assert pace.wait_s(90, jitter=0) == pytest.approx(1.0)
