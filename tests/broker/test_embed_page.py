"""The page that shows a QR code in a tenant's own web site, in a real browser."""

from tests.support.api_server import Client
from tests.support.browser import Chromium
from tests.support.connected_devices import running_gateway
from tests.support.nats_server import NatsServer


async def test_the_page_asks_for_a_code_shows_it_and_tells_when_the_device_is_connected(
    nats_server: NatsServer,
) -> None:
    async with running_gateway(nats_server.url) as gateway, Chromium() as chromium:
        api = gateway.api
        tenant = await api.tenant()
        device = await tenant.device()
        project = {"name": "Shop", "allowedOrigins": [api.url]}
        token = (await tenant.post("/admin/projects", json=project)).json()["token"]
        made = await Client(api.http, token).post(f"/devices/{device}/embed-token", json={"returnOrigin": api.url})
        page = await chromium.page(f"{api.url}/embed/qr?token={made.json()['token']}")
        await page.sees("Scan this code.")
        scanned = await tenant.post(f"/devices/{device}/sandbox/scan", json={"phone": "628111222333"})
        assert scanned.status_code == 200
        await page.sees("Connected. You can close this window.")
