"""What the document prints, sent and answered as printed."""

import re
from typing import Any

import httpx
import pytest

from kurir.contracts.content import Document, Image, Text
from kurir.runtime.mongo import Mongo
from tests.contract.dialects.rk_connect.conftest import Project, project_of
from tests.support.api_server import Api
from tests.support.printed_examples import assert_as_printed, example, file_of

NAME = "rk_connect"
SEND = "POST /api/v1/send"
STATUS = "GET /api/v1/status/{uuid}"


async def replayed(
    project: Project, name: str, path: str | None = None, varying: tuple[str, ...] = ()
) -> httpx.Response:
    printed = example(NAME, name)
    request: dict[str, Any] = printed.request
    options: dict[str, Any] = {"json": request["json"]} if "json" in request else {}
    if "form" in request:
        file = request["file"]
        data = file_of(file["name"], file["size_kb"] * 1024)
        options = {"data": request["form"], "files": {"media": (file["name"], data)}}
    answer = await project.request(
        request["method"], path or request["path"], headers=request.get("headers", {}), **options
    )
    assert answer.status_code == printed.status, answer.text
    assert_as_printed(answer.json(), printed.body, varying=varying)
    return answer


@pytest.mark.shows(
    NAME, SEND, "X-API-KEY", "X-DEVICE-CODE", "X-TIMESTAMP", "X-SIGNATURE", "recipient", "type", "type text", "message"
)
@pytest.mark.shows(NAME, SEND, "answer.success", "answer.data.id", "answer.data.status", "answer.data.device")
@pytest.mark.shows(NAME, SEND, "media", "type image", "type document", "answer.meta.server_id")
async def test_messages_are_sent_and_answered_as_printed(project: Project) -> None:
    for name in ("send_text", "send_image", "send_document"):
        answer = await replayed(project, name, varying=("data.id",))
        assert answer.json()["meta"] == {"server_id": "node-01"}
    text, image, document = await project.messages()
    assert text.content == Text(text="Hello from RK Connect")
    assert {message.to for message in (text, image, document)} == {"6281234567890@s.whatsapp.net"}
    assert {message.device for message in (text, image, document)} == {project.device}
    assert isinstance(image.content, Image)
    assert (image.content.caption, image.content.media.mimetype) == ("Promo today", "image/jpeg")
    assert isinstance(document.content, Document)
    assert (document.content.caption, document.content.media.file_name) == ("Invoice attached", "invoice.pdf")


@pytest.mark.shows(
    NAME,
    STATUS,
    "X-API-KEY",
    "X-TIMESTAMP",
    "X-SIGNATURE",
    "answer.data.id",
    "answer.data.status",
    "answer.data.recipient",
    "answer.data.device_code",
    "answer.data.created_at",
    "answer.data.delivered_at",
    "answer.data.failed_at",
    "answer.data.error_message",
)
async def test_the_status_of_a_message_is_told_as_printed(project: Project, mongo: Mongo) -> None:
    message = (await project.send()).json()["data"]["id"]
    await project.tell(message, "sent")
    await project.api.write_history(mongo)
    path = f"/api/v1/status/{message}"
    answer = await replayed(project, "status_sent", path, varying=("data.id", "data.created_at"))
    data = answer.json()["data"]
    assert data["id"] == message
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+07:00", data["created_at"])


@pytest.mark.shows(NAME, SEND, "error 403 QUOTA_EXCEEDED", "limit 3k/month")
async def test_a_used_up_quota_is_told_as_printed(api: Api) -> None:
    project = await project_of(api, await api.tenant(messagesPerMonth=1))
    assert (await project.send()).status_code == 200
    await replayed(project, "error_quota")
    assert len(await project.messages()) == 1
