"""The words of the Baileys gateway: what it takes, what it answers, how it fails; against what its document prints."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.contracts.content import Text
from kurir.contracts.errors import ERRORS, ErrorCode
from kurir.contracts.states import SENTENCES, Reason
from kurir.dialects.baileys_gateway import answers, errors, requests
from kurir.dialects.baileys_gateway.answers import Bot
from kurir.dialects.baileys_gateway.errors import Failure
from kurir.dialects.baileys_gateway.files import FILE_TYPES, MIB, FileType
from kurir.dialects.orders import File, Order

EXAMPLES = Path(__file__).parents[2] / "examples" / "dialects" / "baileys_gateway"
AT = datetime(2025, 9, 23, 13, 45, 30, 123_456, UTC)
IMAGES, DOCUMENTS, AUDIO, VIDEO, STICKERS = FILE_TYPES

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["phone", "message", "caption", "file", "to", "other"])


def printed(name: str) -> Any:
    """The body that the document prints."""
    return json.loads((EXAMPLES / f"{name}.json").read_text())["answer"]["body"]


def a_bot(**differing: Any) -> Bot:
    facts: dict[str, Any] = {
        "connected": True,
        "attempts": 0,
        "environment": "production",
        "has_webhooks": False,
        "needs_key": False,
        "limit": 100,
        "uptime_s": 1234.5601,
        "memory_used_mb": 85,
        "memory_total_mb": 128,
        "platform": "linux",
    }
    return Bot(**facts | differing)


def judged(fields: dict[str, Any], files: FileType | None = None, file_name: str | None = None) -> Order | Failure:
    """What becomes of a text, or with `files` of a file."""
    try:
        return requests.text_order(fields) if files is None else requests.file_order(files, fields, file_name)
    except Failure as failed:
        return failed


def failure(fields: dict[str, Any], files: FileType | None = None, file_name: str | None = None) -> Failure:
    failed = judged(fields, files, file_name)
    assert isinstance(failed, Failure), failed
    return failed


# --- requests


def test_a_text_is_an_order_of_a_text() -> None:
    order = requests.text_order({"phone": "6281234567890", "message": "Hello from WhatsApp Gateway API!"})
    assert order == Order(to="6281234567890", content=Text(text="Hello from WhatsApp Gateway API!"))


def test_a_number_may_be_a_number() -> None:
    assert requests.text_order({"phone": 6281234567890, "message": "Hi"}).to == "6281234567890"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Phone number required"),
        ({"message": "Hi"}, "Phone number required"),
        ({"phone": "", "message": "Hi"}, "Phone number required"),
        ({"phone": None, "message": "Hi"}, "Phone number required"),
        ({"phone": " ", "message": "Hi"}, "Invalid phone number"),
        ({"phone": True, "message": "Hi"}, "Invalid phone number"),
        ({"phone": ["62812"], "message": "Hi"}, "Invalid phone number"),
        ({"phone": 10**5000, "message": "Hi"}, "Invalid phone number"),
        ({"phone": -62812, "message": "Hi"}, "Invalid phone number"),
        ({"phone": "6" * 65, "message": "Hi"}, "Invalid phone number"),
        ({"phone": "62812"}, "Message required"),
        ({"phone": "62812", "message": ""}, "Message required"),
        ({"phone": "62812", "message": 7}, "message must be a string"),
        ({"phone": "62812", "message": "x" * 65_537}, "message is longer than 65536 characters"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    failed = failure(fields)
    assert (failed.status, failed.message) == (400, message)


@pytest.mark.parametrize("files", FILE_TYPES)
def test_a_file_is_an_order_with_a_caption_where_its_kind_has_one(files: FileType) -> None:
    name = f"one.{files.extensions[-1].upper()}"
    order = requests.file_order(files, {"phone": "081234567890", "caption": "Look!"}, name)
    caption = None if files in (AUDIO, STICKERS) else "Look!"
    assert order == Order(
        to="081234567890", file=File(kind=files.kind, file_name=name, caption=caption, voice=files is AUDIO)
    )


@pytest.mark.parametrize("files", FILE_TYPES)
@pytest.mark.parametrize("name", ["evil.exe", "noextension", ".", "image.jpg.exe", "jpg", "x.mp3\n"])
def test_a_file_of_another_extension_is_refused_with_those_that_are_taken(files: FileType, name: str) -> None:
    failed = failure({"phone": "62812"}, files, name)
    assert (failed.status, failed.message) == (
        400,
        f"Invalid file type. Allowed: {json.dumps(files.extensions, separators=(',', ':'))}",
    )


@pytest.mark.parametrize("name", ["./image.jpg", "/tmp/image.jpg", "C:\\pictures\\image.jpg"])
def test_a_file_is_named_without_the_folder_that_it_lay_in(name: str) -> None:
    order = requests.file_order(IMAGES, {"phone": "62812"}, name)
    assert order.file is not None
    assert order.file.file_name == "image.jpg"


@pytest.mark.parametrize("name", [None, "", "folder/"])
def test_a_file_is_required(name: str | None) -> None:
    assert failure({"phone": "62812"}, IMAGES, name).message == "File required"
    assert failure({}, IMAGES, name).message == "Phone number required"


@given(st.dictionaries(FIELDS, ANY_JSON), st.none() | st.text(max_size=300), st.sampled_from([None, *FILE_TYPES]))
def test_whatever_is_sent_is_an_order_or_a_failure_of_this_api(
    fields: dict[str, Any], file_name: str | None, files: FileType | None
) -> None:
    match judged(fields, files, file_name):
        case Failure() as failed:
            assert failed.status == 400
            assert failed.body(AT).keys() == {"status", "message", "timestamp"}
        case Order() as order:
            assert (order.content is None) == (files is not None)


# --- answers


def test_the_service_document_is_the_printed_one() -> None:
    assert answers.service_document(a_bot()) == printed("service_document")


def test_the_status_is_the_printed_one() -> None:
    assert answers.status(a_bot()) == printed("status")


def test_switches_tell_how_the_installation_is() -> None:
    bot = a_bot(has_webhooks=True, needs_key=True, limit=0)
    features = answers.service_document(bot)["features"]
    assert (features["webhooks"], features["api_auth"], features["rate_limiting"]) == (
        "✅ Enabled",
        "✅ Enabled",
        "❌ Disabled",
    )
    assert answers.status(bot)["features"] == {
        "webhooks": True,
        "analytics": True,
        "rate_limiting": False,
        "api_authentication": True,
    }


@pytest.mark.parametrize("word", ["connected", "disconnected"])
def test_health_is_the_printed_one(word: str) -> None:
    assert answers.health(a_bot(connected=word == "connected"), AT) == printed(f"health_{word}")


def test_qr_answers_are_the_printed_ones() -> None:
    assert answers.qr_code("2@8QJwrEjN8hKDGkjgh...") == printed("qr_available")
    assert answers.no_qr_needed() == printed("qr_not_needed")


def test_a_sent_text_is_answered_as_printed() -> None:
    fields = {"phone": "6281234567890", "message": "Hello from WhatsApp Gateway API!"}
    assert answers.text_sent(fields, AT, UTC, queued=False) == printed("text")


@pytest.mark.parametrize("files", FILE_TYPES)
def test_a_sent_file_is_answered_as_printed(files: FileType) -> None:
    body = printed(files.kind)
    fields = {"phone": "6281234567890", "caption": body["data"].get("caption", "ignored")}
    order = requests.file_order(files, fields, body["data"]["filename"])
    size = round(body["data"]["file_size_kb"] * 1024)
    assert answers.file_sent(files, order, fields, size, AT, UTC, queued=False) == body


def test_a_message_that_whatsapp_has_not_confirmed_yet_says_so() -> None:
    fields = {"phone": "62812", "message": "Hi"}
    assert answers.text_sent(fields, AT, UTC, queued=True)["data"]["status"] == "queued"


def test_times_of_messages_are_told_in_the_zone_of_the_tenant() -> None:
    fields = {"phone": "62812", "message": "Hi"}
    told = answers.text_sent(fields, AT, timezone(timedelta(hours=7)), queued=False)
    assert told["data"]["timestamp"] == "2025-09-23 20:45:30"


# --- failures


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("error_file_type", errors.wrong_type(IMAGES)),
        ("error_unauthorized", errors.failure_of("MISSING_API_KEY", "")),
        ("error_unauthorized", errors.failure_of("INVALID_API_KEY", "")),
        ("error_not_found", errors.failure_of("NOT_FOUND", "")),
        ("error_not_found", errors.failure_of("METHOD_NOT_ALLOWED", "")),
        ("error_rate_limit", errors.too_many(100)),
        ("error_not_connected", errors.failure_of("DEVICE_NOT_CONNECTED", "")),
    ],
)
def test_failures_are_told_as_printed(name: str, failed: Failure) -> None:
    assert failed.body(AT) == printed(name)
    assert failed.status == json.loads((EXAMPLES / f"{name}.json").read_text())["answer"]["status"]


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_every_failure_of_the_gateway_has_a_status_that_this_api_knows(code: ErrorCode) -> None:
    failed = errors.failure_of(code, ERRORS[code].sentence)
    assert failed.status in (400, 401, 404, 429, 500, 503)
    assert failed.message


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_message_that_was_not_sent_is_told_with_its_reason(reason: Reason) -> None:
    failed = errors.not_sent(reason, "connection timeout")
    assert (failed.status, failed.message) == (
        500,
        f"Failed to send message: {SENTENCES[reason]} (connection timeout)",
    )


def test_sizes_and_extensions_are_those_of_the_document() -> None:
    document = printed("service_document")
    assert {files.plural: list(files.extensions) for files in FILE_TYPES} == document["supported_formats"]
    assert {files.plural: f"{files.max_bytes // MIB}MB" for files in FILE_TYPES} == document["file_size_limits"]
    assert errors.too_large(STICKERS).message == "File too large. Maximum size: 1MB"
