"""A device's own proxy, as its tenant gives it: checked, kept sealed, never shown whole."""

from collections.abc import AsyncIterator

import pytest

from kurir.contracts.records import Device
from kurir.runtime.proxies import seal_context
from kurir.runtime.registry import Registry, key_of
from kurir.runtime.secrets import MasterKey
from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.nats_server import NatsServer

PROXY = "http://ayu:s3cret@93.184.216.34:3128"
SHOWN = "http://ayu:***@93.184.216.34:3128"


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, egress_allow="10.9.0.0/16:3128") as running:
        yield running


async def stored(api: Api, tenant: Client, device: str) -> Device:
    entry = await Registry(api.bus, "devices", Device).fetch(key_of(tenant.id, device))
    assert entry is not None
    return entry.value


async def test_a_proxy_is_kept_sealed_and_shown_without_its_password(api: Api, tenant: Client) -> None:
    made = await tenant.post("/devices", json={"name": "CS", "proxy": PROXY})
    assert made.status_code == 201
    device = made.json()["id"]
    answers = [made, await tenant.get(f"/devices/{device}"), await tenant.get("/devices")]
    assert made.json()["proxy"] == SHOWN
    assert all("s3cret" not in answer.text and SHOWN in answer.text for answer in answers)
    proxy = (await stored(api, tenant, device)).proxy
    assert proxy is not None
    assert "s3cret" not in repr(proxy)
    assert MasterKey.parse(MASTER_KEY).open(proxy.sealed, seal_context(tenant.id, device)) == PROXY
    for message in await api.bus.read_from("AUDIT", "kurir.aud.>", 1, 100):
        assert b"s3cret" not in message.data


async def test_a_proxy_is_changed_kept_and_taken_away(api: Api, tenant: Client) -> None:
    device = await tenant.device(proxy=PROXY)
    first = (await stored(api, tenant, device)).proxy
    assert (await tenant.patch(f"/devices/{device}", json={"name": "Sales"})).json()["proxy"] == SHOWN
    assert (await tenant.patch(f"/devices/{device}", json={"proxy": PROXY})).json()["proxy"] == SHOWN
    assert (await stored(api, tenant, device)).proxy == first, "the same proxy must not connect the device anew"
    socks = "socks5://93.184.216.34"
    assert (await tenant.patch(f"/devices/{device}", json={"proxy": socks})).json()["proxy"] == f"{socks}:1080"
    assert (await tenant.patch(f"/devices/{device}", json={"proxy": None})).json()["proxy"] is None
    assert (await stored(api, tenant, device)).proxy is None


@pytest.mark.parametrize(
    ("proxy", "code", "says"),
    [
        ("https://93.184.216.34:443", "VALIDATION_ERROR", "https"),
        ("ftp://93.184.216.34", "VALIDATION_ERROR", "socks5"),
        ("93.184.216.34:3128", "VALIDATION_ERROR", "socks5"),
        ("http://93.184.216.34:99999", "VALIDATION_ERROR", "socks5"),
        ("http://93.184.216.34/path", "VALIDATION_ERROR", "socks5"),
        ("http://a b@93.184.216.34", "VALIDATION_ERROR", "socks5"),
        ("http://127.0.0.1:3128", "URL_NOT_ALLOWED", "loopback"),
        ("http://localhost:3128", "URL_NOT_ALLOWED", "loopback"),
        ("socks5://u:s3cret@192.168.1.1", "URL_NOT_ALLOWED", "private"),
        ("http://169.254.169.254", "URL_NOT_ALLOWED", "link local"),
        ("http://[::1]:3128", "URL_NOT_ALLOWED", "loopback"),
        ("http://10.9.1.1:80", "URL_NOT_ALLOWED", "private"),
    ],
)
async def test_what_is_no_proxy_or_leads_inside_is_refused_with_the_field(
    tenant: Client, proxy: str, code: str, says: str
) -> None:
    device = await tenant.device()
    for answer in (
        await tenant.post("/devices", json={"proxy": proxy}),
        await tenant.patch(f"/devices/{device}", json={"proxy": proxy}),
    ):
        assert answer.status_code == 400
        assert answer.json()["code"] == code
        assert says in answer.text
        assert "proxy" in answer.text
        assert "s3cret" not in answer.text
    assert (await tenant.get(f"/devices/{device}")).json()["proxy"] is None


async def test_a_proxy_inside_that_the_operator_allows_is_taken(tenant: Client) -> None:
    made = await tenant.post("/devices", json={"proxy": "http://10.9.1.1:3128"})
    assert made.json()["proxy"] == "http://10.9.1.1:3128"


async def test_another_tenants_device_gets_no_proxy(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    other = await api.tenant()
    assert (await other.patch(f"/devices/{device}", json={"proxy": PROXY})).status_code == 404
    assert (await stored(api, tenant, device)).proxy is None
