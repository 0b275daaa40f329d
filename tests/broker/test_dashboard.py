"""The dashboard in a real browser, over the real api, session shard and webhook-dispatcher."""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from kurir.api.dashboard import routes
from kurir.contracts.content import Address
from kurir.contracts.records import Session
from kurir.runtime import keyvalue
from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.browser import Chromium, Page
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import LocalShard
from tests.support.webhook_receiver import Reply, WebhookReceiver

HOSTILE = "<img src=x onerror=\"window.harm = 'done'\"><script>window.harm = 'done'</script>\"'`</td></table>&amp;"
STATIC = resources.files("kurir.api.dashboard") / "static"


@dataclass
class Scene:
    """A whole system in this process, and a browser."""

    api: Api
    stage: Stage
    chromium: Chromium
    receiver: WebhookReceiver

    async def page(self, client: Client, place: str = "", *, width: int = 1280) -> Page:
        """The dashboard with a key's owner signed in, at `place`."""
        page = await self.chromium.page(f"{self.api.url}/dashboard/#/{place}", width=width)
        await page.fill("API key", client.key)
        await page.press("Sign in")
        await page.sees("Sign out")
        return page


@pytest.fixture
async def scene(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage(nats_server, mongo_server.url))
        api = await stack.enter_async_context(
            running_api(nats_server.url, mongo_server.url, egress_allow="127.0.0.1/32")
        )
        await stack.enter_async_context(stage.dispatcher(master_key=MASTER_KEY))
        receiver = await stack.enter_async_context(WebhookReceiver())
        chromium = await stack.enter_async_context(Chromium())
        yield Scene(api, stage, chromium, receiver)


@pytest.fixture
async def shard(nats_server: NatsServer, scene: Scene) -> AsyncIterator[LocalShard]:
    async with LocalShard(nats_server.url) as running:
        yield running


async def a_connected_device(tenant: Client, name: str = "CS") -> str:
    device = await tenant.device(name=name, pacePerMinute=0)
    await tenant.post(f"/devices/{device}/connect")

    async def is_paired() -> bool:
        await tenant.post(f"/devices/{device}/sandbox/scan")
        return bool((await tenant.get(f"/devices/{device}")).json()["status"] == "CONNECTED")

    await until("the device is connected", is_paired, within_s=30)
    return device


@pytest.mark.shows("fonnte", "dashboard: Devices Management", "Device / Profile", "Status", "Action")
@pytest.mark.shows("fonnte", "dashboard: Send Test Message", "message")
async def test_a_device_is_made_paired_and_sends_and_its_message_is_followed_to_the_webhook(
    scene: Scene, shard: LocalShard
) -> None:
    tenant = await scene.api.tenant(name="Toko Sejahtera")
    answer = await tenant.post("/webhooks", json={"url": scene.receiver.url("/hook")})
    assert answer.status_code == 201, answer.text
    page = await scene.page(tenant)
    await page.sees("Toko Sejahtera", "No device yet")
    await page.press("New device")
    await page.fill("Name", "Customer service")
    await page.choose("Engine", "Sandbox: no phone, for tests")
    await page.press("Create")
    await page.sees("Customer service", "Disconnected")
    await page.press("Connect")
    await page.sees("Scan this code", "Waiting for scan")
    await page.holds("the QR code is drawn", "document.querySelector('.pairing img').naturalWidth > 100")
    await page.press("Scan as the sandbox's phone")
    await page.sees("Connected", "Sandbox ")
    await page.press("Send a message")
    await page.fill("To", "6281234567890")
    await page.fill("Text", "Halo dari Kurir! 😀")
    await page.press("Send")
    await page.sees("Accepted", "Being sent", "Sent", "Delivered", "Read", "by 6281234567890", "HTTP 204")
    await page.press("Everything about this message")
    await page.sees("Sent message", "Halo dari Kurir! 😀", "Id on WhatsApp")
    await page.press("Messages")
    await page.sees("→ to 6281234567890", "Halo dari Kurir! 😀")
    (device,) = (await tenant.get("/devices")).json()
    await tenant.send(device["id"], text="echo it answers")
    await page.sees("← from 6281234567890", "it answers", "Received")
    assert page.complaints == []


async def test_a_device_is_paired_by_a_code_and_its_state_is_shown_as_it_changes(
    scene: Scene, shard: LocalShard
) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device(name="CS")
    listed = await scene.page(tenant, "devices")
    await listed.sees("CS", "Disconnected")
    page = await scene.page(tenant, f"devices/{device}")
    await page.press("Connect by phone code")
    await page.fill("Phone number", "0812-3456-7890")
    await page.press("Get a code")
    await page.sees("Type this code on the phone", "Waiting for code")
    await listed.sees("Waiting for code")
    await page.press("Scan as the sandbox's phone")
    await page.sees("Connected", "6281234567890")
    await listed.sees("Connected", "6281234567890")
    await page.press("Log out")
    await page.sees("has to be paired again")
    await page.press("Log out")
    await page.sees("Logged out", "Connect")
    await listed.sees("Logged out")
    await page.press("Delete")
    await page.press("Delete")
    await page.sees("No device yet")
    assert (await tenant.get("/devices")).json() == []
    assert page.complaints + listed.complaints == []


@pytest.mark.shows("fonnte", "dashboard: WhatsApp Group List", "Id", "Name")
async def test_the_groups_that_a_device_is_in_are_listed(scene: Scene, shard: LocalShard) -> None:
    tenant = await scene.api.tenant()
    device = await a_connected_device(tenant)
    made = await tenant.post(f"/devices/{device}/groups", json={"subject": "Keluarga", "members": ["6281234567890"]})
    assert made.status_code == 201, made.text
    page = await scene.page(tenant, f"devices/{device}")
    await page.press("Show groups")
    await page.sees("Keluarga", made.json()["id"])
    assert page.complaints == []


async def test_a_file_is_sent(scene: Scene, shard: LocalShard) -> None:
    tenant = await scene.api.tenant()
    await a_connected_device(tenant)
    page = await scene.page(tenant, "send")
    await page.fill("To", "6281234567890")
    await page.choose("Kind", "Image")
    await page.give_file("File", Path(__file__).parents[2] / "docs" / "kurir.png")
    await page.fill("Caption", "look")
    await page.press("Send")
    await page.sees("Read", "look")
    await page.holds("the file's button is there", "document.querySelector('blockquote + p button') !== null")
    await page.evaluate("document.querySelector('blockquote + p button').click()")
    await page.holds("the picture is shown", "document.querySelector('img.media')?.naturalWidth > 0")
    assert page.complaints == []


async def test_what_is_wrong_is_said_at_the_field_and_nothing_is_lost(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    await tenant.device()
    page = await scene.page(tenant, "send")
    await page.fill("To", "not a number")
    await page.fill("Text", "still here")
    await page.press("Send")
    await page.sees("The recipient must be a phone number with country code or a group id.")
    assert await page.evaluate("document.activeElement.name") == "to"
    assert await page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    assert await page.evaluate("document.querySelector('textarea').value") == "still here"


async def test_a_wrong_key_is_told_and_a_key_that_ends_signs_its_pages_out(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    page = await scene.chromium.page(f"{scene.api.url}/dashboard")
    await page.fill("API key", "0" * 64)
    await page.key("Enter")
    await page.sees("This API key does not exist or was rotated.")
    assert await page.evaluate("sessionStorage.length") == 0
    await page.fill("API key", tenant.key)
    await page.key("Enter")
    await page.sees("No device yet")
    assert await page.evaluate("document.activeElement.textContent") == "Devices"
    assert await page.evaluate("[localStorage.length, document.cookie.length]") == [0, 0]
    assert not any(tenant.key in url for url in page.requested)
    await tenant.post("/auth/rotate-key")
    await page.press("Webhooks")
    await page.sees("Your key is no longer known", "API key")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_signing_out_forgets_the_key_and_what_was_shown(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    await tenant.device(name="Secret project")
    page = await scene.page(tenant)
    await page.sees("Secret project")
    await page.press("Sign out")
    await page.sees("API key")
    assert await page.evaluate("sessionStorage.length") == 0
    assert "Secret project" not in await page.evaluate("document.documentElement.outerHTML")


@pytest.mark.shows("fonnte", "dashboard: Devices Management", "Webhook URL")
async def test_a_webhook_is_made_watched_and_sent_to_again(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device()
    scene.receiver.on("/hook", Reply(500, body=b"database <b>is</b> down"), Reply(500), Reply(500), Reply(204))
    page = await scene.page(tenant, "webhooks")
    await page.sees("No webhook yet")
    await page.press("New webhook")
    await page.fill("URL", "https://127.0.0.1.invalid:99999/")
    await page.press("Create")
    await page.sees("This is not an http or https URL.")
    await page.fill("URL", scene.receiver.url("/hook"))
    await page.press("Create")
    await page.sees("The webhook's secret", "whsec_")
    await page.key("Escape")
    await page.sees("whsec_")  # it is shown this once, so it is not closed by accident
    await page.press("I have stored it")
    await page.sees("Healthy", "Nothing was sent yet", "message.received, message.status, device.status")
    assert "whsec_" not in await page.evaluate("document.documentElement.outerHTML")
    event = await scene.stage.say(a_message(tenant.id, device))
    await page.sees("Failing", "Failed, tried again", "HTTP 500", "Given up last", "was given up; 1 by now.")
    await page.press("Show")
    await page.sees("Send this event again", event.id)
    await page.press("Send this event again")
    await scene.receiver.wait_for(4)
    await page.press("Show")
    await page.sees("Delivered", "HTTP 204", "sent again", "Healthy")
    await page.choose("Outcome", "Failed, tried again")
    await page.holds(
        "the answer's body is shown as text",
        """[...document.querySelectorAll("td button")].length === 2""",
    )
    await page.press("Pause")
    await page.sees("It is paused.")
    await page.press("Enable")
    await page.sees("Healthy")
    await page.press("New secret")
    await page.press("Make a new secret")
    await page.sees("The new secret", "whsec_")
    await page.press("I have stored it")
    await page.press("Settings")
    await page.fill("Other events", "groups.*")
    await page.press("Save")
    await page.sees("device.status, groups.*")
    (webhook,) = (await tenant.get("/webhooks")).json()
    assert webhook["events"] == ["message.received", "message.status", "device.status", "groups.*"]
    await page.press("Delete")
    await page.press("Delete")
    await page.sees("No webhook yet")
    assert all("status of 400" in one for one in page.complaints), page.complaints


async def test_a_webhook_is_tried_with_a_sample(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    scene.receiver.on("/hook", Reply(418, body=b"<i>short and stout</i>"))
    webhook = (await tenant.post("/webhooks", json={"url": scene.receiver.url("/hook")})).json()["id"]
    page = await scene.page(tenant, f"webhooks/{webhook}")
    await page.press("Test")
    await page.choose("Sample", "message.received")
    await page.press("Send the sample")
    await page.sees("HTTP 418", "<i>short and stout</i>")
    await page.press("Cancel")
    await page.sees("Healthy", "a test")
    (request,) = scene.receiver.at("/hook")
    assert (request.header("X-Webhook-Test"), request.json()["event"]) == ("true", "message.received")


async def test_what_became_of_a_webhook_is_listed_also_what_happened_before_the_page_was_opened(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device()
    scene.receiver.on("/hook", Reply(500))
    webhook = (await tenant.post("/webhooks", json={"url": scene.receiver.url("/hook")})).json()["id"]
    other = (await tenant.post("/webhooks", json={"url": scene.receiver.url("/other")})).json()["id"]
    await scene.stage.say(a_message(tenant.id, device))

    async def is_told() -> bool:
        return bool((await tenant.get(f"/webhooks/{webhook}/events")).json())

    await until("it is told that an event was given up", is_told)
    page = await scene.page(tenant, f"webhooks/{webhook}")
    await page.sees("What became of it", "Exhausted", "An event for 127.0.0.1 was given up; 1 by now.")
    for _ in range(2):
        await scene.stage.say(a_message(tenant.id, device))
    await page.sees("Failing", "127.0.0.1 fails: HTTP 500.")
    scene.receiver.on("/hook", Reply(204))
    await tenant.post(f"/webhooks/{webhook}/test")
    await page.sees("Recovered", "127.0.0.1 takes events again.")
    told = (await tenant.get(f"/webhooks/{webhook}/events")).json()
    assert [one["event"] for one in told] == ["endpoint.recovered", "endpoint.failing", "endpoint.exhausted"]
    assert (told[1]["status"], told[1]["error"], told[2]["dead"], told[0]["dead"]) == (500, "http_5xx", 1, None)
    assert (await tenant.get(f"/webhooks/{other}/events")).json() == []
    await page.open(f"{scene.api.url}/dashboard/#/webhooks/{other}")
    await page.sees("Healthy", "/other")
    assert "What became of it" not in await page.text()
    assert page.complaints == []


async def test_events_are_followed_live_and_wrong_names_are_told(scene: Scene) -> None:
    tenant, stranger = await scene.api.tenant(), await scene.api.tenant()
    device = await tenant.device()
    page = await scene.page(tenant, "live")
    await page.sees("Following")
    await scene.stage.say(a_message(stranger.id, device, "not yours"))
    await scene.stage.say(a_message(tenant.id, device, "one of yours"))
    await page.sees("message.received", "one of yours")
    await page.press("Pause")
    await scene.stage.say(a_message(tenant.id, device, "held back"))
    await page.press("Go on")
    await page.sees("held back")
    assert "not yours" not in await page.text()
    await page.fill("Events", "no.such.event")
    await page.press("Follow")
    await page.sees("There is no event 'no.such.event'.", "Not following")


async def test_an_open_page_goes_on_where_it_was_when_its_connection_is_cut(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    page = await scene.page(tenant)
    await page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="window.opened = []; window.WebSocket = class extends WebSocket "
        "{ constructor(...given) { super(...given); opened.push(this); } }",
    )
    await page.open(f"{scene.api.url}/dashboard?again#/live")
    await page.sees("Following")
    await scene.stage.say(a_message(tenant.id, text="before"))
    await page.sees("before")
    for number in range(3):
        await page.evaluate("opened.at(-1).close()")
        await scene.stage.say(a_message(tenant.id, text=f"meanwhile {number}"))
        await page.sees(f"meanwhile {number}", "Following")
    shown = await page.text()
    assert [shown.count(text) for text in ("before", "meanwhile 0", "meanwhile 1", "meanwhile 2")] == [1] * 4
    assert await page.evaluate("opened.length") == 4


async def test_what_others_wrote_is_text_and_never_markup(scene: Scene) -> None:
    tenant = await scene.api.tenant(name=HOSTILE[:100])
    device = await tenant.device(name=HOSTILE[:100])
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
    await page.sees("Following", HOSTILE[:100])
    event = a_message(tenant.id, device, HOSTILE, push_name=HOSTILE, chat=chat)
    await scene.stage.say(event)
    await page.sees("message.received", HOSTILE)
    await page.evaluate("document.querySelector('.feed summary').click()")
    await page.sees('"pushName"')
    for place, shown in (
        ("devices", HOSTILE),
        (f"devices/{device}", HOSTILE),
        ("messages", HOSTILE),
        (f"messages/{event.message_id}", HOSTILE),
        ("webhooks", "/hook?<b>"),
        ("send", HOSTILE[:100]),
        ("keys", HOSTILE[:100]),
    ):
        await page.evaluate(f"location.hash = '#/{place}'")
        await page.sees(shown)
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


async def test_another_tenants_things_are_not_found(scene: Scene) -> None:
    owner, stranger = await scene.api.tenant(), await scene.api.tenant()
    device = await owner.device(name="private")
    webhook = (await owner.post("/webhooks", json={"url": scene.receiver.url()})).json()["id"]
    message = (await owner.send(device, text="private")).json()["id"]

    async def is_written() -> bool:
        return (await owner.get(f"/messages/{message}")).status_code == 200

    await until("the message is in the history", is_written)
    page = await scene.page(stranger)
    for place, sentence in (
        (f"devices/{device}", "There is no such device."),
        (f"webhooks/{webhook}", "There is no such webhook."),
        (f"messages/{message}", "There is no such message."),
        (f"messages?deviceId={device}", "There is no such device."),
    ):
        await page.evaluate(f"location.hash = '#/{place}'")
        await page.sees("Not found", sentence)
        assert "private" not in await page.text()


async def test_an_operator_makes_tenants_and_keys_and_switches_tenants_off(scene: Scene) -> None:
    page = await scene.page(scene.api.operator)
    await page.press("New tenant")
    await page.fill("Name", "Toko Baru")
    await page.fill("Country", "Indonesia")
    await page.press("Create")
    await page.holds("the wrong country is told", "document.querySelector('dialog [aria-invalid]')?.name === 'country'")
    await page.fill("Country", "ID")
    await page.press("Create")
    await page.sees("Toko Baru", "Active", "Keys")
    await page.press("New key")
    await page.fill("Name", "till")
    await page.press("Create")
    await page.sees("The new key")
    api_key = str(await page.evaluate("document.querySelector('dialog code').textContent"))
    await page.press("I have stored it")
    await page.sees(f"…{api_key[-4:]}")
    tenant = Client(scene.api.http, api_key)
    theirs = await scene.page(tenant)
    await theirs.sees("No device yet")
    await page.press("Switch off")
    await page.press("Switch off")
    await page.sees("Switched off")
    await theirs.press("Webhooks")
    await theirs.sees("This tenant is not active.", "API key")
    await page.press("Switch on")
    await page.sees("Active")
    await page.press("Revoke till")
    await page.press("Revoke")
    await page.sees("Revoked.")
    assert (await tenant.get("/devices")).status_code == 401


@pytest.mark.shows("fonnte", "dashboard: Devices Management", "Security Token")
async def test_an_account_manages_its_keys(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    await tenant.device(name="Till 3")
    page = await scene.page(tenant, "keys")
    await page.sees("default", "the one you use")
    await page.press("New key")
    await page.fill("Name", "till")
    await page.choose("Acts for", "Till 3")
    await page.press("Create")
    await page.sees("The new key")
    bound = Client(scene.api.http, str(await page.evaluate("document.querySelector('dialog code').textContent")))
    await page.press("I have stored it")
    theirs = await scene.page(bound, "keys")
    await theirs.sees("This key is bound to one device.")
    await page.press("Revoke till")
    await page.press("Revoke")
    await page.sees("Revoked.")
    assert (await bound.get("/devices")).status_code == 401
    await page.press("Replace my key")
    await page.press("Replace")
    await page.sees("Your new key")
    await page.press("I have stored it")
    await page.press("Devices")
    await page.sees("Till 3")
    assert (await tenant.get("/devices")).status_code == 401


@pytest.mark.shows("fonnte", "dashboard: Contact Management", "Name", "Number", "Group", "Action")
@pytest.mark.shows("fonnte", "dashboard: Group Management", "Name", "Action")
async def test_an_account_keeps_its_contacts(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    page = await scene.page(tenant, "contacts")
    await page.sees("No contacts yet.", "No groups yet.")
    await page.press("Add group")
    await page.fill("Name", "Customers")
    await page.press("Add")
    await page.sees("Customers")
    await page.press("Add contact")
    await page.fill("Name", "<b>Bea</b>")
    await page.fill("Number", "hello")
    await page.choose("Group", "Customers")
    await page.press("Add")
    await page.sees("The recipient must be a phone number with country code or a group id.")
    await page.fill("Number", "0812 3456 7890")
    await page.press("Add")
    await page.sees("<b>Bea</b>", "6281234567890")
    (saved,) = (await tenant.get("/contacts")).json()
    assert (saved["name"], saved["group"]) == ("<b>Bea</b>", "Customers")
    await page.press("Edit <b>Bea</b>")
    await page.fill("Name", "Bea")
    await page.choose("Group", "None")
    await page.press("Save")
    await page.holds("the list is drawn anew", "!document.body.innerText.includes('<b>Bea</b>')")
    await page.press("Delete the group Customers")
    await page.press("Delete")
    await page.sees("No groups yet.")
    await page.press("Delete Bea")
    await page.press("Delete")
    await page.sees("No contacts yet.")
    assert (await tenant.get("/contacts")).json() == []


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
