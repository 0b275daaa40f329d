"""What Evolution's clients write, read without I/O: numbers, bodies of both versions, findings in its words."""

import base64
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurir.contracts.content import Text
from kurir.contracts.errors import ERRORS
from kurir.dialects.evolution import (
    chat_requests,
    errors,
    file_requests,
    group_requests,
    instance_requests,
    labels,
    pictures,
    profile,
    requests,
    sends,
)
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Invalid
from kurir.dialects.evolution.numbers import recipient

PARSERS: tuple[Callable[[Mapping[str, Any]], object], ...] = (
    *sends.SENDS.values(),
    *sends.FILE_SENDS.values(),
    instance_requests.create,
    instance_requests.webhook,
    instance_requests.settings,
    instance_requests.proxy,
    instance_requests.presence,
    lambda values: instance_requests.outlet(values, "websocket"),
    chat_requests.numbers,
    chat_requests.read_messages,
    chat_requests.deletion,
    chat_requests.correction,
    chat_requests.typing,
    chat_requests.number,
    chat_requests.where,
    chat_requests.media_of,
    chat_requests.archiving,
    chat_requests.unread,
    labels.labeling,
    profile.name,
    profile.about,
    profile.blocking,
    profile.privacy,
    lambda values: pictures.picture(values, "picture"),
    group_requests.new_group,
    group_requests.subject,
    group_requests.description,
    group_requests.members_change,
    group_requests.group_setting,
    group_requests.expiration,
    group_requests.invitation,
    group_requests.wants_participants,
    lambda values: group_requests.group_of(values, values),
    lambda values: group_requests.invite_code(values, values),
)

NAMES = st.sampled_from(
    [
        *("number", "options", "textMessage", "text", "mediaMessage", "mediatype", "media", "fileName", "caption"),
        *("delay", "quoted", "key", "remoteJid", "fromMe", "id", "mentions", "mentioned", "everyOne", "message"),
        *("locationMessage", "latitude", "longitude", "contactMessage", "contact", "fullName", "phoneNumber", "wuid"),
        *("reactionMessage", "reaction", "pollMessage", "name", "values", "selectableCount", "audio", "sticker"),
        *("instanceName", "token", "webhook", "url", "events", "headers", "proxy", "host", "port", "protocol"),
        *("reject_call", "groupsIgnore", "msg_call", "numbers", "read_messages", "where", "limit", "page", "offset"),
        *("labelId", "chat", "archive", "lastMessage", "status", "picture", "profilePicture"),
        *("privacySettings", "last", "online", "profile", "groupadd", "readreceipts"),
        *("statusMessage", "type", "content", "backgroundColor", "font", "allContacts", "statusJidList", "listMessage"),
        *("sections", "rows", "title", "rowId", "buttonText", "footerText"),
        *("subject", "participants", "action", "expiration", "groupJid", "inviteCode", "description", "presence"),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["628123456789", "image", "https://a/b", "120363@g.us", "add", "QQ=="])
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(body=st.dictionaries(NAMES, JSON, max_size=8), parser=st.sampled_from(PARSERS))
def test_any_body_is_read_or_refused_in_its_own_words(
    body: dict[str, Any], parser: Callable[[Mapping[str, Any]], object]
) -> None:
    with contextlib.suppress(Invalid, Refused):
        parser(body)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("628123456789", "628123456789"),
        ("+62 812 (345) 6789", "628123456789"),
        ("628123456789@s.whatsapp.net", "628123456789@s.whatsapp.net"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("status@broadcast", "status@broadcast"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
        ("120363025246125486", "120363025246125486@g.us"),
        ("628123456789-1463000000", "628123456789-1463000000"),  # 23 characters: too short for an old group's id
        ("6281234567890-14630000001", "6281234567890-14630000001@g.us"),
        ("628123456789:12@c.us", "628123456789"),
        ("5215512345678", "525512345678"),
        ("5491112345678", "541112345678"),
        ("5531987654321", "553187654321"),
        ("5511987654321", "5511987654321"),  # up to area 30 the ninth digit is WhatsApp's own
        ("5531912345678", "5531912345678"),
    ],
)
def test_numbers_are_read_as_the_original_reads_them(written: str, meant: str) -> None:
    assert recipient(written) == meant


def test_both_versions_of_a_text_mean_the_same_order() -> None:
    quoted = {
        "key": {"id": "3EB0", "remoteJid": "628@s.whatsapp.net", "fromMe": True},
        "message": {"conversation": "a"},
    }
    v1 = requests.send_text(
        {
            "number": "628123456789",
            "options": {"delay": 1200, "quoted": quoted, "mentions": {"everyOne": True, "mentioned": ["628"]}},
            "textMessage": {"text": "hi"},
        }
    )
    v2 = requests.send_text(
        {
            "number": "628123456789",
            "text": "hi",
            "delay": "1200",
            "quoted": quoted,
            "mentionsEveryOne": "true",
            "mentioned": ["628"],
        }
    )
    assert (v1.version, v2.version) == ("v1", "v2")
    assert v1.order == v2.order
    assert v1.is_everyone
    assert v2.is_everyone
    assert v1.order.content == Text(text="hi", link_preview=True)
    assert v1.order.typing_ms == 1200


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as found:
        requests.send_poll({"options": {"delay": -1}, "pollMessage": {"name": "", "values": ["a", "a"]}})
    assert found.value.messages == (
        'pollMessage requires property "selectableCount"',
        'The "name" cannot be empty',
        "pollMessage.values contains duplicate item",
        'instance requires property "number"',
        "options.delay must be greater than or equal to 0",
    )


def test_a_delay_is_typed_no_longer_than_whatsapp_shows_it() -> None:
    assert requests.send_text({"number": "628123456789", "text": "a", "delay": 600_000}).order.typing_ms == 20_000


@pytest.mark.parametrize("media", ["QUJD", "data:image/png;base64,QUJD", "QU\nJD"])
def test_base64_is_taken_bare_or_as_a_data_url(media: str) -> None:
    file = file_requests.send_media({"number": "628123456789", "mediatype": "image", "media": media}).order.file
    assert file is not None
    assert file.data == b"ABC"


def test_a_documents_name_comes_from_its_url() -> None:
    url = "https://example.com/a%20b.pdf?x=1"
    body = {"number": "628123456789", "mediaMessage": {"mediatype": "document", "media": url}}
    file = file_requests.send_media(body).order.file
    assert file is not None
    assert (file.url, file.file_name) == (url, "a b.pdf")


@pytest.mark.parametrize("media", ["", "  ", "%%%", 7, None, "data:image/png;base64,"])
def test_what_is_neither_url_nor_base64_is_refused(media: object) -> None:
    with pytest.raises((Refused, Invalid)):
        file_requests.send_media({"number": "628123456789", "mediatype": "image", "media": media})


def test_a_proxy_becomes_a_url_whatever_its_password_holds() -> None:
    body = {
        "enabled": True,
        "host": "p.example",
        "port": "1080",
        "protocol": "socks5",
        "username": "u",
        "password": "a/b@c",
    }
    assert instance_requests.proxy(body) == "socks5://u:a%2Fb%40c@p.example:1080"
    assert instance_requests.proxy({"enabled": False, "host": ""}) is None


def test_event_names_are_read_in_any_form_and_unknown_ones_refused() -> None:
    found = instance_requests.webhook({"url": "https://a.example", "events": ["messages.upsert", "CONNECTION_UPDATE"]})
    assert found.events == ("MESSAGES_UPSERT", "CONNECTION_UPDATE")
    with pytest.raises(Invalid, match="is not one of enum values"):
        instance_requests.webhook({"url": "https://a.example", "events": ["MESSAGES_UPSRET"]})


def test_every_error_has_a_body_with_its_own_status() -> None:
    for code, (status, sentence) in ERRORS.items():
        told, body = errors.told(code, status, sentence, field=None, method="GET", path="/chat/x")
        assert body["status"] == told
        assert list(body) == ["status", "error", "response"]
        assert body["response"]["message"]


def test_a_large_file_is_read_from_base64() -> None:
    data = bytes(3_000_000)
    media = base64.b64encode(data).decode()
    file = file_requests.send_media({"number": "628123456789", "mediatype": "video", "media": media}).order.file
    assert file is not None
    assert file.data == data
