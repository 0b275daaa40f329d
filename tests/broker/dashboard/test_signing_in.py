"""Who sees the dashboard, and of whom: keys that are wrong, that end and that are let go, and other tenants' things."""

from tests.broker.dashboard.conftest import Scene
from tests.support.conditions import until


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
    await page.press("Compose")  # a page that follows nothing: it learns of it by what is asked next
    await page.sees("there is none yet")
    following = await scene.page(tenant)
    await following.sees("No device yet")
    await tenant.post("/auth/rotate-key")
    await page.press("Webhooks")
    for each in (page, following):
        await each.sees("Your key is no longer known", "API key", within_s=60)
        assert await each.evaluate("sessionStorage.length") == 0


async def test_signing_out_forgets_the_key_and_what_was_shown(scene: Scene) -> None:
    tenant = await scene.api.tenant()
    await tenant.device(name="Secret project")
    page = await scene.page(tenant)
    await page.sees("Secret project")
    await page.press("Sign out")
    await page.sees("API key")
    assert await page.evaluate("sessionStorage.length") == 0
    assert "Secret project" not in await page.evaluate("document.documentElement.outerHTML")


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
