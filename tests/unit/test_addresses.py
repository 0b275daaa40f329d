"""Which addresses requests may reach: every special range, every wrapping of one, and the operator's allow-list."""

import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from kurir.runtime.addresses import AddressGuard, AllowedTarget, refused_range

REFUSED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "shared"),
    ("100.100.100.200", "shared"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link_local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.9", "reserved"),
    ("192.0.0.10", "reserved"),
    ("192.0.0.192", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "transition"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "transition"),  # v4-compatible
    ("::ffff:127.0.0.1", "loopback"),  # v4-mapped
    ("::ffff:169.254.169.254", "link_local"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:0:7f00:1", "transition"),  # SIIT
    ("::ffff:0:808:808", "transition"),
    ("::5efe:7f00:1", "transition"),
    ("64:ff9b::7f00:1", "loopback"),  # NAT64
    ("64:ff9b::a9fe:a9fe", "link_local"),
    ("64:ff9b:1::1", "transition"),  # NAT64 of the local network
    ("64:ff9b:1:fffe::1", "transition"),
    ("100::1", "reserved"),  # discard
    ("2001::1", "transition"),  # Teredo
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "transition"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "transition"),  # ORCHID
    ("2001:20::1", "transition"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "transition"),  # 6to4 of 127.0.0.1
    ("2002:808:808::1", "transition"),  # and of a public address: refused whole
    ("2606:4700::5efe:7f00:1", "loopback"),  # ISATAP behind a public prefix
    ("2606:4700::200:5efe:a9fe:a9fe", "link_local"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),  # segment routing
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),  # a cloud's metadata service
    ("fe80::1", "link_local"),
    ("fe80::1%eth0", "link_local"),
    ("fec0::1", "site_local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.88.98.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2606:4700::5efe:808:808",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize(("address", "reason"), REFUSED)
def test_special_addresses_are_refused_with_their_reason(address: str, reason: str) -> None:
    assert refused_range(ip_address(address)) == reason


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_beside_the_ranges_are_open(address: str) -> None:
    assert refused_range(ip_address(address)) is None


def test_no_wrapping_changes_the_verdict_on_a_v4_address_for_the_better() -> None:
    chance = random.Random(7)
    for _ in range(5_000):
        number = chance.getrandbits(32)
        plain = refused_range(IPv4Address(number))
        for wrapped in (
            IPv6Address(0xFFFF << 32 | number),
            IPv6Address(0x64FF9B << 96 | number),
            IPv6Address(0x2606_4700 << 96 | 0x5EFE << 32 | number),
            IPv6Address(0x2606_4700 << 96 | 0x0200_5EFE << 32 | number),
        ):
            assert refused_range(wrapped) == plain, wrapped
        for wrapped in (
            IPv6Address(number if number > 1 else 2),
            IPv6Address(0xFFFF_0000 << 32 | number),
            IPv6Address(0x2002 << 112 | number << 80),
            IPv6Address(0x64FF_9B00_01 << 88 | number),
        ):
            assert refused_range(wrapped) is not None, wrapped


def test_whatever_python_calls_not_global_is_refused() -> None:
    chance = random.Random(11)
    for _ in range(20_000):
        v4, v6 = IPv4Address(chance.getrandbits(32)), IPv6Address(chance.getrandbits(128))
        for address in (v4, v6):
            if not address.is_global or address.is_multicast or address.is_reserved:
                assert refused_range(address) is not None, address


def test_the_allow_list_opens_one_port_of_one_address_and_nothing_else() -> None:
    guard = AddressGuard.parse(["127.0.0.1/32:8080"])
    assert guard.refusal(ip_address("127.0.0.1"), 8080, tls=False) is None
    assert guard.refusal(ip_address("::ffff:127.0.0.1"), 8080, tls=False) is None
    assert guard.refusal(ip_address("127.0.0.1"), 8081, tls=True) == "loopback"
    assert guard.refusal(ip_address("127.0.0.2"), 8080, tls=True) == "loopback"
    assert guard.refusal(ip_address("::1"), 8080, tls=True) == "loopback"


def test_the_allow_list_without_a_port_opens_a_whole_network() -> None:
    guard = AddressGuard.parse(["10.0.0.0/8", "fd00::/8"])
    assert guard.refusal(ip_address("10.200.3.4"), 1, tls=False) is None
    assert guard.refusal(ip_address("fd12::7"), 65535, tls=False) is None
    assert guard.refusal(ip_address("fc12::7"), 443, tls=True) == "private"


def test_plain_http_is_for_allowed_targets_unless_the_operator_says_otherwise() -> None:
    public = ip_address("8.8.8.8")
    assert AddressGuard().refusal(public, 80, tls=False) == "https_required"
    assert AddressGuard().refusal(public, 443, tls=True) is None
    assert AddressGuard(require_https=False).refusal(public, 80, tls=False) is None
    assert AddressGuard(require_https=False).refusal(ip_address("10.0.0.1"), 80, tls=False) == "private"


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("127.0.0.1/32:8080", "127.0.0.1/32", 8080),
        ("127.0.0.1:80", "127.0.0.1/32", 80),
        (" 10.0.0.0/8 ", "10.0.0.0/8", None),
        ("fd00::/8", "fd00::/8", None),
        ("[fd00::/8]:443", "fd00::/8", 443),
        ("[::1]", "::1/128", None),
    ],
)
def test_allowed_targets_are_read_from_text(text: str, network: str, port: int | None) -> None:
    target = AllowedTarget.parse(text)
    assert (str(target.network), target.port) == (network, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8:",
        "10.0.0.0/8:0",
        "10.0.0.0/8:-1",
        "10.0.0.0/8:70000",
        "10.0.0.0/8:٨",
        "[::1",
        "[::1]80",
        "[fd00::/8]:x",
    ],
)
def test_an_entry_that_is_no_target_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="allowed target"):
        AllowedTarget.parse(text)
