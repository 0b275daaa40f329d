"""When a failed delivery is tried again."""

import pytest

from kurir.webhook_dispatcher.retry_schedule import DEFAULT_DELAYS_S, delay_s, parse_delays


def test_the_default_goes_on_for_more_than_three_days() -> None:
    assert sum(DEFAULT_DELAYS_S) > 3 * 24 * 3600
    assert list(DEFAULT_DELAYS_S) == sorted(DEFAULT_DELAYS_S)


def test_each_attempt_has_its_delay_and_the_last_has_none() -> None:
    assert [delay_s((1, 5, 30), attempt, None, chance=0) for attempt in (1, 2, 3, 4)] == [1, 5, 30, None]


def test_jitter_only_ever_adds() -> None:
    assert all(100 <= (delay_s((100,), 1, None) or 0) < 110 for _ in range(1_000))


def test_a_receiver_that_asks_for_time_gets_at_least_that() -> None:
    assert delay_s((5,), 1, 60.0, chance=0) == 60.0
    assert delay_s((5,), 1, 2.0, chance=0) == 5.0
    assert (delay_s((5,), 1, 60.0) or 0) >= 60.0


def test_asking_for_time_does_not_add_attempts() -> None:
    assert delay_s((5,), 2, 60.0) is None


def test_delays_are_read_from_text() -> None:
    assert parse_delays("0.2, 0.5,") == (0.2, 0.5)
    assert parse_delays("") == ()


@pytest.mark.parametrize("text", ["-1", "nan", "soon", "1e9"])
def test_delays_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_delays(text)
