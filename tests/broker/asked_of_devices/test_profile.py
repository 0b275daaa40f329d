"""The account's own profile and privacy, and whom it blocks, over HTTP."""

import base64

from tests.support.api_server import Client
from tests.support.pictures import a_picture

ANI, ME = "6281234567", "628111222333"


async def test_name_about_text_and_picture_are_changed(tenant: Client, device: str) -> None:
    path = f"/devices/{device}"
    changed = await tenant.request("PATCH", f"{path}/profile", json={"name": "Toko Ayu", "about": "Open"})
    assert changed.status_code == 204, changed.text
    assert (await tenant.get(f"{path}/contacts/{ME}/about")).json() == {"about": "Open"}
    await tenant.request("PATCH", f"{path}/profile", json={"about": ""})
    assert (await tenant.get(f"{path}/contacts/{ME}/about")).json() == {"about": None}
    assert (await tenant.get(f"{path}/contacts/{ANI}/about")).json()["about"]
    data = base64.b64encode(a_picture()).decode()
    assert (await tenant.request("PUT", f"{path}/profile/picture", json={"data": data})).status_code == 204
    large = base64.b64encode(a_picture("coral") + bytes(3_000_000)).decode()
    assert (await tenant.request("PUT", f"{path}/profile/picture", json={"data": large})).status_code == 204
    assert (await tenant.get(f"{path}/contacts/{ME}/picture")).status_code == 200
    assert (await tenant.delete(f"{path}/profile/picture")).status_code == 204
    assert (await tenant.get(f"{path}/contacts/{ME}/picture")).json()["code"] == "PICTURE_NOT_FOUND"
    long = await tenant.request("PATCH", f"{path}/profile", json={"name": "x" * 26})
    assert (long.status_code, long.json()["field"]) == (400, "name")


async def test_what_is_absent_of_a_change_of_privacy_stays(tenant: Client, device: str) -> None:
    path = f"/devices/{device}/privacy"
    before = (await tenant.get(path)).json()
    assert set(before.values()) == {"all"}
    changed = await tenant.request("PATCH", path, json={"lastSeen": "contacts_except", "readReceipts": "none"})
    assert changed.json() == before | {"lastSeen": "contacts_except", "readReceipts": "none"}
    assert (await tenant.get(path)).json() == changed.json()
    wrong = await tenant.request("PATCH", path, json={"lastSeen": "friends"})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "lastSeen")


async def test_chats_are_archived_marked_unread_and_labelled(tenant: Client, device: str) -> None:
    path = f"/devices/{device}/chats/{ANI}"
    assert (await tenant.request("PUT", f"{path}/archive", json={"archived": True})).status_code == 204
    assert (await tenant.post(f"{path}/unread")).status_code == 204
    assert (await tenant.request("PUT", f"{path}/labels/2")).status_code == 204
    labels = {label["id"]: label for label in (await tenant.get(f"/devices/{device}/labels")).json()}
    assert (labels["2"]["name"], labels["2"]["chats"]) == ("New order", [f"{ANI}@s.whatsapp.net"])
    assert (await tenant.delete(f"{path}/labels/2")).status_code == 204
    unknown = await tenant.request("PUT", f"{path}/labels/99")
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "not_allowed")


async def test_people_are_blocked_listed_and_let_in_again(tenant: Client, device: str) -> None:
    path = f"/devices/{device}/blocked"
    for _ in range(2):
        assert (await tenant.request("PUT", f"{path}/0812 3456 7")).status_code == 204
    assert [one["phoneNumber"] for one in (await tenant.get(path)).json()] == [ANI]
    assert (await tenant.delete(f"{path}/{ANI}")).status_code == 204
    assert (await tenant.get(path)).json() == []
    group = await tenant.request("PUT", f"{path}/120363025550122@g.us")
    assert (group.status_code, group.json()["code"]) == (400, "INVALID_RECIPIENT")
