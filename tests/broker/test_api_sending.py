"""Accepting messages: what a 2xx means, what is refused and how it is told."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kurir.contracts import commands, streams
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS, Contact, LinkPreview, List, Location, Poll, Reaction, Style, Text
from kurir.contracts.events import MessageQueued, MessageStatusChanged
from kurir.contracts.records import Session
from kurir.runtime import keyvalue
from tests.support.api_server import Api, Client
from tests.support.conditions import until

PLACE = {"latitude": -6.2, "longitude": 106.8, "name": "Monas"}
MENU: dict[str, Any] = {
    "text": "What shall it be?",
    "button": "Menu",
    "sections": [{"title": "Warm", "rows": [{"id": "soto", "title": "Soto"}, {"id": "sate", "title": "Sate"}]}],
}


async def test_an_accepted_message_is_a_stored_command_and_then_an_event(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    answer = await tenant.send(device, to="0812 3456 7890", priority="high", expiresIn=60)
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "id": body["id"],
        "messageId": None,
        "deviceId": device,
        "to": "6281234567890@s.whatsapp.net",
        "status": "QUEUED",
        "timestamp": body["timestamp"],
    }
    (command,) = await api.commands()
    assert isinstance(command, SendMessage)
    assert (command.id, command.tenant, command.device, command.to) == (body["id"], tenant.id, device, body["to"])
    assert command.content == Text(text="Halo!")
    assert command.expires_at == command.accepted_at + timedelta(seconds=60)
    assert round(command.accepted_at.timestamp() * 1000) == body["timestamp"]
    (stored,) = await api.bus.read_from(streams.COMMANDS.name, "kurir.cmd.>", 1, 10)
    assert stored.subject.endswith(f".{tenant.id}.{device}.send-high")
    assert stored.headers["Nats-Msg-Id"] == body["id"]
    ((_, event),) = await api.events()
    assert isinstance(event, MessageQueued)
    assert (event.id, event.message_id, event.seq) == (f"{body['id']}-queued", body["id"], 0)


async def test_every_kind_is_accepted_at_the_root_and_under_api(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    common = {"deviceId": device, "to": "120363025246125486@g.us"}
    bodies: dict[str, dict[str, Any]] = {
        "send-location": PLACE,
        "send-contact": {"contacts": [{"name": "Ann", "phones": ["6281234567"]}]},
        "send-poll": {"question": "Lunch?", "options": ["yes", "no"], "selectable": 0},
        "send-list": MENU,
        "send-reaction": {"messageId": "3EB0", "emoji": "👍", "participant": "6281234567@s.whatsapp.net"},
    }
    for mount in ("", "/api"):
        for path, body in bodies.items():
            answer = await tenant.post(f"{mount}/messages/{path}", json={**common, **body})
            assert answer.status_code == 200, (path, answer.text)
    contents = [command.content for command in await api.commands() if isinstance(command, SendMessage)]
    assert [type(content) for content in contents] == [Location, Contact, Poll, List, Reaction] * 2


async def test_a_status_update_goes_to_nobody_but_its_audience(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    card: dict[str, Any] = {"to": STATUS, "text": "Open today", "background": "#008069", "audience": ["08123456789"]}
    answer = await tenant.send(device, **card)
    assert (answer.status_code, answer.json()["to"]) == (200, STATUS), answer.text
    (command,) = await api.commands()
    assert isinstance(command, SendMessage)
    assert (command.to, command.audience) == (STATUS, ("628123456789@s.whatsapp.net",))
    assert command.content == Text(text="Open today", style=Style(background="#008069"))
    place = await tenant.post("/messages/send-location", json={"deviceId": device, "to": STATUS, **PLACE})
    assert (place.status_code, place.json()["field"]) == (400, "to")
    paper = {"deviceId": device, "to": STATUS, "kind": "document", "url": "https://example.com/a.pdf"}
    answer = await tenant.post("/messages/send-media", json=paper)
    assert (answer.status_code, answer.json()["field"]) == (400, "to")


async def test_rows_of_a_list_are_told_apart_by_their_ids(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    row = {"id": "soto", "title": "Soto"}
    for sections, field in (
        ([{"rows": [row]}, {"rows": [row]}], "sections"),
        ([{"rows": [{**row, "price": 3}]}], "sections[0].rows[0].price"),
        ([{"rows": []}], "sections[0].rows"),
    ):
        body = {**MENU, "deviceId": device, "to": "6281234567890", "sections": sections}
        answer = await tenant.post("/messages/send-list", json=body)
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
    assert await api.commands() == []


async def test_quote_and_mentions_travel_as_whatsapp_names_them(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    quote = {"messageId": "3EB0AA", "participant": "6281111111111@s.whatsapp.net", "text": "before"}
    answer = await tenant.send(device, to="120363025246125486@g.us", quote=quote, mentions=["08123456789"])
    assert answer.status_code == 200
    (command,) = await api.commands()
    assert isinstance(command, SendMessage)
    assert command.mentions == ("628123456789@s.whatsapp.net",)
    assert command.quote is not None
    assert (command.quote.key.whatsapp_id, command.quote.key.chat) == ("3EB0AA", "120363025246125486@g.us")


WRONG: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"to": "hello"}, 400, "INVALID_RECIPIENT", "to"),
    ({"to": 5}, 400, "VALIDATION_ERROR", "to"),
    ({"text": ""}, 400, "VALIDATION_ERROR", "text"),
    ({"colour": "red"}, 400, "VALIDATION_ERROR", "colour"),
    ({"mentions": ["nobody"]}, 400, "INVALID_RECIPIENT", "mentions[0]"),
    ({"sendAt": "2020-01-01T00:00:00Z"}, 400, "VALIDATION_ERROR", "sendAt"),
    ({"sendAt": "2999-01-01T00:00:00Z"}, 400, "VALIDATION_ERROR", "sendAt"),
    ({"expiresIn": 0}, 400, "VALIDATION_ERROR", "expiresIn"),
    ({"deviceId": "dev_other"}, 404, "DEVICE_NOT_FOUND", None),
    ({"audience": ["08123456789"]}, 400, "VALIDATION_ERROR", "audience"),
    ({"background": "#008069"}, 400, "VALIDATION_ERROR", "background"),
    ({"font": 1}, 400, "VALIDATION_ERROR", "font"),
    ({"to": STATUS, "background": "green"}, 400, "VALIDATION_ERROR", "background"),
    ({"to": STATUS, "quote": {"messageId": "3EB0AA"}}, 400, "VALIDATION_ERROR", "quote"),
    ({"to": STATUS, "mentions": ["08123456789"]}, 400, "VALIDATION_ERROR", "mentions"),
    ({"to": STATUS, "audience": ["120363025246125486@g.us"]}, 400, "INVALID_RECIPIENT", "audience[0]"),
]


async def test_a_wrong_message_is_refused_by_field_and_nothing_is_stored(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    for change, status, code, field in WRONG:
        answer = await tenant.send(device, **change)
        told = (answer.status_code, answer.json()["code"], answer.json().get("field"))
        assert told == (status, code, field), (change, answer.text)
        assert answer.json()["error"] == answer.json()["message"]
    assert await api.commands() == []


async def test_a_wrong_choice_is_answered_with_what_may_be_chosen(tenant: Client) -> None:
    device = await tenant.device()
    wrong = {
        "priority": (await tenant.send(device, priority="urgent"), "bulk, high, normal"),
        "engine": (await tenant.post("/devices", json={"engine": "magic"}), "neonize, sandbox"),
        "direction": (await tenant.get("/messages?direction=up"), "inbound, outbound"),
    }
    for field, (answer, allowed) in wrong.items():
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
        assert answer.json()["message"].endswith(f"; allowed: {allowed}"), answer.text


async def test_a_body_that_is_no_json_or_too_long_is_refused(tenant: Client) -> None:
    no_json = await tenant.post("/messages/send-text", content=b"{")
    assert (no_json.status_code, no_json.json()["code"]) == (400, "INVALID_JSON")
    too_long = await tenant.post("/messages/send-text", content=b" " * (1024 * 1024 + 1))
    assert (too_long.status_code, too_long.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_the_limit_of_a_device_is_told_with_each_answer_and_kept_exactly(api: Api, tenant: Client) -> None:
    device = await tenant.device(ratePerMinute=5)
    began = datetime.now(UTC).timestamp()
    answers = await asyncio.gather(*(tenant.send(device) for _ in range(12)))
    ended = datetime.now(UTC).timestamp()
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"5"}
    # The minute may end while the test runs; then there are two windows of five.
    for reset in {answer.headers["X-RateLimit-Reset"] for answer in answers}:
        together = [answer for answer in answers if answer.headers["X-RateLimit-Reset"] == reset]
        left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in together if answer.status_code == 200]
        assert sorted(left, reverse=True) == [4, 3, 2, 1, 0][: len(together)]
    accepted = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer not in accepted:
            assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
            assert answer.headers["X-RateLimit-Remaining"] == "0"
            reset_at, retry_after = (int(answer.headers[name]) for name in ("X-RateLimit-Reset", "Retry-After"))
            assert 1 <= retry_after <= 60
            assert reset_at - ended - 1 <= retry_after <= reset_at - began + 1
    assert len(await api.commands()) == len(accepted)


async def test_one_device_at_its_limit_does_not_slow_another(tenant: Client) -> None:
    slow, other = await tenant.device(ratePerMinute=1), await tenant.device()
    answers = [(await tenant.send(slow)).status_code for _ in range(3)]
    assert answers.count(429) >= 1
    assert (await tenant.send(other)).status_code == 200


async def test_a_full_backlog_is_429_and_nothing_more_is_stored(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    config = (await api.bus.js.stream_info("COMMANDS")).config
    config.max_msgs_per_subject = 2
    await api.bus.js.update_stream(config)
    assert [(await tenant.send(device)).status_code for _ in range(2)] == [200, 200]
    refused = await tenant.send(device)
    assert (refused.status_code, refused.json()["code"]) == (429, "BACKLOG_FULL")
    assert int(refused.headers["Retry-After"]) > 0
    assert "X-RateLimit-Limit" in refused.headers
    assert (await tenant.send(device, priority="high")).status_code == 200, "each lane has a backlog of its own"
    assert len(await api.commands()) == 3


async def test_a_device_whose_owner_says_that_its_backlog_is_full_gets_no_more(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    full = Session(device=device, tenant=tenant.id, state="disconnected", at=datetime.now(UTC), is_backlog_full=True)
    await keyvalue.put(api.bus, "sessions", f"{tenant.id}.{device}", msgspec.json.encode(full))

    async def is_refused() -> bool:
        answer = await tenant.send(device)
        return answer.status_code == 429 and answer.json()["code"] == "BACKLOG_FULL" and "Retry-After" in answer.headers

    await until("it is refused", is_refused)


async def test_a_message_for_later_waits_on_the_bus_and_can_be_taken_back(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    send_at = datetime.now(UTC) + timedelta(hours=1)
    answer = await tenant.send(device, sendAt=send_at.isoformat())
    assert (answer.status_code, answer.json()["status"]) == (200, "SCHEDULED")
    assert datetime.fromisoformat(answer.json()["sendAt"]) == send_at
    message = answer.json()["id"]
    waiting = await api.bus.last_by_subject("LATER", f"kurir.later.send.{message}")
    assert waiting is not None
    assert waiting.headers["Nats-Schedule-Target"] == "kurir.due.send"
    assert datetime.fromisoformat(waiting.headers["Nats-Schedule"].removeprefix("@at ")) == send_at
    assert commands.decode(waiting.data).id == message
    assert await api.commands() == []

    other = await api.tenant()
    assert (await other.delete(f"/messages/{message}")).status_code in (404, 503)
    assert (await tenant.delete(f"/messages/{message}")).status_code == 204
    assert await api.bus.last_by_subject("LATER", f"kurir.later.send.{message}") is None
    facts = [event for _, event in await api.events()]
    assert [getattr(fact, "status", None) for fact in facts] == ["scheduled", "canceled"]
    assert isinstance(facts[1], MessageStatusChanged)


async def test_the_server_fires_a_message_when_its_time_has_come(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    answer = await tenant.send(device, sendAt=(datetime.now(UTC) + timedelta(seconds=3)).isoformat())
    (fired,) = await api.bus.pull("LATER", streams.DUE_CONSUMER, batch=1, expires_s=10)
    command = commands.decode(fired.data)
    assert command.id == answer.json()["id"]
    fired.ack()


async def test_a_trace_goes_from_the_request_to_command_and_event(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await tenant.send(device, headers={"traceparent": trace, "X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    (command,) = await api.bus.read_from(streams.COMMANDS.name, "kurir.cmd.>", 1, 10)
    (event,) = await api.bus.read_from(streams.EVENTS.name, "kurir.evt.>", 1, 10)
    assert command.headers["traceparent"] == event.headers["traceparent"] == trace
    assert event.headers["ce-type"] == "send.message.queued"


async def test_a_text_asks_for_a_preview_or_brings_its_own(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    link, given = "https://shop.example/1", {"url": "https://shop.example/1", "title": "Thing"}
    await tenant.send(device, text=link)
    await tenant.send(device, text=link, linkPreview=True)
    await tenant.send(device, text=f"see {link}", preview={**given, "image": "https://shop.example/1.png"})
    contents = [command.content for command in await api.commands() if isinstance(command, SendMessage)]
    assert contents == [
        Text(text=link),
        Text(text=link, link_preview=True),
        Text(text=f"see {link}", preview=LinkPreview(url=link, title="Thing", image="https://shop.example/1.png")),
    ]


@pytest.mark.parametrize(
    ("preview", "field"),
    [
        ({"url": "https://other.example", "title": "Thing"}, "preview.url"),
        ({"url": "javascript:alert(1)", "title": "Thing"}, "preview.url"),
        ({"url": "https://shop.example/1", "title": ""}, "preview.title"),
        ({"url": "https://shop.example/1"}, "preview"),
        ({"url": "https://shop.example/1", "title": "Thing", "image": "file:///etc/passwd"}, "preview.image"),
    ],
)
async def test_a_preview_that_cannot_be_shown_is_refused_and_named(
    api: Api, tenant: Client, preview: dict[str, str], field: str
) -> None:
    refused = await tenant.send(await tenant.device(), text="see https://shop.example/1", preview=preview)
    assert (refused.status_code, refused.json()["code"]) == (400, "VALIDATION_ERROR")
    assert field in refused.text
    assert await api.commands() == []
