"""URLs that callers give for webhooks and media: kept in a form that every client can connect to, or refused."""

import pytest

from kurir.api.problems import Problem
from kurir.api.urls import checked_url
from kurir.runtime.addresses import AddressGuard

PUBLIC = AddressGuard(require_https=True)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(host: str) -> list[str]:
        return [host] if host[0].isdigit() else ["93.184.216.34"]

    monkeypatch.setattr("kurir.api.urls.addresses_of_name", found)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://hooks.example/in?a=b", "https://hooks.example/in?a=b"),
        ("https://bücher.example/in?a=b", "https://xn--bcher-kva.example/in?a=b"),
        ("https://Bücher.example:8443/In", "https://xn--bcher-kva.example:8443/In"),
        ("https://例え。テスト/", "https://xn--r8jz45g.xn--zckzah/"),
    ],
)
async def test_a_name_in_other_letters_is_kept_in_its_ascii_form(given: str, kept: str) -> None:
    assert await checked_url(given, PUBLIC) == kept


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://☃☃-.example/", "VALIDATION_ERROR"),
        ("https://" + "ü" * 80 + ".example/", "VALIDATION_ERROR"),
        ("https://１２７.0.0.1/", "URL_NOT_ALLOWED"),
    ],
)
async def test_what_has_no_ascii_form_is_refused_and_what_has_one_is_judged_by_it(url: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        await checked_url(url, PUBLIC)
    assert (refused.value.code, refused.value.field) == (code, "url")
