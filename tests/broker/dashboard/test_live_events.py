"""Events that the dashboard shows as they happen."""

import asyncio
from typing import Any

import pytest

from kurir.api.messages.store import MessageHistory
from tests.broker.dashboard.conftest import Scene
from tests.support.dispatcher import a_message


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


async def test_what_the_history_has_a_moment_after_its_event_is_shown_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await scene.api.tenant()
    device = await tenant.device()
    page = await scene.page(tenant, "messages")
    await page.sees("No message here.")
    whole, now = MessageHistory.page, asyncio.get_running_loop().time
    behind_until = now() + 1.0

    async def behind(*asked: Any, **how: Any) -> Any:
        return await whole(*asked, **how) if now() > behind_until else ([], None)

    monkeypatch.setattr(MessageHistory, "page", behind)
    await scene.stage.say(a_message(tenant.id, device, "a moment late"))
    await page.sees("a moment late")


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
