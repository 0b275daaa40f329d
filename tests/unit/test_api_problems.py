from typing import Literal

import msgspec
import pytest
from msgspec import Struct

from kurir.api.messages.requests import SendContact, SendText, send_media_from_form
from kurir.api.problems import Problem, field_of, invalid, problem_of
from kurir.runtime.broker import BacklogFull, BrokerUnavailable, Unreachable
from kurir.runtime.mongo import MongoUnavailable


class Inner(Struct, forbid_unknown_fields=True):
    name: str


class Outer(Struct, forbid_unknown_fields=True):
    many: list[Inner]


class Sized(Struct):
    sizes: list[Literal[1, 2]]


class Chosen(Struct):
    inner: Sized | None
    named: dict[str, Literal["y", "z"]] = {}


@pytest.mark.parametrize(
    ("body", "type_", "field"),
    [
        (b'{"deviceId":"d","to":1,"text":"x"}', SendText, "to"),
        (b'{"deviceId":"d","to":"1"}', SendText, "text"),
        (b'{"deviceId":"d","to":"1","text":"x","priority":"now"}', SendText, "priority"),
        (b'{"deviceId":"d","to":"1","text":"x","sendAt":"2026-11-20T12:00:00"}', SendText, "sendAt"),
        (b'{"deviceId":"d","to":"1","text":"x","quote":{"id":"3"}}', SendText, "quote.id"),
        (b'{"deviceId":"d","to":"1","text":"x","colour":"red"}', SendText, "colour"),
        (b'{"deviceId":"d","to":"1","contacts":[{"name":"A","phones":["x"]}]}', SendContact, "contacts[0].phones[0]"),
        (b'{"many":[{}]}', Outer, "many[0].name"),
        (b"[]", SendText, None),
    ],
)
def test_a_wrong_body_is_told_by_the_field_in_the_callers_words(
    body: bytes, type_: type[Struct], field: str | None
) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=type_)
    problem = problem_of(error.value)
    assert (problem.status, problem.code, problem.field) == (400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize(
    ("body", "type_", "allowed"),
    [
        (b'{"deviceId":"d","to":"1","text":"x","priority":"now"}', SendText, "bulk, high, normal"),
        (b'{"inner":{"sizes":[1,4]}}', Chosen, "1, 2"),
        (b'{"inner":null,"named":{"a":"x"}}', Chosen, "y, z"),
        (b'{"inner":null,"named":[]}', Chosen, None),
    ],
)
def test_a_wrong_choice_is_told_with_what_may_be_chosen(body: bytes, type_: type[Struct], allowed: str | None) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=type_)
    _, _, told = invalid(error.value, type_).message.partition("; allowed: ")
    assert (told or None) == allowed


def test_a_form_is_read_into_the_types_of_its_fields() -> None:
    form = {"deviceId": "d", "to": "1", "kind": "audio", "ptt": "true", "expiresIn": "60", "mentions": "628, 629"}
    request = send_media_from_form(form)
    assert (request.ptt, request.expires_in, request.mentions) == (True, 60, ("628", "629"))


@pytest.mark.parametrize(
    ("error", "status", "code", "has_retry_after"),
    [
        (BacklogFull(10077, "maximum messages per subject exceeded"), 429, "BACKLOG_FULL", True),
        (BrokerUnavailable("gone", outcome_unknown=False), 503, "SERVICE_UNAVAILABLE", True),
        (Unreachable("nobody", outcome_unknown=False), 503, "SESSION_UNOWNED", True),
        (MongoUnavailable("gone"), 503, "HISTORY_UNAVAILABLE", True),
        (RuntimeError("a secret detail"), 500, "INTERNAL_ERROR", False),
        (Problem("DEVICE_NOT_FOUND"), 404, "DEVICE_NOT_FOUND", False),
    ],
)
def test_what_goes_wrong_has_one_answer_each(error: Exception, status: int, code: str, has_retry_after: bool) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code, "Retry-After" in problem.headers) == (status, code, has_retry_after)
    assert "secret detail" not in problem.message


def test_messages_without_a_field_name_none() -> None:
    assert field_of("Expected `object`, got `array`") is None
