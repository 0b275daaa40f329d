"""Webhooks in the dashboard: made, tried, watched, and sent to again."""

import pytest

from tests.broker.dashboard.conftest import Scene
from tests.support.conditions import until
from tests.support.dispatcher import a_message
from tests.support.webhook_receiver import Reply


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


async def test_what_becomes_of_a_webhook_while_nothing_can_be_followed_is_listed_all_the_same(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device()
    scene.receiver.on("/hook", Reply(500))
    webhook = (await tenant.post("/webhooks", json={"url": scene.receiver.url("/hook")})).json()["id"]
    page = await scene.page(tenant)
    await page.evaluate("(window.WebSocket = class { addEventListener() {} close() {} }, true)")
    await page.open(f"{scene.api.url}/dashboard/#/webhooks/{webhook}")
    await page.sees("Healthy", "/hook")
    await scene.stage.say(a_message(tenant.id, device))
    await page.sees("What became of it", "Exhausted")
