"""What holds on every page of the dashboard: text stays text, it fits a phone, and nothing foreign runs."""

import json
import re
from datetime import UTC, datetime
from importlib import resources

import msgspec

from kurir.api.dashboard import routes
from kurir.contracts.content import Address
from kurir.contracts.records import Session
from kurir.runtime import keyvalue
from tests.broker.dashboard.conftest import Scene
from tests.support.api_server import running_api
from tests.support.dispatcher import a_message
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Reply

HOSTILE = "<img src=x onerror=\"window.harm = 'done'\"><script>window.harm = 'done'</script>\"'`</td></table>&amp;"
STATIC = resources.files("kurir.api.dashboard") / "static"


async def test_what_others_wrote_is_text_and_never_markup(scene: Scene) -> None:
    tenant = await scene.api.tenant(name=HOSTILE[:90])
    device = await tenant.device(name=HOSTILE)
    state = Session(
        device=device,
        tenant=tenant.id,
        state="connected",
        at=datetime.now(UTC),
        paired=True,
        phone="6281200000000",
        push_name=HOSTILE,
    )
    await keyvalue.put(scene.api.bus, "sessions", f"{tenant.id}.{device}", msgspec.json.encode(state))
    scene.receiver.on("/hook", Reply(500, body=HOSTILE.encode()))
    await tenant.post("/webhooks", json={"url": scene.receiver.url(f"/hook?{'<b>'}"), "headers": {"X-A": "<b>"}})
    chat = Address(jid="628111222333@s.whatsapp.net", pn="628111222333@s.whatsapp.net")
    page = await scene.page(tenant, "live")
    await page.sees("Following", HOSTILE[:90])
    event = a_message(tenant.id, device, HOSTILE, push_name=HOSTILE, chat=chat)
    await scene.stage.say(event)
    await page.sees("message.received", HOSTILE)
    await page.evaluate("document.querySelector('.feed summary').click()")
    await page.sees('"pushName"')
    for where, shown in (
        ("devices", HOSTILE),
        (f"devices/{device}", HOSTILE),
        ("messages", HOSTILE),
        (f"messages/{event.message_id}", HOSTILE),
        ("webhooks", "/hook?<b>"),
        ("send", HOSTILE),
        ("keys", HOSTILE[:90]),
    ):
        await page.evaluate(f"document.querySelector('main').remove(); location.hash = '#/{where}'")
        await page.holds(
            f"{where} shows it", f"document.querySelector('main')?.innerText.includes({json.dumps(shown)})"
        )
        await page.holds(
            "nothing of it became markup", "document.querySelector('main :is(script, b, [onerror])') === null"
        )
    await page.press("Webhooks")
    await page.press(scene.receiver.url("/hook?<b>"))
    await page.press("Show")
    await page.sees(HOSTILE, "X-A")
    assert await page.evaluate("document.querySelector('main :is(script, b, [onerror])')") is None
    assert await page.evaluate("window.harm") is None
    assert page.complaints == []


PLACES = (
    "devices",
    "devices/{device}",
    "send",
    "messages",
    "contacts",
    "webhooks",
    "webhooks/{webhook}",
    "live",
    "keys",
)


async def test_every_page_fits_a_phone_names_its_controls_and_asks_nobody_else(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device(name="x" * 100)
    webhook = (await tenant.post("/webhooks", json={"url": scene.receiver.url("/" + "y" * 300)})).json()["id"]
    await scene.stage.say(a_message(tenant.id, device, "z" * 2000))
    page = await scene.page(tenant, width=360)
    for place in PLACES:
        where = place.format(device=device, webhook=webhook)
        await page.evaluate(f"document.querySelector('main').remove(); location.hash = '#/{where}'")
        await page.holds("the page is drawn", "document.querySelector('main:not([aria-busy]) h1') !== null")
        await page.holds("it is no wider than the phone", "document.documentElement.scrollWidth <= 360")
        unnamed = await page.evaluate("""
            [...document.querySelectorAll("input, select, textarea, button, a")]
              .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim()))
              .map((each) => each.outerHTML)
        """)
        assert unnamed == [], place
        assert await page.evaluate("document.querySelectorAll('h1').length") == 1, place
        assert await page.evaluate("document.querySelectorAll('img:not([alt])').length") == 0, place
    assert page.complaints == []
    hosts = {url.split("/")[2] for url in page.requested if url.startswith(("http", "ws"))}
    assert hosts == {scene.api.url.partition("://")[2]}


async def test_pages_cannot_be_framed_run_nothing_foreign_and_are_kept_by_content(nats_server: NatsServer) -> None:
    async with running_api(nats_server.url) as api:
        for path in ("/dashboard", "/dashboard/", "/api/dashboard", "/api/dashboard/"):
            page = await api.http.get(path)
            assert page.status_code == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            for header, value in routes.SECURITY_HEADERS.items():
                assert page.headers[header] == value
            assert "unsafe" not in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-cache"
            again = await api.http.get(path, headers={"If-None-Match": page.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            linked = re.findall(r'(?:src|href)="([^"]*)"', page.text)
            assert len(linked) == 3
            for link in linked:
                asset = await api.http.get(page.url.join(link))
                assert asset.status_code == 200, link
                assert "immutable" in asset.headers["cache-control"]
                assert asset.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page.text)
        other_release = await api.http.get("/dashboard/assets/0123456789abcdef/app.js")
        assert (other_release.status_code, other_release.headers["cache-control"]) == (200, "no-store")
        assert other_release.headers["content-type"] == "text/javascript; charset=utf-8"
        for wrong in ("index.html", "../routes.py", "..%2froutes.py", "pages/", "nothing.js"):
            answer = await api.http.get(f"/dashboard/assets/{routes.version()}/{wrong}")
            assert answer.status_code == 404, wrong


def test_no_script_of_the_dashboard_makes_markup_of_text() -> None:
    scripts = [*STATIC.iterdir(), *(STATIC / "pages").iterdir()]
    for script in scripts:
        if script.name.endswith(".js"):
            forbidden = re.search(
                r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script.read_text()
            )
            assert forbidden is None, (script.name, forbidden)
