"""A device's proxy as it is read, shown and made dialable."""

import pytest

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.proxies import ProxyNotAllowed, dialable, read_proxy

GUARD = AddressGuard(require_https=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example/", "http://proxy.example:80"),
        ("socks5://u:p@proxy.example", "socks5://u:***@proxy.example:1080"),
        ("HTTP://u@[2606:2800:220::1]:81", "http://u@[2606:2800:220::1]:81"),
        ("http://:token@proxy.example", "http://:***@proxy.example:80"),
        ("http://u:p%40%3A%2F@proxy.example", "http://u:***@proxy.example:80"),
    ],
)
def test_a_proxy_is_shown_without_its_password(text: str, shown: str) -> None:
    assert read_proxy(text).shown == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example:3128",
        "//proxy.example",
        "http://",
        "http://:80",
        "http://proxy.example:0",
        "http://proxy.example:65536",
        "http://proxy.example:x",
        "http://proxy.example?x=1",
        "http://proxy.example#x",
        "http://proxy.example/path",
        "http://pro xy.example",
        "http://proxy.example\n",
        "http://[::1",
        "http://u:p@ss@proxy.example",
        "http://u:%00@proxy.example",
        "http://u:sécret@proxy.example",
        "https://u:sécret@proxy.example",
        "socks4://proxy.example",
        "http://" + "a" * 500,
    ],
)
def test_what_is_no_proxy_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        read_proxy(text)
    assert "sécret" not in str(refused.value)


async def test_what_is_dialled_is_the_address_that_was_judged() -> None:
    async def look_up(name: str) -> tuple[str, ...]:
        assert name == "proxy.example"
        return ("2606:2800:220::1", "93.184.216.34")

    assert await dialable("socks5://u:p%40@proxy.example", GUARD, look_up) == "socks5://u:p%40@[2606:2800:220::1]:1080"


@pytest.mark.parametrize(
    "inside", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254", "64:ff9b::a00:1"]
)
async def test_a_name_that_leads_inside_with_one_of_its_addresses_is_not_dialled(inside: str) -> None:
    async def look_up(name: str) -> tuple[str, ...]:
        return ("93.184.216.34", inside)

    with pytest.raises(ProxyNotAllowed, match=r"proxy\.example is not allowed"):
        await dialable("http://u:p@proxy.example", GUARD, look_up)


async def test_an_address_inside_is_dialled_where_the_operator_allows_it() -> None:
    async def look_up(name: str) -> tuple[str, ...]:
        raise AssertionError("an address needs no lookup")

    guard = AddressGuard.parse(["10.9.0.0/16:3128"], require_https=False)
    assert await dialable("http://10.9.1.1:3128", guard, look_up) == "http://10.9.1.1:3128"
    with pytest.raises(ProxyNotAllowed):
        await dialable("http://10.9.1.1:3129", guard, look_up)
