"""Whose words are spoken at paths that several gateways have."""

from typing import Any

import pytest

from kurir.api.documents import openapi
from kurir.api.legacy import baileys_gateway
from kurir.api.legacy.paths import NATIVE, words_of
from kurir.api.legacy.shared_paths import sender_of
from kurir.api.problems import native_answer
from kurir.contracts.records import Dialect

KEY = {b"x-api-key": b"k"}
TOKEN = {b"authorization": b"Bearer wa_1"}
PHONE, TO, BOTH = {"phone": "1"}, {"to": "1"}, {"phone": "1", "to": "1"}


@pytest.mark.parametrize(
    ("dialect", "headers", "fields", "expected"),
    [
        ("fonnte", KEY, PHONE, "fonnte"),
        ("baileys_gateway", TOKEN, TO, "baileys_gateway"),
        ("native", KEY, TO, "fonnte"),
        (None, TOKEN, PHONE, "baileys_gateway"),
        (None, KEY, TO, "fonnte"),
        (None, KEY, BOTH, "baileys_gateway"),
        (None, TOKEN, BOTH, "fonnte"),
        (None, KEY | TOKEN, BOTH, "fonnte"),
        (None, {}, BOTH, "fonnte"),
        (None, KEY, {}, "baileys_gateway"),
        (None, TOKEN, {}, "fonnte"),
        (None, {b"authorization": b"Bearer other"}, {}, "baileys_gateway"),
        (None, {}, {}, "baileys_gateway"),
    ],
)
def test_the_key_goes_before_the_body_and_the_body_before_the_header(
    dialect: Dialect | None, headers: dict[bytes, bytes], fields: dict[str, Any], expected: str
) -> None:
    assert sender_of(dialect, headers, fields) == expected


def test_every_native_path_fails_in_native_words() -> None:
    assert {path.split("/")[1] for path in openapi.document()["paths"]} <= NATIVE
    for path in ("/devices", "/api/devices/x/unknown", "/messages/send-text", "/api/openapi.json"):
        assert words_of(path) is native_answer


def test_what_is_nobodys_path_fails_in_the_words_of_the_baileys_gateway() -> None:
    for path in ("/", "/api", "/api/nothing", "/nothing/at/all", "/apidevices", "/api/send-image/"):
        assert words_of(path) is baileys_gateway.words
