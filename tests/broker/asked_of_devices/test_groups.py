"""Groups over HTTP, answered by a device."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from kurir.api import questions
from kurir.contracts import subjects
from tests.support.api_server import Client
from tests.support.conditions import until
from tests.support.connected_devices import Gateway
from tests.support.pictures import a_picture
from tests.support.session_nodes import LocalShard

ANI, BUDI = "6281234567", "6281234568"
KEY = {"Idempotency-Key": "team-7"}


async def made(tenant: Client, device: str, **fields: Any) -> dict[str, Any]:
    answer = await tenant.post(f"/devices/{device}/groups", json={"subject": "Office", "members": [ANI], **fields})
    assert answer.status_code == 201, answer.text
    group: dict[str, Any] = answer.json()
    return group


def roles(group: dict[str, Any]) -> dict[str, str]:
    return {member["phoneNumber"]: member["role"] for member in group["members"]}


async def test_a_group_is_made_shown_and_listed(tenant: Client, device: str) -> None:
    group = await made(tenant, device, members=["0812 3456 7", f"{BUDI}@s.whatsapp.net", "628125550101"])
    assert roles(group) == {"628111222333": "owner", ANI: "member", BUDI: "member"}  # who has no WhatsApp is left out
    assert (group["subject"], group["memberCount"], group["owner"]["phoneNumber"]) == ("Office", 3, "628111222333")
    shown = await tenant.get(f"/devices/{device}/groups/{group['id']}")
    assert shown.json() == group
    assert (await tenant.get(f"/devices/{device}/groups/{group['id'].partition('@')[0]}")).json() == group
    (listed,) = (await tenant.get(f"/devices/{device}/groups")).json()["groups"]
    assert listed == {name: value for name, value in group.items() if name not in ("members", "description")}


async def test_long_lists_come_in_pages(tenant: Client, device: str) -> None:
    ids = sorted([(await made(tenant, device, subject=f"Group {n}"))["id"] for n in range(5)])
    first = (await tenant.get(f"/devices/{device}/groups", params={"limit": 2})).json()
    second = (await tenant.get(f"/devices/{device}/groups", params={"limit": 3, "cursor": first["next"]})).json()
    assert [group["id"] for page in (first, second) for group in page["groups"]] == ids
    assert second["next"] is None


async def test_members_are_added_removed_promoted_and_demoted(tenant: Client, device: str) -> None:
    path = f"/devices/{device}/groups/{(await made(tenant, device))['id']}"

    async def change(change: str, *members: str) -> list[tuple[str, int | None]]:
        answer = await tenant.post(f"{path}/members", json={"change": change, "members": members})
        assert answer.status_code == 200, answer.text
        return [(one["phoneNumber"], one["error"]) for one in answer.json()]

    added = await change("add", BUDI, "628125550101", "628125550102", ANI)
    assert added == [(BUDI, None), ("628125550101", 404), ("628125550102", 403), (ANI, 409)]
    assert await change("promote", BUDI) == [(BUDI, None)]
    assert roles((await tenant.get(path)).json())[BUDI] == "admin"
    assert await change("demote", BUDI) == [(BUDI, None)]
    assert await change("remove", ANI) == [(ANI, None)]
    assert roles((await tenant.get(path)).json()) == {"628111222333": "owner", BUDI: "member"}


async def test_subject_description_and_invitation_link_are_changed(tenant: Client, device: str) -> None:
    group = await made(tenant, device)
    path = f"/devices/{device}/groups/{group['id']}"
    assert (await tenant.request("PUT", f"{path}/subject", json={"subject": "Office 2"})).status_code == 204
    assert (await tenant.request("PUT", f"{path}/description", json={"description": "Us"})).status_code == 204
    shown = (await tenant.get(path)).json()
    assert (shown["subject"], shown["description"]) == ("Office 2", "Us")
    await tenant.request("PUT", f"{path}/description", json={"description": ""})
    assert (await tenant.get(path)).json()["description"] is None
    link = (await tenant.get(f"{path}/invite-link")).json()["link"]
    assert (await tenant.get(f"{path}/invite-link")).json()["link"] == link
    renewed = (await tenant.post(f"{path}/invite-link")).json()["link"]
    assert renewed != link
    joined = await tenant.post(f"/devices/{device}/groups/join", json={"link": renewed})
    assert (joined.status_code, joined.json()) == (200, {"id": group["id"]})


async def test_a_group_is_seen_by_its_invitation_and_gets_a_picture(tenant: Client, device: str) -> None:
    group = await made(tenant, device)
    path = f"/devices/{device}/groups/{group['id']}"
    code = (await tenant.get(f"{path}/invite-link")).json()["link"].rpartition("/")[2]
    assert (await tenant.get(f"/devices/{device}/groups/invitations/{code}")).json() == group
    nowhere = await tenant.get(f"/devices/{device}/groups/invitations/nowhere")
    assert (nowhere.status_code, nowhere.json()["field"]) == (400, "link")
    picture_of = f"/devices/{device}/contacts/{group['id']}/picture"
    seen = []
    for colour in ("teal", "coral"):
        data = base64.b64encode(a_picture(colour)).decode()
        assert (await tenant.request("PUT", f"{path}/picture", json={"data": data})).status_code == 204
        seen.append((await tenant.get(picture_of)).json()["id"])
    assert seen[0] != seen[1]
    large = base64.b64encode(a_picture() + bytes(3_000_000)).decode()
    assert (await tenant.request("PUT", f"{path}/picture", json={"data": large})).status_code == 204
    for wrong, field in (({}, "url"), ({"data": "no base64"}, "data"), ({"data": "aGVsbG8="}, "kind")):
        refused = await tenant.request("PUT", f"{path}/picture", json=wrong)
        assert (refused.status_code in (400, 415), refused.json()["field"]) == (True, field), refused.text


async def test_a_group_that_was_left_is_not_there_any_more(tenant: Client, device: str) -> None:
    path = f"/devices/{device}/groups/{(await made(tenant, device))['id']}"
    assert (await tenant.delete(path)).status_code == 204
    for answer in (await tenant.get(path), await tenant.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "GROUP_NOT_FOUND")
    assert (await tenant.get(f"/devices/{device}/groups")).json() == {"groups": [], "next": None}


async def test_what_a_member_may_not_do_is_refused_with_whatsapps_reason(tenant: Client, device: str) -> None:
    joined = await tenant.post(f"/devices/{device}/groups/join", json={"link": "https://chat.whatsapp.com/AbCdEfGh12"})
    answer = await tenant.get(f"/devices/{device}/groups/{joined.json()['id']}/invite-link")
    assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (
        422,
        "REQUEST_REFUSED",
        "not_allowed",
    )
    assert "admins" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "", {"subject": "x" * 101}, "subject"),
        ("POST", "", {"subject": "Office", "members": [ANI, "nobody"]}, "members[1]"),
        ("POST", "", {"subject": "Office", "members": ["120363041234567890@g.us"]}, "members[0]"),
        ("GET", "/nonsense", None, "groupId"),
        ("GET", "?cursor=nonsense", None, "cursor"),
        ("GET", "?limit=0", None, "limit"),
        ("POST", "/120363041234567890/members", {"change": "ban", "members": [ANI]}, "change"),
        ("POST", "/120363041234567890/members", {"change": "add", "members": []}, "members"),
        ("POST", "/join", {"link": "https://example.com/x"}, "link"),
        ("POST", "/join", {"link": "nowhere"}, "link"),
        ("PUT", "/120363041234567890/subject", {"subject": ""}, "subject"),
    ],
)
async def test_bad_input_names_the_field(
    tenant: Client, device: str, method: str, path: str, body: Any, field: str
) -> None:
    answer = await tenant.request(method, f"/devices/{device}/groups{path}", json=body)
    assert (answer.status_code, answer.json().get("field")) == (400, field), answer.text


# --- made once ------------------------------------------------------------------------------------------------------


async def test_a_repeat_under_the_same_key_is_answered_with_the_same_group(tenant: Client, device: str) -> None:
    path, body = f"/devices/{device}/groups", {"subject": "Office", "members": [ANI]}
    first = await tenant.post(path, json=body, headers=KEY)
    again = await tenant.post(path, json=body, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = await tenant.post(path, json={**body, "subject": "Other"}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len((await tenant.get(path)).json()["groups"]) == 1


async def test_many_at_once_under_the_same_key_make_one_group(tenant: Client, device: str) -> None:
    path, body = f"/devices/{device}/groups", {"subject": "Office"}
    answers = await asyncio.gather(*(tenant.post(path, json=body, headers=KEY) for _ in range(10)))
    groups = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(groups) == 1
    # Who overtook the first one is told that the outcome is not known yet, and never makes a second group.
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"OUTCOME_UNKNOWN"}
    assert (await tenant.post(path, json=body, headers=KEY)).json()["id"] in groups
    assert len((await tenant.get(path)).json()["groups"]) == 1


async def a_creation_that_is_not_waited_for(
    gateway: Gateway, tenant: Client, device: str, monkeypatch: pytest.MonkeyPatch, *, slow_s: float
) -> dict[str, Any]:
    """Ask for a group and get no answer in time; its body. The device goes on to make it, for so long."""
    body = {"subject": "Office", "members": ["628125550103"]}  # somebody slow
    gateway.engine.pace = msgspec.structs.replace(gateway.engine.pace, slow_s=slow_s)
    with monkeypatch.context() as patched:
        patched.setattr(questions, "ASK_TIMEOUT_S", 0.2)
        answer = await tenant.post(f"/devices/{device}/groups", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (504, "OUTCOME_UNKNOWN")
    assert "Retry-After" in answer.headers
    return body


async def test_a_repeat_hears_what_became_of_a_request_that_got_no_answer(
    gateway: Gateway, tenant: Client, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/devices/{device}/groups"
    body = await a_creation_that_is_not_waited_for(gateway, tenant, device, monkeypatch, slow_s=1.0)
    again = await tenant.post(path, json=body, headers=KEY)
    assert again.status_code == 201, again.text
    assert [group["id"] for group in (await tenant.get(path)).json()["groups"]] == [again.json()["id"]]


async def test_after_the_owner_has_died_a_repeat_is_told_that_nobody_knows(
    gateway: Gateway, tenant: Client, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/devices/{device}/groups"
    body = await a_creation_that_is_not_waited_for(gateway, tenant, device, monkeypatch, slow_s=60.0)
    await gateway.shard.stop()
    async with LocalShard(gateway.nats_url, index=1) as heir:
        await until("the heir owns all", lambda: len(heir.shard.owned) == subjects.COMMAND_PARTITIONS)
        await gateway.until_status(tenant, device, "CONNECTED")
        again = await tenant.post(path, json=body, headers=KEY)
        assert (again.status_code, again.json()["code"]) == (504, "OUTCOME_UNKNOWN")
        assert (await tenant.get(path)).json()["groups"] == []
        fresh = await tenant.post(path, json={"subject": "Office"}, headers={"Idempotency-Key": "team-8"})
        assert fresh.status_code == 201


async def test_a_refused_creation_leaves_its_key_free(gateway: Gateway, tenant: Client) -> None:
    device = await tenant.device()
    path, body = f"/devices/{device}/groups", {"subject": "Office"}
    await until_known(tenant, device)
    refused = await tenant.post(path, json=body, headers=KEY)
    assert (refused.status_code, refused.json()["code"]) == (409, "DEVICE_NOT_CONNECTED")
    await gateway.connect(tenant, device)
    assert (await tenant.post(path, json=body, headers=KEY)).status_code == 201


async def until_known(tenant: Client, device: str) -> None:
    """Until the device's owner has heard that it exists."""

    async def is_known() -> bool:
        return bool((await tenant.get(f"/devices/{device}/groups")).json()["code"] == "DEVICE_NOT_CONNECTED")

    await until("the owner knows the device", is_known)
