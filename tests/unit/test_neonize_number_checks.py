"""How seldom WhatsApp is asked whether numbers have it."""

import pytest

from kurir.contracts.content import Address
from kurir.session_node.engines.neonize import number_checks
from kurir.session_node.engines.neonize.number_checks import NumberChecks
from kurir.session_node.engines.requests import NumberCheck, RequestFailed


class Asked:
    """A WhatsApp on which every number that ends in 1 is; what it was asked stands in `batches`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.now = 1000.0
        self.checks = NumberChecks(self.ask, new_per_minute=6, clock=lambda: self.now)

    async def ask(self, phones: list[str]) -> list[NumberCheck]:
        self.batches.append(phones)
        there = [phone for phone in phones if phone.endswith("1")]
        return [NumberCheck(phone=phone, is_on_whatsapp=True, address=Address(jid=f"{phone}@lid")) for phone in there]


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_a_number_is_asked_for_once_and_answered_wherever_it_stands(asked: Asked) -> None:
    first = await asked.checks.check(("621", "622", "621"))
    assert [check.is_on_whatsapp for check in first] == [True, False, True]
    assert await asked.checks.check(("622", "621")) == (first[1], first[0])
    assert asked.batches == [["621", "622"]]


async def test_an_absent_number_is_asked_for_again_sooner_than_one_that_is_there(asked: Asked) -> None:
    await asked.checks.check(("621", "622"))
    asked.now += number_checks.REMEMBER_ABSENT_S + 1
    await asked.checks.check(("621", "622"))
    asked.now += number_checks.REMEMBER_S
    await asked.checks.check(("621",))
    assert asked.batches == [["621", "622"], ["622"], ["621"]]


async def test_more_new_numbers_than_a_minute_has_room_for_have_to_wait(asked: Asked) -> None:
    await asked.checks.check(("621", "622", "623", "624"))
    with pytest.raises(RequestFailed) as failed:
        await asked.checks.check(("621", "631", "632", "633"))
    assert failed.value.reason == "rate_overlimit"
    assert failed.value.retry_after_s == pytest.approx(10)
    assert len(asked.batches) == 1
    asked.now += 10
    assert len(await asked.checks.check(("621", "631", "632", "633"))) == 4


async def test_what_is_known_costs_nothing(asked: Asked) -> None:
    phones = tuple(f"62{n}" for n in range(6))
    await asked.checks.check(phones)
    for _ in range(10):
        await asked.checks.check(phones)
    assert len(asked.batches) == 1


async def test_memory_has_a_bound(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_checks, "REMEMBERED", 3)
    await asked.checks.check(("621", "622", "623", "624"))
    assert list(asked.checks._known) == ["622", "623", "624"]
