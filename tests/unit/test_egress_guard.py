"""Nothing that leads inside is reached: shown by listeners on this machine that no connection comes to."""

import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Egress, EgressPolicy, TransportFailure
from kurir.runtime.resolver import Addresses
from tests.support.webhook_receiver import Reply, WebhookReceiver

CORPUS = [
    line
    for line in (Path(__file__).parent / "addresses_inside.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def literals(urls: list[str]) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses that some URLs hold in the form that a name server gives them."""
    for url in urls:
        with contextlib.suppress(ValueError):
            yield ip_address((urlsplit(url.replace(":{port}", "")).hostname or "").partition("%")[0])


def batched(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.fixture
async def inside() -> AsyncIterator[tuple[WebhookReceiver, WebhookReceiver]]:
    """Receivers on both loopback addresses, on one port."""
    async with WebhookReceiver() as v4, WebhookReceiver(host="::1", port=v4.port) as v6:
        yield v4, v6


async def refused(egress: Egress, url: str) -> TransportFailure:
    """What a post to the URL fails with."""
    with pytest.raises(TransportFailure) as raised:
        await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    return raised.value


@pytest.fixture
async def everywhere() -> AsyncIterator[tuple[WebhookReceiver, WebhookReceiver]]:
    """Receivers on every address of this machine, on one port."""
    async with WebhookReceiver(host="0.0.0.0") as v4, WebhookReceiver(host="::", port=v4.port) as v6:
        yield v4, v6


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    assert len(set(CORPUS)) == len(CORPUS) > 250


@pytest.mark.parametrize("url", CORPUS)
async def test_no_form_of_an_address_inside_is_reached(
    url: str, everywhere: tuple[WebhookReceiver, WebhookReceiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    v4, v6 = everywhere
    a_name_server(monkeypatch, {})
    async with Egress(EgressPolicy(guard=AddressGuard(require_https=False))) as egress:
        failure = await refused(egress, url.replace("{port}", str(v4.port)))
    assert failure.kind in ("guard", "request", "dns"), failure  # some forms mean nothing to some systems
    assert (v4.connections, v6.connections) == (0, 0)


async def test_many_forms_of_the_corpus_would_reach_a_listener_if_no_guard_stood_before_it(
    everywhere: tuple[WebhookReceiver, WebhookReceiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    v4, v6 = everywhere
    a_name_server(monkeypatch, {})
    reached = []
    guard = AddressGuard.parse(["127.0.0.0/8", "0.0.0.0/8", "::/127"])
    async with Egress(EgressPolicy(guard=guard)) as egress:
        for url in CORPUS:
            with contextlib.suppress(TransportFailure):
                await egress.post(url.replace("{port}", str(v4.port)), headers=(), body=b"{}", deadline_s=10.0)
                reached.append(url)
    assert len(reached) >= 80, reached
    assert v4.received
    assert v6.received


@pytest.mark.parametrize("addresses", batched(sorted({str(address) for address in literals(CORPUS)}), 16))
async def test_no_name_that_stands_for_an_address_inside_is_reached(
    addresses: list[str], everywhere: tuple[WebhookReceiver, WebhookReceiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    v4, v6 = everywhere
    names = {f"n{index}.example": [[address]] for index, address in enumerate(addresses)}
    a_name_server(monkeypatch, {**names, "all.example": [addresses]})
    async with Egress(EgressPolicy(guard=AddressGuard(require_https=False))) as egress:
        for name in (*names, "all.example"):
            assert (await refused(egress, f"http://{name}:{v4.port}/")).kind == "guard"
    assert (v4.connections, v6.connections) == (0, 0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "loopback"),
        ("https://169.254.169.254/latest/meta-data", "link_local"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://0x0a000001/", "private"),
        ("https://localhost/", "loopback"),
        ("http://8.8.8.8/", "https_required"),
    ],
)
async def test_a_refusal_names_address_and_reason(url: str, reason: str) -> None:
    async with Egress() as egress:
        failure = await refused(egress, url)
    assert failure.kind == "guard"
    assert reason in failure.detail
    assert failure.address is not None
    assert failure.address in failure.detail


async def test_the_allow_list_lets_one_port_through(inside: tuple[WebhookReceiver, WebhookReceiver]) -> None:
    v4, v6 = inside
    async with WebhookReceiver() as other:
        guard = AddressGuard.parse([f"127.0.0.1/32:{v4.port}"])
        async with Egress(EgressPolicy(guard=guard)) as egress:
            for spelling in ("127.0.0.1", "127.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"):
                url = f"http://{spelling}:{v4.port}/hook"
                answer = await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
                assert answer.status == 204, spelling
            assert (await refused(egress, other.url())).kind == "guard"
            assert (await refused(egress, v6.url())).kind == "guard"
    assert other.connections == 0
    assert v6.connections == 0


def a_name_server(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> None:
    """Each lookup of a name takes its next list of addresses; the last one stays."""
    system = socket.getaddrinfo

    def getaddrinfo(host: str, port: object, *args: object, **options: object) -> object:
        if host.endswith(".example") and host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "there is no such name")
        if host not in answers:
            return system(host, port, *args, **options)  # type: ignore[arg-type]
        addresses = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in address], 1, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_name_that_resolves_inside_is_refused(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[WebhookReceiver, WebhookReceiver]
) -> None:
    v4, v6 = inside
    a_name_server(monkeypatch, {"hooks.example": [["127.0.0.1", "::1"]], "v6.example": [["::ffff:127.0.0.1"]]})
    async with Egress(EgressPolicy(guard=AddressGuard(require_https=False))) as egress:
        for name in ("hooks.example", "HOOKS.example", "v6.example"):
            assert (await refused(egress, f"http://{name}:{v4.port}/")).kind == "guard"
    assert (v4.connections, v6.connections) == (0, 0)


async def test_a_name_is_reached_by_its_allowed_addresses_only(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[WebhookReceiver, WebhookReceiver]
) -> None:
    v4, v6 = inside
    a_name_server(monkeypatch, {"both.example": [["::1", "127.0.0.1"]]})
    guard = AddressGuard.parse([f"127.0.0.1/32:{v4.port}"])
    async with Egress(EgressPolicy(guard=guard)) as egress:
        answer = await egress.post(f"http://both.example:{v4.port}/", headers=(), body=b"{}", deadline_s=10.0)
    assert answer.address == "127.0.0.1"
    assert v4.received[0].header("host") == f"both.example:{v4.port}"
    assert v6.connections == 0


async def test_a_name_that_changes_after_the_check_is_not_followed_inside(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[WebhookReceiver, WebhookReceiver]
) -> None:
    v4, v6 = inside
    a_name_server(monkeypatch, {"rebind.example": [["192.0.2.1"], ["127.0.0.1"]]})
    # 192.0.2.1 stands for a public address here: judged fine at first, unreachable for sure.
    guard = AddressGuard.parse(["192.0.2.1/32"])
    async with Egress(EgressPolicy(guard=guard, connect_timeout_s=1.0)) as egress:
        url = f"http://rebind.example:{v4.port}/"
        assert (await refused(egress, url)).kind in ("connect", "timeout")
        egress._resolver.forget()
        assert (await refused(egress, url)).kind == "guard"
    assert (v4.connections, v6.connections) == (0, 0)


async def test_the_socket_itself_is_judged_even_if_the_lookup_was_passed(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[WebhookReceiver, WebhookReceiver]
) -> None:
    v4, v6 = inside
    async with Egress(EgressPolicy(guard=AddressGuard(require_https=False))) as egress:
        found = Addresses(("127.0.0.1", "::1"), fresh_until=math.inf)
        monkeypatch.setattr(egress._resolver, "known", lambda _: found)
        monkeypatch.setattr(egress, "_pins_for", lambda *_: [f"+hooks.example:{v4.port}:127.0.0.1,[::1]"])
        failure = await refused(egress, f"http://hooks.example:{v4.port}/")
    assert failure.kind == "guard"
    assert (v4.connections, v6.connections) == (0, 0)


@pytest.mark.parametrize("spelling", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_download_is_not_redirected_inside(
    spelling: str, inside: tuple[WebhookReceiver, WebhookReceiver]
) -> None:
    v4, v6 = inside
    async with WebhookReceiver() as outside:
        outside.on("/image", Reply(302, redirect_to=f"http://{spelling}:{v4.port}/secret"))
        guard = AddressGuard.parse([f"127.0.0.1/32:{outside.port}"], require_https=False)
        async with Egress(EgressPolicy(guard=guard)) as egress:
            with pytest.raises(TransportFailure) as raised:
                async with egress.download(outside.url("/image"), deadline_s=10.0, max_bytes=100):
                    pass
    assert raised.value.kind == "guard"
    assert len(outside.received) == 1
    assert (v4.connections, v6.connections) == (0, 0)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/x"])
async def test_a_download_is_not_redirected_to_another_protocol(target: str) -> None:
    async with WebhookReceiver() as outside:
        outside.on("/image", Reply(302, redirect_to=target))
        guard = AddressGuard.parse([f"127.0.0.1/32:{outside.port}"])
        async with Egress(EgressPolicy(guard=guard)) as egress:
            with pytest.raises(TransportFailure) as raised:
                async with egress.download(outside.url("/image"), deadline_s=10.0, max_bytes=100):
                    pass
    assert raised.value.kind in ("request", "redirects")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example/x",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "http://",
        "http://a b/",
        "http://h:99999/",
        "http://h\r\nX: y/",
        "javascript:alert(1)",
        "unix:///var/run/docker.sock",
        "http://\udcff/",
    ],
)
async def test_what_is_no_http_url_fails_before_anything_is_opened(url: str) -> None:
    async with Egress() as egress:
        assert (await refused(egress, url)).kind in ("request", "dns")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with WebhookReceiver() as receiver, WebhookReceiver() as proxy:
        monkeypatch.setenv(variable, proxy.url())
        guard = AddressGuard.parse([f"127.0.0.1/32:{receiver.port}", f"127.0.0.1/32:{proxy.port}"])
        async with Egress(EgressPolicy(guard=guard)) as egress:
            await egress.post(receiver.url("/hook"), headers=(), body=b"{}", deadline_s=10.0)
    assert len(receiver.received) == 1
    assert proxy.connections == 0


async def test_a_configured_proxy_gets_every_request() -> None:
    async with WebhookReceiver() as proxy:
        policy = EgressPolicy(guard=AddressGuard(require_https=False), proxy=proxy.url())
        async with Egress(policy) as egress:
            answer = await egress.post("http://hooks.example/a", headers=(), body=b"{}", deadline_s=10.0)
    assert answer.status == 204
    assert [request.target for request in proxy.received] == ["http://hooks.example/a"]


async def test_a_proxy_does_not_make_plain_http_acceptable() -> None:
    async with WebhookReceiver() as proxy, Egress(EgressPolicy(proxy=proxy.url())) as egress:
        assert (await refused(egress, "http://hooks.example/a")).kind == "guard"
    assert proxy.connections == 0
