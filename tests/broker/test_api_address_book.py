"""The account's own address book: contacts and their groups."""

import pytest

from tests.support.api_server import Api, Client


async def group_of(tenant: Client, name: str = "Customers") -> str:
    answer = await tenant.post("/contact-groups", json={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.shows("fonnte", "dashboard: Contact Management", "Name", "Number", "Group", "Action")
@pytest.mark.shows("fonnte", "dashboard: Group Management", "Name", "Action")
async def test_contacts_are_saved_in_groups_and_listed_by_name(tenant: Client) -> None:
    group = await group_of(tenant)
    made = await tenant.post("/contacts", json={"name": "bea", "number": "0812 3456 7890", "groupId": group})
    assert made.status_code == 201, made.text
    bea = made.json()
    assert (bea["number"], bea["group"], bea["groupId"]) == ("6281234567890", "Customers", group)
    await tenant.post("/contacts", json={"name": "Ann", "number": "+62 811 1111 111"})
    assert [one["name"] for one in (await tenant.get("/contacts")).json()] == ["Ann", "bea"]
    assert [one["name"] for one in (await tenant.get(f"/api/contacts?groupId={group}")).json()] == ["bea"]
    assert [(one["name"], one["contacts"]) for one in (await tenant.get("/contact-groups")).json()] == [
        ("Customers", 1)
    ]

    changed = await tenant.patch(f"/contacts/{bea['id']}", json={"name": "Bea", "groupId": None})
    assert (changed.json()["name"], changed.json()["group"]) == ("Bea", None)
    renamed = await tenant.patch(f"/contact-groups/{group}", json={"name": "Friends"})
    assert (renamed.json()["name"], renamed.json()["contacts"]) == ("Friends", 0)
    assert (await tenant.delete(f"/contacts/{bea['id']}")).status_code == 204
    assert [one["name"] for one in (await tenant.get("/contacts")).json()] == ["Ann"]


async def test_the_contacts_of_a_deleted_group_stay(tenant: Client) -> None:
    group = await group_of(tenant)
    await tenant.post("/contacts", json={"name": "Bea", "number": "6281234567890", "groupId": group})
    assert (await tenant.delete(f"/contact-groups/{group}")).status_code == 204
    (one,) = (await tenant.get("/contacts")).json()
    assert (one["name"], one["group"], one["groupId"]) == ("Bea", None, None)


async def test_what_is_wrong_is_told_by_its_field(tenant: Client) -> None:
    good = {"name": "Bea", "number": "6281234567890"}
    wrong = {
        "number": {**good, "number": "hello"},
        "name": {**good, "name": ""},
        "colour": {**good, "colour": "red"},
        "groupId": {**good, "groupId": "grp_nobody"},
    }
    for field, body in wrong.items():
        answer = await tenant.post("/contacts", json=body)
        assert (answer.status_code in (400, 404), answer.json()["field"]) == (True, field), answer.text
    assert (await tenant.get("/contacts")).json() == []
    assert (await tenant.patch("/contacts/con_nobody", json={})).status_code == 404
    assert (await tenant.delete("/contact-groups/grp_nobody")).status_code == 404


async def test_another_tenants_contacts_are_not_found_and_a_devices_key_has_none(api: Api, tenant: Client) -> None:
    group = await group_of(tenant)
    contact = (await tenant.post("/contacts", json={"name": "Bea", "number": "6281234567890"})).json()["id"]
    stranger = await api.tenant()
    assert (await stranger.get("/contacts")).json() == (await stranger.get("/contact-groups")).json() == []
    foreign = [
        await stranger.patch(f"/contacts/{contact}", json={"name": "x"}),
        await stranger.delete(f"/contacts/{contact}"),
        await stranger.get(f"/contacts?groupId={group}"),
        await stranger.post("/contacts", json={"name": "x", "number": "6281234567890", "groupId": group}),
        await stranger.patch(f"/contact-groups/{group}", json={"name": "x"}),
        await stranger.delete(f"/contact-groups/{group}"),
    ]
    assert [answer.status_code for answer in foreign] == [404] * 6
    key = (await tenant.post("/auth/keys", json={"name": "k", "deviceId": await tenant.device()})).json()["apiKey"]
    assert (await Client(api.http, key).get("/contacts")).status_code == 403
    assert [one["name"] for one in (await tenant.get("/contacts")).json()] == ["Bea"]


async def test_a_deleted_tenants_contacts_go_with_it(api: Api, tenant: Client) -> None:
    await group_of(tenant)
    await tenant.post("/contacts", json={"name": "Bea", "number": "6281234567890"})
    assert (await api.operator.delete(f"/tenants/{tenant.id}")).status_code == 204
    kept = await api.bus.last_by_subjects("KV_address_book", f"$KV.address_book.{tenant.id}.>")
    kept += await api.bus.last_by_subjects("KV_contact_groups", f"$KV.contact_groups.{tenant.id}.>")
    assert len(kept) == 2
    assert all(one.data == b"" for one in kept)
