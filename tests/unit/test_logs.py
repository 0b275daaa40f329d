"""Log lines: JSON with the facts in fields, secrets masked by the name of their field, volume bounded."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from kurir.runtime import logs
from kurir.runtime.logs import Throttle
from kurir.runtime.tracing import child_span


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(form: str = "json", level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    logs.configure("api", "node-1", level=level, form=form, stream=stream)
    return stream


def only_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_line_has_its_words_its_facts_and_where_it_comes_from() -> None:
    stream = configured()
    logs.get("kurir.test").info("delivery.attempted", delivery="d-1", status=200, took_s=0.25)
    line = only_line(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery.attempted",
        "level": "info",
        "logger": "kurir.test",
        "service": "api",
        "node": "node-1",
        "delivery": "d-1",
        "status": 200,
        "took_s": 0.25,
    }


def test_bound_context_and_the_trace_are_on_every_line() -> None:
    stream = configured()
    with (
        structlog.contextvars.bound_contextvars(request_id="r-1"),
        child_span("accept", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ):
        logs.get("kurir.test").info("message.accepted")
    line = only_line(stream)
    assert line["request_id"] == "r-1"
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "api_key",
        "apikey",
        "apiKey",
        "X-API-Key",
        "secret",
        "webhook_secret",
        "client_secrets",
        "webhookSecret",
        "Authorization",
        "password",
        "access_token",
        "Set-Cookie",
        "credentials",
        "nats_creds",
    ],
)
def test_fields_named_like_secrets_are_masked_wherever_they_are(name: str) -> None:
    stream = configured()
    logs.get("kurir.test").info("x", **{name: "hush", "headers": {name: "hush", "other": [{name: "hush"}]}})
    assert "hush" not in stream.getvalue()
    assert only_line(stream)["headers"][name] == "***"


@pytest.mark.parametrize("name", ["key_id", "monkey", "tokens_left", "secretary", "keyboard"])
def test_other_fields_are_left_as_they_are(name: str) -> None:
    stream = configured()
    logs.get("kurir.test").info("x", **{name: "shown"})
    assert only_line(stream)[name] == "shown"


def test_passwords_in_urls_are_masked_in_our_lines_and_in_those_of_libraries() -> None:
    stream = configured()
    logs.get("kurir.test").info("bus.connected", url="nats://user:hush@bus:4222")
    logging.getLogger("somelib").warning("cannot reach %s", "mongodb://user:hush@store/kurir")
    assert "hush" not in stream.getvalue()
    assert "nats://user:***@bus:4222" in stream.getvalue()
    assert "mongodb://user:***@store/kurir" in stream.getvalue()


def test_lines_of_libraries_come_out_in_the_same_form() -> None:
    stream = configured()
    logging.getLogger("somelib.part").warning("lost %d of %d", 1, 2)
    line = only_line(stream)
    assert (line["event"], line["logger"], line["level"]) == ("lost 1 of 2", "somelib.part", "warning")
    assert (line["service"], line["node"]) == ("api", "node-1")


def test_chatty_libraries_are_heard_from_warnings_on() -> None:
    stream = configured()
    logging.getLogger("nats.aio").info("hello")
    logging.getLogger("somelib").debug("hello")
    assert stream.getvalue() == ""


def test_lines_below_the_level_are_left_out() -> None:
    stream = configured(level="WARNING")
    logs.get("kurir.test").info("x")
    assert stream.getvalue() == ""


def test_an_exception_is_logged_with_its_traceback_and_without_local_values() -> None:
    stream = configured()
    try:
        local = "hush"
        raise ValueError("bad")
    except ValueError:
        logs.get("kurir.test").exception("it.failed")
        del local
    line = only_line(stream)
    assert "ValueError: bad" in line["exception"]
    assert "Traceback" in line["exception"]
    assert "local = 'hush'" not in line["exception"]


def test_whatever_is_not_json_is_shown_by_its_repr() -> None:
    stream = configured()
    logs.get("kurir.test").info("x", thing={1, 2}.__class__, raw=b"\xff")
    assert "class 'set'" in only_line(stream)["thing"]


def test_a_very_long_field_is_cut() -> None:
    stream = configured()
    logs.get("kurir.test").info("x", body="y" * 100_000)
    assert len(stream.getvalue()) < 5000
    assert only_line(stream)["body"].endswith("… (100000 characters)")


def test_on_a_console_lines_are_for_reading() -> None:
    stream = configured(form="console")
    logs.get("kurir.test").info("service.started", port=8080, api_key="hush")
    logging.getLogger("somelib").warning("careful")
    shown = stream.getvalue()
    assert "service.started" in shown
    assert "port=8080" in shown
    assert "careful" in shown
    assert "hush" not in shown
    assert not shown.startswith("{")


def test_repeated_words_are_bounded_and_what_was_left_out_is_counted() -> None:
    now = 0.0
    throttle = Throttle(limit=3, window_s=10, monotonic=lambda: now)

    def passed(words: str) -> dict[str, Any] | None:
        try:
            return dict(throttle(None, "info", {"event": words}))
        except structlog.DropEvent:
            return None

    assert [passed("a") is not None for _ in range(5)] == [True, True, True, False, False]
    assert passed("b") == {"event": "b"}
    now = 10.0
    assert passed("a") == {"event": "a", "suppressed": 2}
    assert passed("a") == {"event": "a"}


def test_a_line_that_would_be_left_out_can_be_asked_about_first_and_is_counted() -> None:
    now = 0.0
    throttle = Throttle(limit=2, window_s=10, monotonic=lambda: now)

    def told(words: str) -> dict[str, Any] | None:
        return None if throttle.is_full("info", words) else dict(throttle(None, "info", {"event": words}))

    assert [told("a") is not None for _ in range(5)] == [True, True, False, False, False]
    assert told("b") == {"event": "b"}
    now = 10.0
    assert told("a") == {"event": "a", "suppressed": 3}


def test_what_is_left_out_is_known_once_logging_is_configured() -> None:
    stream = configured()
    lines = 0
    while not logs.is_left_out("info", "told.often"):
        logs.get("kurir.test").info("told.often")
        lines += 1
    assert lines == len(stream.getvalue().splitlines()) == logs.LINES_PER_WINDOW
    assert not logs.is_left_out("warning", "told.often")


def test_a_flood_from_a_library_is_bounded_by_its_words_not_by_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = configured()
    for number in range(logs.LINES_PER_WINDOW + 100):
        logging.getLogger("somelib").warning("connection %d lost", number)
    assert len(stream.getvalue().splitlines()) == logs.LINES_PER_WINDOW
