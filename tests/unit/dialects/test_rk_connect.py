"""RK Connect's words: what it takes, how it is signed, what it answers."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurir.contracts import events
from kurir.contracts.content import Text
from kurir.contracts.errors import ERRORS
from kurir.contracts.events import MessageQueued, MessageSending, MessageStatusChanged
from kurir.contracts.states import SENTENCES, MessageStatus, Reason
from kurir.dialects.orders import File, Order
from kurir.dialects.rk_connect import answers, errors, requests
from kurir.dialects.rk_connect.errors import Refused
from kurir.dialects.rk_connect.requests import Send
from kurir.dialects.rk_connect.signing import Signature, is_timely, php_json

SENT = {"recipient": "6281234567890", "type": "text", "message": "Hello from RK Connect"}
JAKARTA = timezone(timedelta(hours=7))
AT = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["recipient", "type", "message", "payload", "media", "payload[a]", "payload[]", "other"])


def refusal(body: dict[str, Any] | bytes) -> Refused:
    with pytest.raises(Refused) as refused:
        requests.from_json(body if isinstance(body, bytes) else json.dumps(body).encode())
    return refused.value


def of_form(fields: dict[str, str], *, has_file: bool = True) -> Send:
    return requests.from_form({"recipient": "62812", "type": "image", **fields}, has_file=has_file)


# --- requests


def test_a_text_is_an_order_of_a_text() -> None:
    order = requests.from_json(json.dumps({**SENT, "payload": {"invoice": 7}}).encode()).order()
    assert order == Order(to="6281234567890", content=Text(text="Hello from RK Connect"), metadata={"invoice": 7})


def test_the_type_is_text_when_none_is_given_and_a_number_may_be_a_number() -> None:
    assert requests.from_json(b'{"recipient":6281234567890,"message":"Hi"}') == Send(
        recipient="6281234567890", type="text", message="Hi", payload=None
    )


def test_a_form_is_an_order_of_its_file_with_the_message_as_caption() -> None:
    assert of_form({"message": "Promo today"}).order().file == File(kind="image", caption="Promo today", any_type=True)
    assert of_form({"type": "audio", "message": "Promo today"}).order().file == File(kind="audio", any_type=True)
    assert of_form({}).order().file == File(kind="image", any_type=True)


def test_a_form_holds_its_payload_as_json_or_in_brackets() -> None:
    for fields in (
        {"payload": '{"order":{"id":"7","of":"shop"}}'},
        {"payload[order][id]": "7", "payload[order][of]": "shop"},
    ):
        assert of_form(fields).payload == {"order": {"id": "7", "of": "shop"}}
    assert of_form({"payload[]": "a"}).payload == {"0": "a"}
    assert of_form({"payload": "[]"}).payload is of_form({"payload": " "}).payload is None
    assert of_form({"payload[a]": "1", "payload[a][b]": "2"}).payload == {"a": {"b": "2"}}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"recipient": None}, "VALIDATION_ERROR", "recipient"),
    ({"recipient": ""}, "VALIDATION_ERROR", "recipient"),
    ({"recipient": ["62812"]}, "VALIDATION_ERROR", "recipient"),
    ({"recipient": True}, "VALIDATION_ERROR", "recipient"),
    ({"recipient": "6" * 65}, "INVALID_RECIPIENT", "recipient"),
    ({"type": "sticker"}, "INVALID_MESSAGE_TYPE", "type"),
    ({"type": 1}, "INVALID_MESSAGE_TYPE", "type"),
    ({"type": []}, "INVALID_MESSAGE_TYPE", "type"),
    ({"message": None}, "VALIDATION_ERROR", "message"),
    ({"message": ""}, "VALIDATION_ERROR", "message"),
    ({"message": 5}, "VALIDATION_ERROR", "message"),
    ({"message": "x" * 65_537}, "VALIDATION_ERROR", "message"),
    ({"type": "image"}, "MEDIA_REQUIRED", "media"),
    ({"type": "image", "media": "https://example.com/a.jpg"}, "MEDIA_REQUIRED", "media"),
    ({"payload": "metadata"}, "VALIDATION_ERROR", "payload"),
    ({"payload": [1]}, "VALIDATION_ERROR", "payload"),
    ({"payload": {"long": "x" * 16_384}}, "VALIDATION_ERROR", "payload"),
    ({"payload": json.loads('{"a":' * 17 + "1" + "}" * 17)}, "VALIDATION_ERROR", "payload"),
]


def test_what_is_wrong_is_told_by_code_and_field() -> None:
    for change, code, field in WRONG:
        refused = refusal({**SENT, **change})
        assert (refused.code, list(refused.errors)) == (code, [field]), change
        assert refused.status == 422
    with pytest.raises(Refused, match="longer than 4096"):
        of_form({"message": "x" * 4097})
    with pytest.raises(Refused, match="as JSON or as payload"):
        of_form({"payload": "{"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'"text"',
        b"[]",
        b"null",
        b'{"message":"\\ud800"}',
        b"[" * 100_000,
        b'{"recipient":%s}' % (b"1" * 5000),
    ],
)
def test_what_is_no_json_object_is_told_so(body: bytes) -> None:
    refused = refusal(body)
    assert (refused.code, refused.status) == ("INVALID_JSON", 400)


@given(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    try:
        sent = requests.from_json(body)
    except Refused:
        return
    assert sent.order().to


@given(st.dictionaries(FIELDS, ANY_JSON), st.booleans())
@settings(max_examples=300)
def test_any_values_of_the_fields_are_a_request_or_refused(fields: dict[str, Any], is_right: bool) -> None:
    body = json.dumps({**SENT, **fields} if is_right else fields).encode()
    try:
        sent = requests.from_json(body)
    except Refused:
        return
    msgspec.json.encode(sent.order())


@given(st.dictionaries(FIELDS | st.text(), st.text() | ANY_JSON.map(json.dumps)), st.booleans())
@settings(max_examples=300)
def test_any_form_is_a_request_or_refused(fields: dict[str, str], has_file: bool) -> None:
    try:
        sent = requests.from_form({"recipient": "62812", "type": "image", **fields}, has_file=has_file)
    except Refused:
        return
    msgspec.json.encode(sent.payload)


# --- signatures


def signed(secret: str, api_key: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{api_key}{timestamp}".encode() + body, hashlib.sha256).hexdigest()


def signature(given: str, *, secret: str = "secret", api_key: str = "key", timestamp: str = "1709308800") -> Signature:
    return Signature(secret, api_key, timestamp, given)


BODY = b'{"recipient":"6281234567890","type":"text","message":"Hello from RK Connect"}'


def test_a_signature_is_over_key_timestamp_and_the_bytes_of_the_body() -> None:
    over = signature(signed("secret", "key", "1709308800", BODY))
    for piece in (BODY[:10], BODY[10:]):
        over.add(piece)
    assert over.is_over_the_body()
    assert not over.is_over_nothing()
    over.add(b" ")
    assert not over.is_over_the_body()


def test_hex_digits_may_be_capitals() -> None:
    over = signature(signed("secret", "key", "1709308800", b"").upper())
    assert over.is_over_the_body()
    assert over.is_over_nothing()


def test_a_signature_of_other_secret_key_timestamp_or_body_is_none() -> None:
    good = signed("secret", "key", "1709308800", BODY)
    for wrong in (
        signature(good, secret="other"),
        signature(good, api_key="other"),
        signature(good, timestamp="1709308801"),
        signature(good[:-1]),
        signature("ü" + good[1:]),
        signature(""),
    ):
        wrong.add(BODY)
        assert not wrong.is_over_the_body()
        assert not wrong.is_over_nothing()
        assert not wrong.is_over_php_json(BODY)


PHP = [
    (
        rb'{"message":"Selamat pagi \u00e9 \u4e2d \ud83d\ude00"}',
        '{"message":"Selamat pagi é 中 😀"}'.encode(),
    ),
    (rb'{"message":"https:\/\/example.com\/a?b=c"}', rb'{"message":"https:\/\/example.com\/a?b=c"}'),
    (
        rb"""{"message":"\"\\\u2028\u2029\u0001\u001f\b\f\t\r\n<>&'"}""",
        rb"""{"message":"\"\\\u2028\u2029\u0001\u001f\b\f\t\r\n<>&'"}""",
    ),
    (
        b'{"n":[1.5,10,1.0e+25,0.1,-1.0e-7,null,true,{},[],""]}',
        b'{"n":[1.5,10,1.0e+25,0.1,-1.0e-7,null,true,{},[],""]}',
    ),
]
"""What PHP 8.2 wrote: `json_encode($v)`, which its HTTP clients send, and with JSON_UNESCAPED_UNICODE."""


def test_what_php_signed_with_its_letters_and_sent_with_escapes_is_recognized() -> None:
    over = signature(signed("secret", "key", "1709308800", '{"message":"Halo é 😀 a\\/b"}'.encode()))
    sent = b'{"message":"Halo \\u00e9 \\ud83d\\ude00 a\\/b"}'
    over.add(sent)
    assert not over.is_over_the_body()
    assert over.is_over_php_json(sent)
    assert over.is_over_php_json('{ "message" : "Halo é 😀 a/b" }'.encode())
    assert not over.is_over_php_json(b'{"message":"Halo"}')


def test_the_order_of_keys_and_the_digits_of_numbers_stay() -> None:
    assert php_json(b'{"b": 1.0e+25, "a": [1, 10.0, true, null, {}], "b": "\\u00e9"}') == (
        '{"b":1.0e+25,"a":[1,10.0,true,null,{}],"b":"é"}'.encode()
    )


@pytest.mark.parametrize(("sent", "signed_"), PHP)
def test_what_php_writes_is_what_is_checked(sent: bytes, signed_: bytes) -> None:
    assert php_json(sent) == signed_


@given(ANY_JSON)
@settings(max_examples=300)
def test_json_as_php_writes_it_says_the_same(value: Any) -> None:
    body = json.dumps(value, allow_nan=True)
    written = php_json(body.encode())
    assert written is not None
    assert json.dumps(json.loads(written)) == json.dumps(json.loads(body))
    assert php_json(written) == written


@given(st.binary(), st.text(), st.text(), st.text())
@settings(max_examples=300)
def test_no_signature_is_right_by_chance_and_none_is_an_error(
    body: bytes, given_: str, api_key: str, timestamp: str
) -> None:
    over = Signature("secret", api_key, timestamp, given_)
    over.add(body)
    assert not any((over.is_over_the_body(), over.is_over_nothing(), over.is_over_php_json(body)))
    is_timely(timestamp, 1709308800)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1709308800", True),
        ("1709308500", True),
        ("1709309100", True),
        ("1709308499", False),
        ("1709309101", False),
        ("1709308800000", False),
        ("-1709308800", False),
        ("1709308800.0", False),
        ("1_709308800", False),
        ("١٧٠٩٣٠٨٨٠٠", False),
        ("", False),
        ("now", False),
    ],
)
def test_a_timestamp_is_seconds_and_within_five_minutes(timestamp: str, expected: bool) -> None:
    assert is_timely(timestamp, 1709308800.0) is expected


# --- answers


def fact(status: MessageStatus, minutes: int = 0, reason: Reason | None = None) -> MessageStatusChanged:
    return MessageStatusChanged(
        id=f"m-{status}",
        tenant="t",
        device="d",
        at=AT + timedelta(minutes=minutes),
        message_id="m",
        status=status,
        to="6281234567890@s.whatsapp.net",
        reason=reason,
    )


def accepted() -> MessageQueued:
    return MessageQueued(
        id="m-queued",
        tenant="t",
        device="d",
        at=AT,
        message_id="m",
        to="6281234567890@s.whatsapp.net",
        content=Text(text="Hi"),
    )


def data_of(*facts: events.AnyEvent) -> dict[str, Any]:
    answer = answers.status(facts, "RK-XXXX", JAKARTA, "node-01")
    assert answer is not None
    assert (answer["success"], answer["meta"]) == (True, {"server_id": "node-01"})
    data: dict[str, Any] = answer["data"]
    return data


def test_the_status_of_a_message_is_told_in_the_tenants_time() -> None:
    assert data_of(accepted(), fact("sent", 1)) == {
        "id": "m",
        "status": "sent",
        "recipient": "6281234567890",
        "device_code": "RK-XXXX",
        "created_at": "2026-03-02T12:00:00+07:00",
        "delivered_at": None,
        "failed_at": None,
        "error_message": None,
    }


def test_each_status_has_one_of_six_words() -> None:
    sending = MessageSending(id="m-sending", tenant="t", device="d", at=AT, message_id="m", to="x@g.us")
    assert data_of(accepted())["status"] == "queued"
    assert (data_of(accepted(), sending)["status"], data_of(sending)["recipient"]) == ("processing", "x@g.us")
    for status in answers.WORDS:
        assert data_of(fact(status))["status"] == answers.WORDS[status]
    assert data_of(accepted(), fact("read", 3), fact("delivered", 2), fact("sent", 1)) == {
        **data_of(accepted()),
        "status": "read",
        "delivered_at": "2026-03-02T12:02:00+07:00",
    }


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("failed", "not_on_whatsapp", "NUMBER_NOT_ON_WHATSAPP"),
        ("failed", "device_logged_out", "DEVICE_LOGGED_OUT"),
        ("failed", "reachout_timelock", "REACHOUT_TIMELOCK"),
        ("failed", "media_fetch_failed", "MEDIA_FETCH_FAILED"),
        ("expired", "expired", "MESSAGE_EXPIRED"),
        ("unknown", "send_timeout", "SEND_TIMEOUT"),
        ("unknown", "outcome_unknown", "UNKNOWN_AFTER_CRASH"),
        ("canceled", "canceled", "CANCELED"),
    ],
)
def test_a_failure_is_told_by_its_code_and_a_sentence(status: MessageStatus, reason: Reason, code: str) -> None:
    data = data_of(accepted(), fact(status, 1, reason))
    assert (data["status"], data["failed_at"]) == ("failed", "2026-03-02T12:01:00+07:00")
    assert data["error_message"] == f"{code}: {SENTENCES[reason]}"


def test_a_message_that_came_in_has_no_status() -> None:
    assert answers.status([], "RK-XXXX", UTC, "node-01") is None


def test_an_accepted_message_is_queued_and_a_repeat_says_so() -> None:
    first = answers.queued("550e8400-e29b-41d4-a716-446655440000", "RK-XXXX", "node-01")
    assert first == {
        "success": True,
        "data": {"id": "550e8400-e29b-41d4-a716-446655440000", "status": "queued", "device": "RK-XXXX"},
        "meta": {"server_id": "node-01"},
    }
    again = answers.queued("550e8400-e29b-41d4-a716-446655440000", "RK-XXXX", "node-01", is_repeat=True)
    assert again == {**first, "meta": {"server_id": "node-01", "idempotent_replay": True}}


# --- errors


def test_each_code_has_its_status_and_body() -> None:
    for code, kind in errors.KINDS.items():
        told = errors.body(Refused(code), "node-01")
        assert (told["success"], told["code"], told["message"]) == (False, code, kind.sentence)
        assert told["meta"] == {"server_id": "node-01"}
    assert errors.body(Refused("QUOTA_EXCEEDED"), "node-01") == {
        "success": False,
        "message": "Monthly quota exceeded or account suspended.",
        "code": "QUOTA_EXCEEDED",
        "meta": {"server_id": "node-01"},
    }
    assert errors.body(Refused("RATE_LIMIT_EXCEEDED"), "node-01", retry_after_s=7)["retry_after"] == 7


def test_kurirs_own_errors_are_told_in_this_apis_words() -> None:
    for code, kind in ERRORS.items():
        refused = errors.of_kurir(code, kind.sentence, None)
        assert refused.status in (kind.status, 403, 401, 409, 413, 422, 429, 500, 503), code
    told = errors.of_kurir("VALIDATION_ERROR", "The file is empty.", "file")
    assert (told.code, told.errors, told.message) == (
        "VALIDATION_ERROR",
        {"media": ["The file is empty."]},
        "The file is empty.",
    )
    assert errors.of_kurir("INVALID_RECIPIENT", "…", "to").errors == {
        "recipient": ["The recipient must be a number with country code, or a group id."]
    }
    assert errors.of_kurir("ACCOUNT_SUSPENDED", "…", None).message == "Monthly quota exceeded or account suspended."
