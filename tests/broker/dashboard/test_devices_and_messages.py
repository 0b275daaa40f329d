"""Devices and messages in the dashboard: pairing, states as they change, groups, texts and files on their way."""

from pathlib import Path

import pytest

from tests.broker.dashboard.conftest import Scene, a_connected_device
from tests.support.session_nodes import LocalShard


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
    await page.give_file("File", Path(__file__).parents[3] / "docs" / "kurir.png")
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
