"""Contacts, numbers, pictures, presence and read marks over HTTP, answered by a device or by nobody."""

import asyncio
from typing import Any

import msgspec
import pytest

from kurir.api import questions
from kurir.contracts import queries, subjects
from kurir.runtime.partitions import partition_of
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.connected_devices import Gateway
from tests.support.nats_server import NatsServer


async def test_contacts_are_listed_in_pages(tenant: Client, device: str) -> None:
    whole = (await tenant.get(f"/devices/{device}/contacts")).json()
    assert whole["next"] is None
    assert {"628125550114": "reply"}.items() <= {one["phoneNumber"]: one["name"] for one in whole["contacts"]}.items()
    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        page = await tenant.get(
            f"/devices/{device}/contacts", params={"limit": 5} | ({"cursor": cursor} if cursor else {})
        )
        seen += [contact["id"] for contact in page.json()["contacts"]]
        cursor = page.json()["next"]
    assert seen == sorted(contact["id"] for contact in whole["contacts"])


async def test_numbers_are_checked_in_any_form_and_in_the_order_given(tenant: Client, device: str) -> None:
    numbers = ["0812 5550 101", "+62 812-3456-789", "628123456789"]
    checked = (await tenant.post(f"/devices/{device}/numbers/check", json={"numbers": numbers})).json()
    assert [(one["number"], one["phoneNumber"], one["isOnWhatsapp"]) for one in checked] == [
        ("0812 5550 101", "628125550101", False),
        ("+62 812-3456-789", "628123456789", True),
        ("628123456789", "628123456789", True),
    ]
    assert (checked[0]["id"], checked[1]["id"]) == (None, "628123456789@s.whatsapp.net")
    assert checked[1]["lid"].endswith("@lid")


async def test_a_picture_is_shown_or_is_not_there(tenant: Client, device: str) -> None:
    shown = await tenant.get(f"/devices/{device}/contacts/0812345678/picture")
    assert shown.json()["url"].startswith("https://")
    none = await tenant.get(f"/devices/{device}/contacts/628125550105/picture")
    assert (none.status_code, none.json()["code"]) == (404, "PICTURE_NOT_FOUND")


async def test_presence_typing_and_read_marks_are_shown(tenant: Client, device: str) -> None:
    path = f"/devices/{device}"
    answers = [
        await tenant.request("PUT", f"{path}/presence", json={"presence": "online"}),
        await tenant.post(f"{path}/chats/0812345678/typing"),
        await tenant.post(f"{path}/chats/0812345678/typing", json={"state": "recording"}),
        await tenant.post(f"{path}/chats/0812345678/presence"),
        await tenant.post(f"{path}/chats/0812345678/read", json={"messageIds": ["3A01", "3A02"], "played": True}),
        await tenant.post(
            f"{path}/chats/120363041234567890@g.us/read", json={"messageIds": ["3A01"], "participant": "0812345678"}
        ),
        await tenant.request("PUT", f"{path}/presence", json={"presence": "offline"}),
    ]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * len(answers)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/numbers/check", {"numbers": []}, "numbers"),
        ("POST", "/numbers/check", {"numbers": ["0812345678"] * 51}, "numbers"),
        ("POST", "/numbers/check", {"numbers": ["0812345678", "120363041234567890@g.us"]}, "numbers[1]"),
        ("GET", "/contacts/nobody/picture", None, "contactId"),
        ("GET", "/contacts?limit=1001", None, "limit"),
        ("PUT", "/presence", {"presence": "asleep"}, "presence"),
        ("POST", "/chats/nobody/typing", {"state": "typing"}, "chatId"),
        ("POST", "/chats/0812345678/typing", {"state": "singing"}, "state"),
        ("POST", "/chats/120363041234567890@g.us/presence", None, "chatId"),
        ("POST", "/chats/0812345678/read", {"messageIds": []}, "messageIds"),
        ("POST", "/chats/120363041234567890@g.us/read", {"messageIds": ["3A01"]}, "participant"),
    ],
)
async def test_bad_input_names_the_field(
    tenant: Client, device: str, method: str, path: str, body: Any, field: str
) -> None:
    answer = await tenant.request(method, f"/devices/{device}{path}", json=body)
    assert (answer.status_code, answer.json().get("field")) == (400, field), answer.text


async def test_a_refusal_for_now_says_when_to_ask_again(tenant: Client, device: str) -> None:
    answer = await tenant.post(f"/devices/{device}/chats/628125550113/typing")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert (answer.json()["code"], answer.json()["reason"]) == ("TOO_MANY_REQUESTS", "rate_overlimit")


async def test_what_an_engine_lacks_is_named(gateway: Gateway, tenant: Client) -> None:
    gateway.engine.capabilities -= {"contacts"}
    device = await gateway.connected(tenant)
    answer = await tenant.get(f"/devices/{device}/contacts")
    assert (answer.status_code, answer.json()["code"], answer.json()["capability"]) == (
        501,
        "NOT_SUPPORTED",
        "contacts",
    )


async def test_a_device_that_is_not_connected_is_told_so(tenant: Client, device: str) -> None:
    await tenant.post(f"/devices/{device}/disconnect")

    async def is_disconnected() -> bool:
        return bool((await tenant.get(f"/devices/{device}")).json()["status"] == "DISCONNECTED")

    await until("it is disconnected", is_disconnected)
    answer = await tenant.get(f"/devices/{device}/contacts")
    assert (answer.status_code, answer.json()["code"]) == (409, "DEVICE_NOT_CONNECTED")
    assert answer.json()["message"] == "The device is not connected; connect it first."


async def test_a_device_that_is_unlinked_is_to_be_paired_again(gateway: Gateway, tenant: Client, device: str) -> None:
    await tenant.post(f"/devices/{device}/logout")
    await gateway.until_status(tenant, device, "LOGGED_OUT")
    answer = await tenant.get(f"/devices/{device}/contacts")
    assert (answer.status_code, answer.json()["code"]) == (409, "DEVICE_NOT_CONNECTED")
    assert "pair it again" in answer.json()["message"]


# --- nobody, or nobody in time --------------------------------------------------------------------------------------


async def test_without_an_owner_the_answer_is_503_and_when_to_ask_again(api: Api) -> None:
    tenant = await api.tenant()
    answer = await tenant.get(f"/devices/{await tenant.device()}/contacts")
    assert (answer.status_code, answer.json()["code"]) == (503, "SESSION_UNOWNED")
    assert int(answer.headers["Retry-After"]) > 0


async def test_an_owner_that_does_not_answer_is_504_and_changes_may_have_been_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ASK_TIMEOUT_S", 0.2)
    tenant = await api.tenant()
    device = await tenant.device()
    await an_owner_that_says_nothing(api, device)
    read = await tenant.get(f"/devices/{device}/contacts")
    changed = await tenant.delete(f"/devices/{device}/groups/120363041234567890@g.us")
    assert [(answer.status_code, answer.json()["code"]) for answer in (read, changed)] == [
        (504, "NO_ANSWER"),
        (504, "OUTCOME_UNKNOWN"),
    ]
    assert "may or may not" in changed.json()["message"]
    assert "Retry-After" in read.headers


async def an_owner_that_says_nothing(api: Api, device: str) -> list[Any]:
    """The questions that it gets."""
    asked: list[Any] = []

    async def say_nothing(message: Any) -> None:
        asked.append(message)

    partition = partition_of(device, subjects.COMMAND_PARTITIONS)
    await api.bus.nc.subscribe(subjects.rpcs_of_partition(partition), cb=say_nothing)
    await api.bus.nc.flush()
    return asked


async def test_a_question_that_the_end_of_the_service_cuts_off_is_answered(nats_server: NatsServer) -> None:
    async with running_api(nats_server.url, shutdown_grace_s=6) as api:
        tenant = await api.tenant()
        device = await tenant.device()
        asked = await an_owner_that_says_nothing(api, device)
        reading = asyncio.create_task(tenant.get(f"/devices/{device}/contacts"))
        changing = asyncio.create_task(tenant.delete(f"/devices/{device}/groups/120363041234567890@g.us"))
        await until("both are asked", lambda: len(asked) == 2)
        await api.life._stop_parts()
        for answer, code in ((await reading, "NO_ANSWER"), (await changing, "OUTCOME_UNKNOWN")):
            assert (answer.status_code, answer.json()["code"]) == (504, code)
            assert "Retry-After" in answer.headers
            assert "X-Request-Id" in answer.headers


async def test_an_answer_that_cannot_be_read_is_not_the_callers_fault(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    replies = [b"nonsense", msgspec.json.encode(queries.answer(queries.Done()))]

    async def answer(message: Any) -> None:
        await message.respond(replies.pop())

    partition = partition_of(device, subjects.COMMAND_PARTITIONS)
    await api.bus.nc.subscribe(subjects.rpcs_of_partition(partition), cb=answer)
    await api.bus.nc.flush()
    for _ in range(2):
        refused = await tenant.get(f"/devices/{device}/contacts")
        assert (refused.status_code, refused.json()["code"]) == (500, "INTERNAL_ERROR")
