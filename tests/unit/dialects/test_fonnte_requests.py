"""What clients of Fonnte's API may send, and what it becomes."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.contracts import ids
from kurir.contracts.content import Location, Poll, Text
from kurir.dialects.fonnte import account, numbers, requests
from kurir.dialects.fonnte import fields as fields_of
from kurir.dialects.fonnte.errors import WRONG_MEDIA_TYPE, Refused
from kurir.dialects.fonnte.requests import Send, sends_of
from kurir.dialects.orders import Order

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def the_send(**fields: Any) -> Send:
    (send,) = sends_of({"target": "628123456789", "message": "Halo!", **fields}, now=NOW)
    return send


def orders(**fields: Any) -> tuple[Order, ...]:
    return the_send(**fields).orders(NOW, Random(1))


def refusal(**fields: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        the_send(**fields)
    return caught.value


@pytest.mark.shows("fonnte", "POST /send", "target", "to", "message")
def test_a_text_goes_to_target_or_to_also_where_the_number_is_no_text() -> None:
    for fields in ({"target": "628123456789"}, {"target": "", "to": "628123456789"}, {"target": 628123456789}):
        (order,) = orders(**fields)
        assert (order.to, order.content) == ("628123456789", Text(text="Halo!", link_preview=True))
        assert (order.send_at, order.typing_ms) == (None, 0)


@pytest.mark.shows("fonnte", "POST /send", "target", "message")
def test_each_target_gets_its_own_variables() -> None:
    made = orders(target="08123|Fonnte|Admin, 08124|Lili|User,120363@g.us", message="{name} as {var1}, {var2}, {x}")
    assert [(order.to, order.content.text) for order in made if isinstance(order.content, Text)] == [
        ("08123", "Fonnte as Admin, {var2}, {x}"),
        ("08124", "Lili as User, {var2}, {x}"),
        ("120363@g.us", "{name} as {var1}, {var2}, {x}"),
    ]
    (order,) = orders(target="1|{var1}|b", message="{name}")
    assert order.content == Text(text="{var1}", link_preview=True), "what a variable holds is not filled in again"


@pytest.mark.shows("fonnte", "POST /send", "delay")
def test_delays_add_up_from_target_to_target_and_the_first_goes_at_once() -> None:
    assert [order.send_at for order in orders(target="1,2,3", delay="2")] == [
        None,
        NOW + timedelta(seconds=2),
        NOW + timedelta(seconds=4),
    ]
    at = [order.send_at for order in orders(target="1,2,3", delay="5-10")]
    assert at[1] is not None
    assert at[2] is not None
    assert 5 <= (at[1] - NOW).total_seconds() <= 10
    assert 5 <= (at[2] - at[1]).total_seconds() <= 10
    assert [order.send_at for order in orders(target="1,2", delay="0")] == [None, None]
    assert refusal(delay="soon").detail == "delay: give seconds, e.g. 2, or a range such as 5-10."


@pytest.mark.shows("fonnte", "POST /send", "schedule", "followup")
def test_a_schedule_is_unix_seconds_and_0_is_now() -> None:
    later = NOW + timedelta(hours=1)
    assert [o.send_at for o in orders(schedule=int(later.timestamp()))] == [later]
    assert [o.send_at for o in orders(schedule=str(int(later.timestamp())), target="1,2", delay="3")] == [
        later,
        later + timedelta(seconds=3),
    ]
    assert [o.send_at for o in orders(schedule=0)] == [None]
    assert [o.send_at for o in orders(schedule=int(NOW.timestamp()) - 30)] == [None], "clocks differ"
    assert [o.send_at for o in orders(followup="90")] == [NOW + timedelta(seconds=90)]
    assert (refusal(schedule=1000).reason, refusal(schedule="tomorrow").reason) == ("input invalid", "input invalid")


@pytest.mark.shows("fonnte", "POST /send", "countryCode")
def test_a_country_code_takes_the_place_of_a_leading_zero() -> None:
    numbers_ = {
        ("08123", "60"): "608123",
        ("08123", None): "08123",
        ("628123", "60"): "628123",
        ("+628123", "62"): "+628123",
    }
    for (written, code), read in numbers_.items():
        (order,) = orders(target=written, countryCode=code)
        assert order.to == read, written
    assert refusal(target="08123", countryCode="0").reason == "target invalid"
    assert refusal(countryCode="Indonesia").detail == "countryCode: give digits, or 0 for none."


@pytest.mark.shows("fonnte", "POST /send", "location", "choices", "select", "pollname")
def test_a_place_and_a_poll_are_sent_instead_of_a_text() -> None:
    (place,) = orders(location="-7.983908, 112.621391")
    assert place.content == Location(latitude=-7.983908, longitude=112.621391, name="Halo!")
    (poll,) = orders(choices="satu, dua,tiga", select="multiple", pollname="Berapa?")
    assert poll.content == Poll(question="Berapa?", options=("satu", "dua", "tiga"), selectable=0)
    (single,) = orders(choices="satu,dua")
    assert single.content == Poll(question="Halo!", options=("satu", "dua"), selectable=1)
    for wrong in ({"location": "91,0"}, {"location": "here"}, {"location": "nan,nan"}, {"choices": "one"}):
        assert refusal(**wrong).reason == "input invalid"


@pytest.mark.shows("fonnte", "POST /send", "url", "file", "filename", "typing", "duration", "preview", "connectOnly")
def test_the_other_parameters() -> None:
    send = the_send(url="https://example.com/a.pdf", filename="b.pdf", connectOnly="false", inboxid=5, sequence="true")
    assert (send.url, send.is_refused_offline, send.inbox_number) == ("https://example.com/a.pdf", False, 5)
    (order,) = send.orders(NOW, Random(1), "document")
    assert order.file is not None
    assert (order.file.kind, order.file.file_name, order.file.caption) == ("document", "b.pdf", "Halo!")
    (typed,) = orders(typing=True, duration=3, preview="false")
    assert (typed.typing_ms, typed.content) == (3000, Text(text="Halo!"))
    assert the_send(typing="1").typing_ms == 1000
    assert the_send(duration=30, typing=True).typing_ms == 20_000
    (form,) = sends_of({"target": "1"}, now=NOW, has_file=True)
    assert form.has_file


@pytest.mark.shows("fonnte", "POST /send", "data")
def test_data_holds_several_requests_and_what_stands_beside_it_counts_for_all() -> None:
    data = msgspec.json.encode([{"target": "1,2", "message": "a"}, {"target": "3", "message": "b", "delay": "2"}])
    sends = sends_of({"data": data.decode(), "connectOnly": False, "target": "9"}, now=NOW)
    assert [[target.to for target in send.targets] for send in sends] == [["1", "2"], ["3"]]
    assert [send.is_refused_offline for send in sends] == [False, False]
    many = msgspec.json.encode([{"target": "1", "url": f"https://a/{n}"} for n in range(21)]).decode()
    with pytest.raises(Refused, match="input invalid"):
        sends_of({"data": many}, now=NOW)
    for wrong in ("{", "{}", "[]", "[1]"):
        with pytest.raises(Refused, match="JSON format invalid"):
            sends_of({"data": wrong}, now=NOW)


@pytest.mark.shows("fonnte", "POST /send", "error 400", "limit 60000 characters")
def test_what_is_missing_or_wrong_is_named() -> None:
    assert refusal(target="").reason == "target invalid"
    assert refusal(target=" , ").reason == "target invalid"
    assert [target.to for target in the_send(target="Rotator#1,rotator#CS").targets] == ["rotator#1", "rotator#CS"]
    assert refusal(message=None).detail == "message: a message is needed."
    assert refusal(message="x" * 60_001).detail == "message: at most 60000 characters."
    assert refusal(message=["x"]).detail == "message: a text is needed."
    assert refusal(target=",".join(["1"] * 1001)).detail == "target: at most 1000 targets in one request."
    assert refusal(connectOnly="maybe").detail == "connectOnly: true or false is needed."
    assert refusal(url="https://a", message="x" * 4097).status == 400


@pytest.mark.shows("fonnte", "POST /api/send-message", "to", "message", "error 400")
@pytest.mark.shows("fonnte", "POST /api/send-media", "to", "url", "caption", "type", "error 400")
def test_the_dashboards_own_requests() -> None:
    order = requests.to_and_message({"to": 628123456789, "message": "Halo!"})
    assert (order.to, order.content) == ("628123456789", Text(text="Halo!"))
    order, kind = requests.to_and_media({"to": "1", "url": "https://placehold.co/600x400.png", "caption": "c"})
    assert (kind, order.file and order.file.caption) == ("image", "c")
    assert requests.to_and_media({"to": "1", "url": "u", "type": "document"})[1] == "document"
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (requests.to_and_message, {}, "Missing required fields: to, message"),
        (requests.to_and_message, {"to": "1"}, "Missing required fields: to, message"),
        (requests.to_and_media, {"to": "1"}, "Missing required fields: to, url"),
        (
            requests.to_and_media,
            {"to": "1", "url": "u", "type": "audio"},
            "Unsupported media type. Use: 'image', 'video', 'document'",
        ),
        (requests.to_and_media, {"to": "1", "url": "u", "type": {}}, WRONG_MEDIA_TYPE),
    ]
    for parse, fields, reason in wrong:
        with pytest.raises(Refused) as caught:
            parse(fields)
        assert (caught.value.status, caught.value.reason) == (400, reason)


FIELDS = st.sampled_from(
    [
        *("target", "to", "message", "url", "filename", "schedule", "delay", "countryCode", "location", "typing"),
        *("duration", "choices", "select", "pollname", "followup", "inboxid", "connectOnly", "data", "sequence"),
        *(
            "preview",
            "type",
            "name",
            "device",
            "otp",
            "id",
            "webhook",
            "autoread",
            "personal",
            "byschedule",
            "whatsapp",
        ),
    ]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_hints = st.sampled_from(["0812|a|b,62@g.us", "5-10", "62", "1.5,2", "a,b", "true", "[{}]", '[{"target":"1"}]', "1e9"])


@given(st.dictionaries(FIELDS, _json | _hints, max_size=8), st.booleans())
def test_any_fields_give_a_request_or_a_refusal(fields: dict[str, Any], has_file: bool) -> None:
    with contextlib.suppress(Refused):
        for send in sends_of(fields, now=NOW, has_file=has_file):
            send.orders(NOW, Random(1), "image" if send.url or has_file else None)
    parsers: list[Callable[[dict[str, Any]], object]] = [
        *(requests.to_and_message, requests.to_and_media, fields_of.numbers_of, requests.delay_of),
        *(account.new_device, account.device_change, account.is_code_wanted, account.otp_of, account.message_of),
    ]
    for parse in parsers:
        with contextlib.suppress(Refused):
            parse(fields)


@given(st.integers(1, numbers.MAX_NUMBER), st.integers(0, 2**47))
def test_a_message_id_holds_its_number_and_when_it_was_made(number: int, at_ms: int) -> None:
    identifier = numbers.message_id(number, at_ms)
    assert ids.is_token(identifier)
    assert numbers.number_of(identifier) == number
    assert ids.created_at_ms(identifier) == at_ms


@given(st.text(max_size=40) | st.uuids().map(str))
def test_other_ids_hold_none(text: str) -> None:
    assert numbers.number_of(text) is None
    assert numbers.number_of(ids.uuid7()) is None


def test_the_number_of_a_received_message_is_the_beginning_of_its_id() -> None:
    identifier = ids.inbound_message_id("dev", "a@s.whatsapp.net", "a@s.whatsapp.net", "3EB0")
    number = numbers.inbox_number(identifier)
    assert number is not None
    assert number < 2**53
    assert identifier.startswith(numbers.inbox_beginning(number) or "-")
    assert numbers.inbox_number("x") is None
    assert numbers.inbox_beginning(2**52) is None
