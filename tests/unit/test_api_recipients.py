import random

import phonenumbers
import pytest

from kurir.api import recipients
from kurir.api.recipients import NotARecipient, jid_of


@pytest.mark.parametrize(
    ("text", "country", "jid"),
    [
        ("6281234567890", "ID", "6281234567890@s.whatsapp.net"),
        ("+62 812-3456-7890", "ID", "6281234567890@s.whatsapp.net"),
        ("081234567890", "ID", "6281234567890@s.whatsapp.net"),
        ("0062 812 3456 7890", "DE", "6281234567890@s.whatsapp.net"),
        (" (0812) 3456.7890 ", "ID", "6281234567890@s.whatsapp.net"),
        ("030 1234567", "DE", "49301234567@s.whatsapp.net"),
        ("+39 06 698 12345", "ID", "390669812345@s.whatsapp.net"),
        ("62081234567890", "ID", "6281234567890@s.whatsapp.net"),
        ("628000000001", "ID", "628000000001@s.whatsapp.net"),
        ("6281234567890@c.us", "ID", "6281234567890@s.whatsapp.net"),
        ("6281234567890@s.whatsapp.net", "ID", "6281234567890@s.whatsapp.net"),
        ("120363025246125486@g.us", "ID", "120363025246125486@g.us"),
        ("6281234567890-1510000000@g.us", "ID", "6281234567890-1510000000@g.us"),
        ("123456789012345@lid", "ID", "123456789012345@lid"),
    ],
)
def test_numbers_and_ids_become_the_jid_that_whatsapp_knows(text: str, country: str, jid: str) -> None:
    assert jid_of(text, country) == jid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "12",
        "0",
        "+",
        "62812345678901234567",
        "999999999999",
        "a@g.us",
        "62812@evil.example",
        "6281\n2345678",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotARecipient):
        jid_of(text, "ID")


def test_the_short_way_for_plain_digits_gives_what_the_library_gives() -> None:
    chosen = random.Random(20)
    codes = list(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    plain = 0
    for _ in range(20_000):
        text = f"{chosen.choice(codes)}{chosen.randrange(10 ** chosen.randint(4, 12))}"
        if recipients._is_plain(text):
            plain += 1
            assert recipients._digits(text, "ID") == text
    assert plain > 1_000
