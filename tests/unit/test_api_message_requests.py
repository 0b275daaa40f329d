"""What the bodies of sends become."""

from typing import Any

import msgspec
import pytest

from kurir.api.messages.contents import content_of, quote_of
from kurir.api.messages.requests import SendReaction, SendText
from kurir.api.problems import Problem
from kurir.contracts.content import MessageKey, Quote, Reaction

GROUP = "120363041234567890@g.us"


def a_text(**fields: Any) -> SendText:
    return msgspec.convert({"deviceId": "d1", "to": GROUP, "text": "hi", **fields}, SendText)


def test_who_wrote_a_quoted_message_is_named_in_any_form() -> None:
    key = MessageKey(chat=GROUP, whatsapp_id="3A01", participant="628123456789@s.whatsapp.net")
    for participant in ("0812 3456 789", "+628123456789", "628123456789@s.whatsapp.net", "628123456789@c.us"):
        request = a_text(quote={"messageId": "3A01", "participant": participant, "text": "what?"})
        assert quote_of(request, GROUP, "ID") == Quote(key=key, text="what?")


def test_who_wrote_what_is_reacted_to_is_named_in_any_form() -> None:
    fields = {"deviceId": "d1", "to": GROUP, "messageId": "3A01", "emoji": "+", "participant": "08123456789"}
    reaction = content_of(msgspec.convert(fields, SendReaction), GROUP, "ID")
    assert reaction == Reaction(
        target=MessageKey(chat=GROUP, whatsapp_id="3A01", participant="628123456789@s.whatsapp.net"), emoji="+"
    )


@pytest.mark.parametrize("participant", ["nobody", GROUP])
def test_a_participant_that_is_nobody_is_refused_by_name(participant: str) -> None:
    request = a_text(quote={"messageId": "3A01", "participant": participant})
    with pytest.raises(Problem) as refused:
        quote_of(request, GROUP, "ID")
    assert (refused.value.code, refused.value.field) == ("INVALID_RECIPIENT", "quote.participant")
