"""Who may send what by the Baileys gateway's paths, and what becomes of it."""

from typing import Any

import httpx
import pytest

from kurir.api.legacy import baileys_gateway
from kurir.api.media.kinds import MIB
from kurir.contracts.content import Audio, Document, Image, Sticker, Video
from kurir.contracts.events import MessageQueued
from tests.broker.test_api_for_other_clients import import_keys
from tests.contract.dialects.baileys_gateway.conftest import Bot
from tests.support.api_server import Client, running_api
from tests.support.conditions import until
from tests.support.connected_devices import Gateway
from tests.support.printed_examples import file_of

NAME = "baileys_gateway"
TEXT = {"phone": "6281234567890", "message": "Hello!"}


async def accepted(bot: Bot) -> list[MessageQueued]:
    """Every message that was accepted, in order."""
    return [event for _, event in await bot.gateway.api.events() if isinstance(event, MessageQueued)]


async def upload(bot: Bot, path: str, name: str, data: bytes, **fields: str) -> httpx.Response:
    return await bot.open.http.post(path, data={"phone": "6281234567890", **fields}, files={"file": (name, data)})


def failure(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() >= {"status", "message", "timestamp"}, body
    assert body["status"] == "error"
    return answer.status_code, body["message"]


# --- who asks


@pytest.mark.shows(NAME, "POST /api/send-message", "X-API-Key", "Authorization")
@pytest.mark.shows(NAME, "GET /api/status", "X-API-Key", "Authorization", "answer.features")
async def test_a_key_stands_in_either_header(bot: Bot) -> None:
    http, key = bot.gateway.api.http, bot.tenant.key
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        answer = await http.post("/api/send-message", json=TEXT, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "success"), answer.text
        status = await http.get("/api/status", headers=headers)
        assert status.json()["features"]["api_authentication"] is True
        assert (await http.get("/api/health", headers=headers)).status_code == 200


@pytest.mark.shows(NAME, "POST /api/send-message", "error 401")
async def test_without_a_key_nothing_is_done_unless_the_operator_lets_it(bot: Bot) -> None:
    http = bot.gateway.api.http
    unauthorized = (401, "Unauthorized: Invalid or missing API key")
    for headers in ({}, {"X-API-Key": "nonsense"}, {"Authorization": "Bearer nonsense"}):
        assert failure(await http.post("/api/send-message", json=TEXT, headers=headers)) == unauthorized
        for path in ("/api/status", "/api/health", "/api/qr"):
            assert failure(await http.get(path, headers=headers)) == unauthorized
        for kind in ("image", "document", "audio", "video", "sticker"):
            assert failure(await http.post(f"/api/send-{kind}", headers=headers)) == unauthorized
    assert failure(await bot.open.http.post("/api/send-message", json=TEXT, headers={"X-API-Key": "k"})) == unauthorized
    assert await accepted(bot) == []


async def test_another_tenants_key_reaches_no_bot_but_its_own(bot: Bot) -> None:
    other = await bot.gateway.api.tenant()
    assert (await other.get("/api/health")).json()["services"]["whatsapp_bot"] == "disconnected"
    assert (await other.get("/")).json()["bot_connected"] is False
    status, message = failure(await other.post("/api/send-message", json=TEXT))
    assert (status, message.partition(":")[0]) == (503, "Bot not connected")
    assert failure(await other.get("/api/qr"))[0] == 503
    form = {"data": {"phone": "62812"}, "files": {"file": ("a.jpg", file_of("a.jpg", 100))}}
    assert failure(await other.post("/api/send-image", **form))[0] == 503
    assert await accepted(bot) == []
    assert await bot.gateway.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}, "no file is kept"


async def test_a_key_that_is_bound_to_a_device_means_that_one(bot: Bot) -> None:
    second = await bot.tenant.device()
    assert failure(await bot.tenant.post("/api/send-message", json=TEXT))[0] == 503, "it could be either"
    operator = bot.gateway.api.operator
    made = await operator.post(f"/tenants/{bot.tenant.id}/keys", json={"name": "bot", "deviceId": bot.device})
    bound = Client(bot.gateway.api.http, made.json()["apiKey"])
    assert (await bound.post("/api/send-message", json=TEXT)).status_code == 200
    assert [command.device for command in await accepted(bot)] == [bot.device]
    assert second != bot.device


@pytest.mark.shows(NAME, "GET /api/qr", "answer.qr", "answer.status")
async def test_a_device_that_is_not_linked_shows_its_code_when_it_is_asked_for(idle_bot: Bot) -> None:
    answer = await idle_bot.open.http.get("/api/qr")
    assert (answer.status_code, answer.json()["message"]) == (200, "QR code available for scanning")
    assert answer.json()["qr"].startswith("kurir-sandbox:")
    device = await idle_bot.tenant.get(f"/devices/{idle_bot.device}")
    assert (await idle_bot.open.http.get("/api/qr")).json() == answer.json(), "asking again changes nothing"
    assert (await idle_bot.tenant.get(f"/devices/{idle_bot.device}")).json() == device.json()
    assert (await idle_bot.open.http.get("/api/health")).json()["services"]["whatsapp_bot"] == "disconnected"
    await idle_bot.tenant.post(f"/devices/{idle_bot.device}/sandbox/scan")
    await idle_bot.gateway.until_status(idle_bot.tenant, idle_bot.device, "CONNECTED")
    assert (await idle_bot.open.http.get("/api/qr")).json() == {
        "status": "success",
        "message": "Bot already connected, no QR needed",
    }


# --- what arrives


@pytest.mark.shows(NAME, "POST /api/send-message", "number 6281…", "number +6281…", "number 081…")
async def test_numbers_of_any_form_are_read_by_the_tenants_country(bot: Bot) -> None:
    for phone in ("6281234567890", "+6281234567890", "081234567890", "0812-3456-7890", 6281234567890):
        answer = await bot.open.http.post("/api/send-message", json={"phone": phone, "message": "Hi"})
        assert (answer.status_code, answer.json()["data"]["phone"]) == (200, phone)
    assert {command.to for command in await accepted(bot)} == {"6281234567890@s.whatsapp.net"}
    for phone in ("12", "nobody", "@"):
        answer = await bot.open.http.post("/api/send-message", json={"phone": phone, "message": "Hi"})
        assert failure(answer) == (400, "Invalid phone number")


@pytest.mark.shows(NAME, "POST /api/send-audio", "voice note")
async def test_files_are_sent_as_their_kind_with_captions_where_there_are_any(bot: Bot) -> None:
    for kind, name in (
        ("image", "a.JPG"),
        ("document", "b.pdf"),
        ("audio", "c.mp3"),
        ("video", "d.mp4"),
        ("sticker", "e.webp"),
    ):
        answer = await upload(bot, f"/api/send-{kind}", name, file_of(name, 700), caption="Look!")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["data"]["filename"], answer.json()["data"]["file_size_kb"]) == (name, 0.68)
    image, document, audio, video, sticker = [command.content for command in await accepted(bot)]
    assert isinstance(image, Image)
    assert isinstance(document, Document)
    assert isinstance(video, Video)
    assert {image.caption, document.caption, video.caption} == {"Look!"}
    assert document.media.file_name == "b.pdf"
    assert isinstance(audio, Audio)
    assert audio.voice
    assert isinstance(sticker, Sticker)


async def test_the_file_of_a_message_that_was_accepted_stays_whatever_is_answered(bot: Bot) -> None:
    data = file_of("a.jpg", 700)
    refused = await upload(bot, "/api/send-image", "a.jpg", data, phone="628125550102")
    assert failure(refused)[0] == 500
    (message,) = await accepted(bot)
    assert isinstance(message.content, Image)
    stored = await bot.tenant.get(f"/media/{message.content.media.object.partition('/')[2]}")
    assert stored.content == data


async def test_a_text_may_come_as_a_form(bot: Bot) -> None:
    forms: list[dict[str, Any]] = [{"data": TEXT}, {"files": {name: (None, value) for name, value in TEXT.items()}}]
    for options in forms:
        assert (await bot.open.http.post("/api/send-message", **options)).status_code == 200
    assert len(await accepted(bot)) == 2


async def test_what_whatsapp_does_not_confirm_in_time_is_queued(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baileys_gateway, "SENT_WITHIN_S", 0.0)
    answer = await bot.open.http.post("/api/send-message", json=TEXT)
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "queued")


async def test_a_key_may_let_messages_wait_for_a_bot_that_is_not_connected(
    idle_bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baileys_gateway, "SENT_WITHIN_S", 0.0)
    line = "key-of-a-client-that-can-wait\n"
    taken = await import_keys(line, idle_bot.gateway.api, idle_bot.tenant, "--option", "when_offline=queue")
    assert taken.exit_code == 0, taken.stderr
    queueing = Client(idle_bot.gateway.api.http, line.strip())
    assert (await queueing.post("/api/send-message", json=TEXT)).json()["data"]["status"] == "queued"
    assert len(await accepted(idle_bot)) == 1


# --- what is wrong


@pytest.mark.shows(NAME, "POST /api/send-sticker", "limit 1MB")
@pytest.mark.shows(NAME, "POST /api/send-image", "limit 16MB")
@pytest.mark.shows(NAME, "POST /api/send-audio", "limit 16MB")
@pytest.mark.shows(NAME, "POST /api/send-document", "limit 32MB")
@pytest.mark.shows(NAME, "POST /api/send-video", "limit 64MB")
async def test_a_file_may_be_as_large_as_the_document_says_and_no_larger(idle_bot: Bot) -> None:
    most_of = {"sticker": ("a.webp", 1), "image": ("a.png", 16), "audio": ("a.ogg", 16), "video": ("a.mp4", 64)}
    for kind, (name, most) in {**most_of, "document": ("a.pdf", 32)}.items():
        one_more = file_of(name, most * MIB + 1)
        answer = await upload(idle_bot, f"/api/send-{kind}", name, one_more)
        assert failure(answer) == (400, f"File too large. Maximum size: {most}MB"), kind
        if most <= 16:
            answer = await upload(idle_bot, f"/api/send-{kind}", name, one_more[:-1])
            assert failure(answer) == (503, "Bot not connected"), "it would be sent"
    assert await idle_bot.gateway.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}, "no file is kept"


@pytest.mark.shows(NAME, "POST /api/send-audio", "error 400")
@pytest.mark.shows(NAME, "POST /api/send-video", "error 400")
@pytest.mark.shows(NAME, "POST /api/send-document", "error 400")
@pytest.mark.shows(NAME, "POST /api/send-sticker", "error 400")
async def test_a_file_that_is_not_what_its_name_says_is_refused_as_one_of_another_name(idle_bot: Bot) -> None:
    allowed = '["mp3","wav","ogg","m4a","aac","flac"]'
    for name, data in (("a.mp3", b"MZ\x90\x00" + bytes(100)), ("a.exe", file_of("a.mp3", 600)), ("a", b"x")):
        answer = await upload(idle_bot, "/api/send-audio", name, data)
        assert failure(answer) == (400, f"Invalid file type. Allowed: {allowed}")
    for kind in ("video", "document", "sticker"):
        answer = await upload(idle_bot, f"/api/send-{kind}", "a.png", file_of("a.png", 100))
        assert failure(answer)[1].startswith("Invalid file type. Allowed: [")


async def test_what_is_missing_is_named(idle_bot: Bot) -> None:
    http = idle_bot.open.http
    assert failure(await http.post("/api/send-image", data={"phone": "62812"})) == (400, "File required")
    assert failure(await http.post("/api/send-image", files={"file": ("a.jpg", file_of("a.jpg", 99))})) == (
        400,
        "Phone number required",
    )
    assert failure(await http.post("/api/send-message", json={"phone": "62812"})) == (400, "Message required")
    assert failure(await upload(idle_bot, "/api/send-image", "a.jpg", b""))[0] == 400
    for body in (b"{", b"[]", b"\xff", b'"x"', b'{"a":' + b"[" * 200_000):
        answer = await http.post("/api/send-message", content=body, headers={"Content-Type": "application/json"})
        assert failure(answer)[0] == 400
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert failure(await http.post("/api/send-image", content=b"nonsense", headers=broken))[0] == 400


@pytest.mark.shows(NAME, "any other path", "error 404")
async def test_unknown_paths_and_methods_are_told_in_the_words_of_the_path(idle_bot: Bot) -> None:
    http = idle_bot.open.http
    for method, path in (
        ("GET", "/nothing"),
        ("POST", "/api/nothing"),
        ("PUT", "/api/send-image"),
        ("GET", "/api/x/y"),
    ):
        assert failure(await http.request(method, path)) == (404, "Endpoint not found")
    native = await http.get("/devices/x/nothing")
    assert (native.status_code, native.json()["code"]) == (404, "NOT_FOUND")


# --- where several gateways have one path


@pytest.mark.shows("fonnte", "POST /api/send-message", "to", "message", "answer.id", "answer.timestamp", "error 401")
async def test_the_same_path_speaks_the_words_of_the_other_gateway_to_its_clients(bot: Bot) -> None:
    http, key = bot.gateway.api.http, bot.tenant.key
    answer = await http.post(
        "/api/send-message",
        json={"to": "628123456789", "message": "Halo"},
        headers={"Authorization": f"Bearer {key}"},
    )
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["success"], body["message"], body["to"]) == (True, "Message dispatched successfully", "628123456789")
    assert list(body) == ["success", "message", "id", "to", "timestamp"]
    for fields, headers in (({"to": "628"}, {}), ({}, {"Authorization": "Bearer wa_0123456789"})):
        refused = await http.post("/api/send-message", json=fields, headers=headers)
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized: Invalid API Key."})


@pytest.mark.shows("evolution", "GET /", "apikey", "answer.status", "answer.message")
async def test_the_root_answers_evolutions_clients_as_evolution_does(gateway: Gateway) -> None:
    http = gateway.api.http
    welcome = (await http.get("/", headers={"apikey": "k"})).json()
    assert (welcome["status"], welcome["message"]) == (200, "Welcome to the Evolution API, it is working!")
    document = (await http.get("/")).json()
    assert (document["status"], document["bot_connected"]) == ("running", False)
    assert failure(await http.get("/", headers={"X-API-Key": "nonsense"}))[0] == 401


async def test_the_operator_says_whose_words_a_host_speaks(gateway: Gateway) -> None:
    async with running_api(gateway.nats_url, hosts="evo.example.com=evolution, wa.example.com=fonnte") as api:
        assert (await api.http.get("/", headers={"Host": "evo.example.com:8080"})).json()["status"] == 200
        refused = await api.http.post("/api/send-message", json={}, headers={"Host": "WA.example.com"})
        assert refused.json() == {"error": "Unauthorized: Invalid API Key."}


# --- the limit of an address


@pytest.mark.shows(NAME, "POST /api/send-message", "limit 100/3600s per IP")
async def test_addresses_are_counted_apart_as_far_as_trusted_proxies_tell_them(gateway: Gateway) -> None:
    async def statuses(http: httpx.AsyncClient) -> list[int]:
        addresses = ("203.0.113.1", "203.0.113.2", "203.0.113.1")
        return [
            (await http.post("/api/send-message", json={}, headers={"X-Forwarded-For": address})).status_code
            for address in addresses
        ]

    async with running_api(gateway.nats_url, requests_per_hour=1, trusted_proxies="127.0.0.0/8") as api:
        assert await statuses(api.http) == [401, 401, 429]
    async with running_api(gateway.nats_url, requests_per_hour=1) as api:
        assert await statuses(api.http) == [401, 429, 429], "nobody is believed unless the operator says so"
    async with running_api(gateway.nats_url, requests_per_hour=0) as api:
        assert await statuses(api.http) == [401, 401, 401]
        assert (await api.http.get("/")).json()["features"]["rate_limiting"] == "❌ Disabled"


async def test_the_limit_counts_at_all_replicas_together(gateway: Gateway) -> None:
    async with (
        running_api(gateway.nats_url, requests_per_hour=2) as one,
        running_api(gateway.nats_url, requests_per_hour=2) as other,
    ):
        answers = [await api.http.post("/api/send-message", json={}) for api in (one, other, one)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]


async def test_a_webhook_shows_in_the_features(bot: Bot) -> None:
    await bot.tenant.post("/webhooks", json={"url": "https://example.com/hook", "deviceId": bot.device})

    async def shows() -> bool:
        return bool((await bot.open.http.get("/api/status")).json()["features"]["webhooks"])

    await until("the webhook is known", shows)
    assert (await bot.open.http.get("/")).json()["features"]["webhooks"] == "✅ Enabled"
