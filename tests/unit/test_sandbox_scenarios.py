"""The table of the sandbox's contacts: what numbers mean, and that tenants read the same table."""

from pathlib import Path

import pytest

from kurir.contracts.content import Audio, Document, Location, Media, Text
from kurir.contracts.states import SENTENCES
from kurir.session_node.engines.sandbox.scenario import (
    FRIENDLY,
    SCENARIOS,
    is_recipient,
    receipts,
    refusal,
    reply,
    scenario_of,
)

MEDIA = Media(object="t/1", mimetype="audio/ogg", size=3, sha256="00")
TABLE = Path(__file__).parents[2] / "docs" / "tenants" / "sandbox.md"


def test_every_scenario_stands_in_the_tenants_table_with_its_summary() -> None:
    page = TABLE.read_text()
    for digits, scenario in SCENARIOS.items():
        assert f"| `55501{digits}` | {scenario.name} | {scenario.summary} |" in page


@pytest.mark.parametrize(
    ("jid", "name"),
    [
        ("628125550104@s.whatsapp.net", "timeout"),
        ("12025550101@s.whatsapp.net", "not_on_whatsapp"),
        ("628125550104:7@s.whatsapp.net", "timeout"),
        ("100628125550105@lid", "phone_off"),
        ("120363025550117@g.us", "group_left"),
        ("628125550199@s.whatsapp.net", "friendly"),
        ("62812345678@s.whatsapp.net", "friendly"),
        ("5550104628@s.whatsapp.net", "friendly"),
    ],
)
def test_the_last_digits_of_a_number_choose_the_scenario(jid: str, name: str) -> None:
    assert scenario_of(jid).name == name


def test_only_people_groups_and_status_updates_are_recipients() -> None:
    assert is_recipient("62812@s.whatsapp.net")
    assert is_recipient("62812-1600000@g.us")
    assert not is_recipient("62812")
    assert is_recipient("status@broadcast")
    assert not is_recipient("62812@broadcast")
    assert not is_recipient("x62812@s.whatsapp.net")


def test_a_refusal_can_be_for_media_alone_and_for_the_first_try_alone() -> None:
    assert refusal(SCENARIOS["11"], Document(media=MEDIA), 1) == "media_refused"
    assert refusal(SCENARIOS["11"], Text(text="hi"), 1) is None
    assert [refusal(SCENARIOS["13"], Text(text="hi"), attempt) for attempt in (1, 2)] == ["rate_overlimit", None]
    assert refusal(FRIENDLY, Text(text="hi"), 1) is None


def test_audio_is_played_where_other_messages_are_read() -> None:
    assert receipts(FRIENDLY, Text(text="hi")) == ("delivered", "read")
    assert receipts(FRIENDLY, Audio(media=MEDIA)) == ("delivered", "read", "played")
    assert receipts(SCENARIOS["06"], Audio(media=MEDIA)) == ("delivered",)


def test_echo_answers_with_the_rest_and_the_reply_scenario_with_everything() -> None:
    assert reply(FRIENDLY, Text(text="Echo hello")) == "hello"
    assert reply(FRIENDLY, Document(media=MEDIA, caption="echo hello")) == "hello"
    assert reply(FRIENDLY, Text(text="echo  ")) is None
    assert reply(FRIENDLY, Location(latitude=0, longitude=0)) is None
    assert reply(SCENARIOS["14"], Text(text="{hi}")) == "You wrote: {hi}"


def test_every_reason_that_a_scenario_names_has_a_sentence() -> None:
    assert {scenario.fails for scenario in SCENARIOS.values()} - {None} <= SENTENCES.keys()
