"""What an HTTP answer means for a delivery."""

from datetime import UTC, datetime

import pytest

from kurir.webhook_dispatcher import outcome

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def answer(status: int, **headers: str) -> outcome.Verdict:
    return outcome.of_answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_delivers(status: int) -> None:
    assert answer(status) == outcome.Verdict("delivered")


def test_gone_means_gone_for_good() -> None:
    assert answer(410).kind == "gone"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, "http_3xx"),
        (304, "http_3xx"),
        (400, "http_4xx"),
        (404, "http_4xx"),
        (500, "http_5xx"),
        (199, "http_other"),
    ],
)
def test_everything_else_is_a_failure_with_its_class(status: int, error: str) -> None:
    assert answer(status) == outcome.Verdict("failed", error)
    assert error in outcome.ERRORS


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_is_heard(status: int) -> None:
    assert answer(status, retry_after="120") == outcome.Verdict("failed", f"http_{status}", 120.0)


def test_retry_after_may_be_a_date() -> None:
    assert answer(503, retry_after="Fri, 20 Nov 2026 08:02:30 GMT").retry_after_s == 150.0


def test_a_date_in_the_past_asks_for_nothing() -> None:
    assert answer(503, retry_after="Fri, 20 Nov 2026 07:00:00 GMT").retry_after_s == 0.0


@pytest.mark.parametrize("value", ["999999999999999999999", "Fri, 20 Nov 2099 08:00:00 GMT"])
def test_nobody_can_ask_for_more_than_ten_hours(value: str) -> None:
    assert answer(429, retry_after=value).retry_after_s == 36_000.0


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "²", "Fri, 99 Nov 2026"])
def test_a_retry_after_that_makes_no_sense_is_ignored(value: str) -> None:
    assert answer(429, retry_after=value) == outcome.Verdict("failed", "http_429")


def test_other_failures_may_not_ask_for_time() -> None:
    assert answer(500, retry_after="120").retry_after_s is None


def test_no_answer_is_a_failure() -> None:
    assert outcome.of_failure("timeout") == outcome.Verdict("failed", "timeout")
