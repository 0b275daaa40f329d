"""What a tenant asks and does by HTTP besides sending, as WhatsApp sees it: groups, people, presence, read marks.

Each group of routes is called for another tenant's device, too, which is answered as if that device did not exist.
"""

from typing import Any

import pytest

from tests.contract.neonize.people import a_picture
from tests.support.conditions import until
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.system.whatsapp.people import BUDI, VERA, Number, text_of

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def ask(number: Number, method: str, path: str, body: Any = None) -> Any:
    """A route of the number's device."""
    return await number.tenant.call(method, f"/devices/{number.device}{path}", body)


async def test_a_group_is_made_used_changed_and_left(ayu: Number, whatsapp: EmulatorClient) -> None:
    group = await ask(ayu, "POST", "/groups", {"subject": "Arisan", "members": [VERA, BUDI]})
    assert {member["phoneNumber"] for member in group["members"]} == {ayu.phone, VERA, BUDI}
    path = f"/groups/{group['id']}"

    whatsapp_id = await ayu.until_told(await ayu.send("text", group["id"], text="Halo semua"), "READ")
    assert text_of(await whatsapp.until_read(BUDI, whatsapp_id)) == "Halo semua"
    heard = await ayu.until_received(await whatsapp.say(VERA, group["id"], text="Halo Ayu"))
    assert heard["remoteJid"] == group["id"]

    await ask(ayu, "PUT", f"{path}/subject", {"subject": "Arisan 2"})
    await ask(ayu, "PUT", f"{path}/description", {"description": "Setiap Jumat"})
    changed = await ask(ayu, "POST", f"{path}/members", {"change": "remove", "members": [BUDI]})
    assert [one["error"] for one in changed] == [None]
    shown = await ask(ayu, "GET", path)
    assert (shown["subject"], shown["description"]) == ("Arisan 2", "Setiap Jumat")
    assert set((await whatsapp.groups())[group["id"]]["members"]) == {ayu.phone, VERA}

    link = (await ask(ayu, "GET", f"{path}/invite-link"))["link"]
    assert link.startswith("https://chat.whatsapp.com/")
    assert (await ask(ayu, "POST", f"{path}/invite-link"))["link"] != link

    assert group["id"] in [one["id"] for one in (await ask(ayu, "GET", "/groups"))["groups"]]
    await ask(ayu, "DELETE", path)
    assert set((await whatsapp.groups())[group["id"]]["members"]) == {VERA}
    assert group["id"] not in [one["id"] for one in (await ask(ayu, "GET", "/groups"))["groups"]]


async def test_a_group_is_joined_by_its_link(ayu: Number, citra: Number, whatsapp: EmulatorClient) -> None:
    group = await ask(ayu, "POST", "/groups", {"subject": "Terbuka", "members": [VERA]})
    link = (await ask(ayu, "GET", f"/groups/{group['id']}/invite-link"))["link"]
    assert (await ask(citra, "POST", "/groups/join", {"link": link}))["id"] == group["id"]
    assert citra.phone in (await whatsapp.groups())[group["id"]]["members"]


async def test_people_are_found(ayu: Number, whatsapp: EmulatorClient) -> None:
    await whatsapp.contact(VERA, picture=a_picture(width=64, height=64))
    checks = await ask(ayu, "POST", "/numbers/check", {"numbers": [VERA, "628000000000"]})
    assert [(one["phoneNumber"], one["isOnWhatsapp"]) for one in checks] == [(VERA, True), ("628000000000", False)]
    picture = await ask(ayu, "GET", f"/contacts/{VERA}/picture")
    assert picture["id"]
    assert picture["url"].startswith("https://")
    await ayu.until_received(await whatsapp.say(VERA, ayu.phone, text="Ini Vera"))

    async def knows_vera() -> bool:
        known = (await ask(ayu, "GET", "/contacts"))["contacts"]
        return (VERA, "Vera") in [(one["phoneNumber"], one["pushName"]) for one in known]

    await until("Vera is a contact", knows_vera)


async def test_presence_typing_and_read_marks_are_seen(ayu: Number, whatsapp: EmulatorClient) -> None:
    said = await whatsapp.say(VERA, ayu.phone, text="Sudah baca?")
    await ayu.until_received(said)
    mark = await whatsapp.mark()
    await ask(ayu, "PUT", "/presence", {"presence": "online"})
    await whatsapp.until_journal("presence.sent", after=mark, type="available")
    await ask(ayu, "POST", f"/chats/{VERA}/typing", {"state": "recording"})
    await whatsapp.until_journal("typing.sent", after=mark, state="composing", media="audio")
    await ask(ayu, "POST", f"/chats/{VERA}/read", {"messageIds": [said]})
    (receipt,) = await whatsapp.until_journal("receipt.sent", after=mark, type="read", to=VERA)
    assert receipt["ids"] == [said]
    await ask(ayu, "PUT", "/presence", {"presence": "offline"})
    await whatsapp.until_journal("presence.sent", after=mark, type="unavailable")


async def test_what_whatsapp_refuses_is_refused_with_a_reason(ayu: Number, whatsapp: EmulatorClient) -> None:
    group = await whatsapp.create_group("Milik Vera", VERA, [ayu.phone])
    path = f"/devices/{ayu.device}/groups/{group}/members"
    refused = await ayu.tenant.http.post(path, json={"change": "add", "members": [BUDI]})
    assert 400 <= refused.status_code < 500, refused.text
    assert refused.json()["code"]
    assert set((await whatsapp.groups())[group]["members"]) == {VERA, ayu.phone}


async def test_another_tenants_device_is_not_there(ayu: Number, citra: Number) -> None:
    for method, path, body in (
        ("GET", "/groups", None),
        ("POST", "/groups", {"subject": "Curian"}),
        ("GET", "/contacts", None),
        ("POST", "/numbers/check", {"numbers": [VERA]}),
        ("PUT", "/presence", {"presence": "online"}),
        ("POST", f"/chats/{VERA}/typing", {}),
        ("POST", f"/chats/{VERA}/read", {"messageIds": ["3EB0"]}),
    ):
        answer = await citra.tenant.http.request(method, f"/devices/{ayu.device}{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "DEVICE_NOT_FOUND"), (method, path)
