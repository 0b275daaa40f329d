"""`/send` as Fonnte's clients use it."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kurir.contracts import commands
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Document, Image, Location, Poll, Text
from kurir.contracts.events import MessageQueued, MessageStatusChanged, MessageUpserted
from kurir.contracts.records import DialectOptions
from kurir.contracts.streams import LATER
from kurir.dialects.fonnte import numbers
from tests.contract.dialects.fonnte.conftest import Account, device_key, key_with
from tests.support.conditions import until

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000") + b"\0" * 40


@pytest.mark.shows("fonnte", "POST /send", "target", "message", "Authorization", "Content-Type")
@pytest.mark.shows("fonnte", "POST /send", "answer.status", "answer.reason", "answer.detail", "answer.id")
@pytest.mark.shows("fonnte", "POST /send", "answer.process", "answer.requestid", "answer.target")
async def test_a_message_is_sent_and_answered_by_its_number_in_every_form(account: Account) -> None:
    fields = {"target": "08123456789", "message": "Halo!"}
    forms: list[dict[str, Any]] = [{"json": fields}, {"data": fields}, {"data": fields, "files": {"x": ("", b"")}}]
    seen = []
    for form in forms:
        for authorization in (account.token, f"Bearer {account.token}"):
            answer = await account.post("/send", headers={"Authorization": authorization}, **form)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            (number,) = body["id"]
            assert body == {
                "status": True,
                "reason": "Message sent successfully",
                "detail": "success! message in queue",
                "id": [number],
                "process": "pending",
                "requestid": body["requestid"],
                "target": ["628123456789"],
            }
            assert number.isdecimal()
            seen += [int(number), body["requestid"]]
    assert len(set(seen)) == len(seen) == 12
    sent = [fact for _, fact in await account.api.events() if getattr(fact, "status", "") == "sent"]
    assert [numbers.number_of(fact.message_id) for fact in sent if isinstance(fact, MessageStatusChanged)] == seen[::2]


@pytest.mark.shows("fonnte", "GET /send", "token", "target", "message")
async def test_a_url_can_send_too(account: Account) -> None:
    query = {"token": account.token, "target": "628123456789", "message": "Halo!"}
    answer = await account.api.http.get("/send/", params=query, follow_redirects=True)
    assert (answer.status_code, answer.json()["reason"]) == (200, "Message sent successfully")


@pytest.mark.shows("fonnte", "POST /send", "delay", "schedule")
async def test_targets_with_a_delay_wait_in_the_stream(account: Account) -> None:
    targets = "628111|Ann,628222222222|Bea,628333333333|Cid".replace("628111|", "628111111111|")
    began = time.time()
    answer = await account.post("/send", {"target": targets, "message": "{name}", "delay": "30-40"})
    body = answer.json()
    assert (answer.status_code, body["target"]) == (200, ["628111111111", "628222222222", "628333333333"])
    assert len(body["id"]) == 3
    waiting = await account.api.bus.read_from(LATER.name, "kurir.later.>", 1, 10)
    later = [commands.decode(one.data) for one in waiting]
    assert [numbers.number_of(one.id) for one in later] == [int(one) for one in body["id"][1:]]
    assert [one.content.text for one in later if isinstance(one, SendMessage) and isinstance(one.content, Text)] == [
        "Bea",
        "Cid",
    ]
    times = [datetime.fromisoformat(one.headers["Nats-Schedule"].removeprefix("@at ")) for one in waiting]
    assert 29 <= times[0].timestamp() - began <= 45
    assert 29 <= (times[1] - times[0]).total_seconds() <= 41

    at = int(time.time()) + 3600
    scheduled = (await account.post("/send", {"target": "628111111111", "message": "x", "schedule": at})).json()
    assert scheduled["process"] == "waiting"
    (last,) = (await account.api.bus.read_from(LATER.name, "kurir.later.>", 1, 10))[2:]
    assert last.headers["Nats-Schedule"] == f"@at {datetime.fromtimestamp(at, UTC).isoformat()[:-6]}Z"


@pytest.mark.shows("fonnte", "POST /send", "file", "filename", "location", "choices", "data", "typing", "duration")
async def test_other_kinds(account: Account) -> None:
    common = {"target": "628123456789", "message": "Halo!"}
    forms = [
        await account.post("/send", data=common, files={"file": ("a.png", PNG)}),
        await account.post("/send", data={**common, "filename": "b.txt"}, files={"file": ("a.txt", b"some words")}),
        await account.post("/send", {**common, "location": "-7.98,112.62", "typing": True, "duration": 2}),
        await account.post("/send", {**common, "choices": "a,b", "pollname": "Which?"}),
        await account.post("/send", {"data": msgspec.json.encode([common, {**common, "message": "2"}]).decode()}),
    ]
    assert [answer.status_code for answer in forms] == [200] * 5, [answer.text for answer in forms]
    contents = [fact.content for _, fact in await account.api.events() if isinstance(fact, MessageQueued)]
    assert [type(content) for content in contents] == [Image, Document, Location, Poll, Text, Text]
    image, document = contents[:2]
    assert isinstance(image, Image)
    assert isinstance(document, Document)
    assert (image.caption, document.media.file_name) == ("Halo!", "b.txt")


@pytest.mark.shows("fonnte", "POST /send", "error 401", "error 400", "error 503", "error 500", "connectOnly")
@pytest.mark.shows("fonnte", "POST /send", "limit file 4 MB")
async def test_failures_have_the_documents_statuses(account: Account) -> None:
    wrong = await account.api.http.post("/send", json={}, headers={"Authorization": "wrong"})
    assert (wrong.status_code, wrong.json()) == (401, {"status": False, "reason": "Unauthorized: Invalid API Key."})
    nothing = await account.api.http.post("/send", json={})
    assert (nothing.status_code, nothing.json()) == (401, {"status": False, "reason": "Unauthorized: Invalid API Key."})
    cases = {
        "target invalid": {"target": "hello", "message": "x"},
        "input invalid": {"target": "628123456789"},
        "JSON format invalid": {"data": "{"},
        "url invalid": {"target": "628123456789", "url": "http://127.0.0.1:1/a.png"},
        "url unreachable": {"target": "628123456789", "url": "https://nowhere.invalid/a.png"},
    }
    for reason, fields in cases.items():
        answer = await account.post("/send", fields)
        body = answer.json()
        assert (answer.status_code, body["status"], body["reason"]) == (400, False, reason), answer.text
        assert isinstance(body["requestid"], int)
    large = await account.post("/send", data={"target": "1"}, files={"file": ("a.png", PNG + b"\0" * 4 * 1024 * 1024)})
    assert (large.status_code, large.json()["reason"]) == (400, "file size must under 4MB")
    no_json = await account.post("/send", content=b"{", headers={"Content-Type": "application/json"})
    assert (no_json.status_code, no_json.json()["reason"]) == (400, "JSON format invalid")
    nobody = await account.post("/send", {"target": "628125550101", "message": "x"})
    assert nobody.status_code == 500, nobody.text
    assert nobody.json()["reason"].startswith("Failed to send message: ")
    method = await account.api.http.put("/send", headers={"Authorization": account.token})
    assert (method.status_code, method.json()["reason"]) == (405, "method not allowed")


@pytest.mark.shows("fonnte", "POST /send", "error 503", "connectOnly")
async def test_an_offline_device_refuses_or_queues(idle: Account) -> None:
    fields = {"target": "628123456789", "message": "Halo!"}
    refused = await idle.post("/send", fields)
    assert (refused.status_code, refused.json()["reason"]) == (503, "request invalid on disconnected device")
    assert await idle.accepted() == []
    queued = await idle.post("/send", {**fields, "connectOnly": False})
    assert (queued.status_code, queued.json()["process"]) == (200, "pending")
    assert len(await idle.accepted()) == 1
    patient = {"Authorization": await key_with(idle, DialectOptions(when_offline="queue"))}
    assert (await idle.post("/send", fields, headers=patient)).status_code == 200
    assert (await idle.post("/send", {**fields, "connectOnly": True}, headers=patient)).status_code == 503
    to = {"to": "628123456789", "message": "Halo!"}
    assert (await idle.post("/api/send-media", {**to, "url": "x", "type": "gif"}, headers=patient)).status_code == 400
    assert len(await idle.accepted()) == 2


async def test_a_repeat_under_an_idempotency_key_is_the_same_message(idle: Account) -> None:
    fields = {"target": "628123456789", "message": "Halo!", "connectOnly": False}
    key = {"Idempotency-Key": "once"}
    first, second = [(await idle.post("/send", fields, headers=key)).json() for _ in range(2)]
    assert first["id"] == second["id"]
    assert first["requestid"] != second["requestid"]
    assert len(await idle.accepted()) == 1
    other = await idle.post("/send", {**fields, "message": "Other"}, headers=key)
    assert (other.status_code, other.json()["status"]) == (409, False)


@pytest.mark.shows("fonnte", "POST /send", "inboxid")
async def test_a_received_message_is_quoted_by_its_number(account: Account) -> None:
    echo = "628125550114"  # answers what it is told
    await account.post("/send", {"target": echo, "message": "Hi"})

    async def received() -> MessageUpserted | None:
        return next((fact for _, fact in await account.api.events() if isinstance(fact, MessageUpserted)), None)

    async def has_come() -> bool:
        return await received() is not None

    await until("the contact has answered", has_come)
    fact = await received()
    assert fact is not None
    number = numbers.inbox_number(fact.message_id)
    answer = await account.post("/send", {"target": echo, "message": "x", "inboxid": number, "connectOnly": True})
    assert answer.status_code == 200, answer.text
    # It was carried out, so its command is gone; the one of a message for later is there.
    at = int(time.time()) + 600
    await account.post("/send", {"target": echo, "message": "x", "inboxid": str(number), "schedule": at})
    (later,) = await account.api.bus.read_from(LATER.name, "kurir.later.>", 1, 10)
    command = commands.decode(later.data)
    assert isinstance(command, SendMessage)
    assert command.quote is not None
    assert (command.quote.key.whatsapp_id, command.quote.text) == (fact.whatsapp_id, "You wrote: Hi")


async def test_several_tokens_share_the_targets_out(account: Account) -> None:
    other = await account.tenant.device(pacePerMinute=0)
    await account.gateway.connect(account.tenant, other, "628999888777")
    tokens = f"{account.token},{await device_key(account.tenant, other)}"
    targets = ",".join(f"62812345678{n:02d}" for n in range(40))
    answer = await account.post("/send", {"target": targets, "message": "x"}, headers={"Authorization": tokens})
    assert (answer.status_code, len(answer.json()["id"])) == (200, 40), answer.text
    queued = [fact.device for _, fact in await account.api.events() if getattr(fact, "status", "") == "queued"]
    assert set(queued) == {account.device, other}
    stranger = await account.api.tenant()
    foreign = await device_key(stranger, await stranger.device())
    answer = await account.post("/send", {"target": "1"}, headers={"Authorization": f"{account.token},{foreign}"})
    assert answer.status_code == 401
