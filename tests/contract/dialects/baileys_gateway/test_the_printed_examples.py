"""What the document prints, sent and answered as printed."""

import time
from typing import Any

import pytest

from tests.contract.dialects.baileys_gateway.conftest import Bot
from tests.support.printed_examples import assert_as_printed, example

NAME = "baileys_gateway"
VARYING = {"uptime", "memory.used", "memory.total", "system.uptime", "system.memory_usage_mb"}
FILE = ("phone", "file", "answer.data.type", "answer.data.file_size_kb")
DATA = ("answer.data.phone", "answer.data.type", "answer.data.timestamp")
SENDS = {
    "text": ("phone", "message", "answer.status", "answer.message", "answer.data.message", *DATA),
    "image": ("caption", "answer.data.filename", "answer.data.caption", *FILE, *DATA),
    "document": ("caption", *FILE),
    "audio": FILE,
    "video": ("caption", *FILE),
    "sticker": FILE,
}
"""Examples of sends, and what each shows."""


def shown(name: str) -> pytest.MarkDecorator:
    return pytest.mark.shows(NAME, f"POST /api/send-{'message' if name == 'text' else name}", *SENDS[name])


async def replayed(bot: Bot, name: str) -> dict[str, Any]:
    """The answer, which has the status and the form that are printed."""
    printed = example(NAME, name)
    answer = await printed.sent_by(bot.open.http)
    assert answer.status_code == printed.status, answer.text
    assert_as_printed(answer.json(), printed.body, varying=VARYING)
    assert not [header for header in answer.headers if "ratelimit" in header.lower() or header == "retry-after"]
    return dict(answer.json())


@pytest.mark.parametrize("name", [pytest.param(name, marks=shown(name)) for name in SENDS])
async def test_messages_are_sent_and_answered_as_printed(bot: Bot, name: str) -> None:
    answer = await replayed(bot, name)
    assert "status" not in answer["data"], "WhatsApp has it"
    assert "caption" not in answer["data"] or name in ("image", "document", "video")


@pytest.mark.shows(
    *(NAME, "GET /", "answer.service", "answer.status", "answer.bot_connected", "answer.version"),
    *("answer.environment", "answer.features", "answer.supported_formats", "answer.file_size_limits"),
    *("answer.endpoints", "answer.limits", "answer.uptime", "answer.memory"),
)
@pytest.mark.shows(
    *(NAME, "GET /api/status", "answer.bot_connected", "answer.connection_attempts", "answer.max_attempts"),
    *("answer.thread_alive", "answer.upload_folder", "answer.session_folder", "answer.environment"),
    *("answer.features", "answer.supported_formats", "answer.system", "answer.message"),
)
@pytest.mark.shows(
    *(NAME, "GET /api/health", "answer.status", "answer.timestamp", "answer.uptime", "answer.environment"),
    "answer.services",
)
@pytest.mark.shows(NAME, "GET /api/qr", "answer.status", "answer.message", "already connected")
async def test_a_connected_bot_tells_of_itself_as_printed(bot: Bot) -> None:
    for name in ("service_document", "status", "health_connected", "qr_not_needed"):
        await replayed(bot, name)


@pytest.mark.shows(NAME, "GET /api/health", "answer.services")
@pytest.mark.shows(NAME, "POST /api/send-message", "error 503")
async def test_a_bot_that_is_not_connected_says_so_as_printed(idle_bot: Bot) -> None:
    for name in ("health_disconnected", "error_not_connected"):
        await replayed(idle_bot, name)
    assert await idle_bot.gateway.api.commands() == [], "nothing waits until it is connected"


@pytest.mark.shows(NAME, "POST /api/send-message", "error 400")
@pytest.mark.shows(NAME, "POST /api/send-image", "error 400")
@pytest.mark.shows(NAME, "GET /api/health", "error 401")
@pytest.mark.shows(NAME, "any other path", "error 404")
async def test_failures_are_told_as_printed(idle_bot: Bot) -> None:
    for name in ("error_phone_required", "error_file_type", "error_unauthorized", "error_not_found"):
        await replayed(idle_bot, name)


@pytest.mark.shows(NAME, "POST /api/send-message", "limit 100/3600s per IP", "error 429")
async def test_the_hundred_and_first_request_of_an_address_in_an_hour_is_refused_as_printed(idle_bot: Bot) -> None:
    began, accepted = time.time() // 3600, 0
    while (answer := await idle_bot.open.http.post("/api/send-message", json={})).status_code != 429:
        assert answer.status_code == 400
        accepted += 1
        assert accepted <= 200, "a hundred in the hour that ended meanwhile, and a hundred in the next"
    assert accepted == 100 or time.time() // 3600 > began
    await replayed(idle_bot, "error_rate_limit")
    assert (await idle_bot.open.http.get("/api/health")).status_code == 200, "only sends are counted"


@pytest.mark.shows(NAME, "POST /api/send-message", "error 500")
async def test_what_whatsapp_refuses_is_told_with_the_reason(bot: Bot) -> None:
    printed = example(NAME, "error_not_sent")
    answer = await bot.open.http.post("/api/send-message", json={"phone": "628125550102", "message": "Hi"})
    assert answer.status_code == printed.status
    told, says = answer.json(), printed.body["message"].partition(": ")[0]
    assert told.pop("message").startswith(f"{says}: The engine failed to send the message")
    assert told["status"] == "error"
