"""What may be sent, what is refused and how, and what a repeat is."""

import asyncio
import io
import json
import time
import zipfile
from typing import Any

import pytest

from kurir.contracts.content import Audio, Document, Image, Media, Text, Video, media_of
from kurir.runtime.mongo import Mongo
from tests.contract.dialects.rk_connect.conftest import CODE, SENT, Project, failure, project_of
from tests.contract.dialects.rk_connect.test_signatures import made_by_command_line
from tests.support.api_server import Api
from tests.support.nats_server import NatsServer
from tests.support.printed_examples import BEGINNINGS

NAME = "rk_connect"
SEND = "POST /api/v1/send"
PNG, JPEG, WEBP, PDF, MP4, MP3, OGG = (BEGINNINGS[one] for one in ("png", "jpg", "webp", "pdf", "mp4", "mp3", "ogg"))
DOC = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def docx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hi")
    return buffer.getvalue()


FILES: list[tuple[str, str, bytes, type, str]] = [
    ("image", "a.jpeg", JPEG, Image, "image/jpeg"),
    ("image", "a.png", PNG, Image, "image/png"),
    ("image", "a.webp", WEBP, Image, "image/webp"),
    ("video", "a.mp4", MP4, Video, "video/mp4"),
    ("audio", "a.mp3", MP3, Audio, "audio/mpeg"),
    ("audio", "a.ogg", OGG, Audio, "audio/ogg"),
    ("document", "a.pdf", PDF, Document, "application/pdf"),
    ("document", "a.doc", DOC, Document, "application/msword"),
    ("document", "a.docx", docx(), Document, DOCX_TYPE),
    ("document", "a.png", PNG, Document, "image/png"),
    ("document", "a.mp4", MP4, Document, "video/mp4"),
]


@pytest.mark.shows(NAME, SEND, "media", "media types", "type image", "type document", "type video", "type audio")
async def test_each_type_of_file_is_sent_as_what_its_bytes_are(project: Project) -> None:
    for type_, name, data, _, _ in FILES:
        answer = await project.upload(type_, name, data, fields={"message": "Promo today"})
        assert answer.status_code == 200, (name, answer.text)
    contents = [message.content for message in await project.messages()]
    assert [type(content) for content in contents] == [kind for _, _, _, kind, _ in FILES]
    media = [media_of(content) for content in contents]
    assert [one.mimetype for one in media if one] == [mimetype for *_, mimetype in FILES]
    assert [getattr(content, "caption", "none of sound") for content in contents].count("Promo today") == 9
    assert isinstance(media[0], Media)
    stored = await project.tenant.get(f"/media/{media[0].object.partition('/')[2]}")
    assert stored.content == JPEG


@pytest.mark.shows(NAME, SEND, "media", "error 415 UNSUPPORTED_MEDIA_TYPE", "error 413 MEDIA_TOO_LARGE")
async def test_a_file_of_another_type_or_too_large_is_refused_and_not_kept(project: Project) -> None:
    for type_, name, data in (
        ("image", "a.gif", b"GIF89a" + bytes(20)),
        ("document", "a.zip", docx()),
        ("document", "a.pdf", b"\x7fELF" + bytes(60)),
        ("image", "a.jpg", PDF),
        ("video", "a.mp4", PNG),
        ("audio", "a.mp3", b"RIFF\x24\x00\x00\x00WAVEfmt "),
    ):
        answer = await project.upload(type_, name, data)
        assert failure(answer) == (415, "UNSUPPORTED_MEDIA_TYPE"), (name, answer.text)
        assert list(answer.json()["errors"]) == ["media"]
    large = await project.upload("image", "a.png", PNG.ljust(17 * 1024 * 1024, b"\0"))
    assert failure(large) == (413, "MEDIA_TOO_LARGE")
    assert failure(await project.send(content=b" " * (1024 * 1024 + 1))) == (413, "MEDIA_TOO_LARGE")
    assert await project.messages() == []
    assert await project.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}


WRONG: list[tuple[dict[str, Any], tuple[int, str], str]] = [
    ({"recipient": None}, (422, "VALIDATION_ERROR"), "recipient"),
    ({"recipient": {"to": "62"}}, (422, "VALIDATION_ERROR"), "recipient"),
    ({"recipient": "hello"}, (422, "INVALID_RECIPIENT"), "recipient"),
    ({"recipient": "123"}, (422, "INVALID_RECIPIENT"), "recipient"),
    ({"type": "sticker"}, (422, "INVALID_MESSAGE_TYPE"), "type"),
    ({"type": "image"}, (422, "MEDIA_REQUIRED"), "media"),
    ({"message": ""}, (422, "VALIDATION_ERROR"), "message"),
    ({"message": ["hi"]}, (422, "VALIDATION_ERROR"), "message"),
    ({"payload": "x"}, (422, "VALIDATION_ERROR"), "payload"),
    ({"payload": {"x": "y" * 20_000}}, (422, "VALIDATION_ERROR"), "payload"),
]


@pytest.mark.shows(NAME, SEND, "recipient", "error 422 VALIDATION_ERROR", "error 422 INVALID_RECIPIENT")
@pytest.mark.shows(NAME, SEND, "type", "error 422 INVALID_MESSAGE_TYPE", "error 422 MEDIA_REQUIRED")
@pytest.mark.shows(NAME, SEND, "error 400 INVALID_JSON", "error 400 MISSING_DEVICE_CODE")
async def test_what_is_wrong_is_told_by_field_and_nothing_is_sent(project: Project) -> None:
    for change, expected, field in WRONG:
        answer = await project.send(json={**SENT, **change})
        assert failure(answer) == expected, (change, answer.text)
        assert list(answer.json()["errors"]) == [field]
    for content in (b"{", b"[]", b"", b"\xff"):
        assert failure(await project.send(content=content)) == (400, "INVALID_JSON"), content
    assert failure(await project.send(headers={"X-DEVICE-CODE": None})) == (400, "MISSING_DEVICE_CODE")
    assert failure(await project.send(headers={"X-REQUEST-ID": "x" * 201})) == (422, "VALIDATION_ERROR")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert failure(await project.send(content=b"--y\r\n", headers=broken)) == (422, "VALIDATION_ERROR")
    assert await project.messages() == []


@pytest.mark.shows(NAME, SEND, "recipient", "type text", "message")
async def test_a_text_may_come_as_json_as_a_form_or_urlencoded(project: Project) -> None:
    fields = {"recipient": "+62 812-3456-7890", "message": "Halo!"}
    answers = [
        await project.send(json=fields),
        await project.send(json={**fields, "recipient": 6281234567890}),
        await project.send(data=fields),
        await project.send(data=fields, files={"nothing": (None, "")}),
        await project.send(data=fields, files={"media": ("a.png", PNG)}),
        await project.send(json={**fields, "recipient": "0812 3456 7890"}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]
    messages = await project.messages()
    assert {message.to for message in messages} == {"6281234567890@s.whatsapp.net"}
    assert [message.content for message in messages] == [Text(text="Halo!")] * 6
    assert await project.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}, "a text needs no file"


@pytest.mark.shows(NAME, SEND, "payload")
async def test_the_payload_is_found_again_with_the_message_and_in_its_events(project: Project, mongo: Mongo) -> None:
    payload = {"invoice": 7, "customer": {"id": "c-1"}}
    texts = await project.send(json={**SENT, "payload": payload})
    form = await project.upload("image", "a.png", PNG, fields={"payload": json.dumps(payload)})
    brackets = {"payload[invoice]": "7", "payload[customer][id]": "c-1"}
    php = await project.upload("image", "a.png", PNG, fields=brackets)
    await project.api.write_history(mongo)
    for answer, expected in ((texts, payload), (form, payload), (php, {"invoice": "7", "customer": {"id": "c-1"}})):
        message = answer.json()["data"]["id"]
        assert (await project.tenant.get(f"/messages/{message}")).json()["metadata"] == expected
        story = (await project.tenant.get(f"/messages/{message}/story")).json()
        assert story["facts"][0]["metadata"] == expected
    assert next(getattr(event, "metadata", None) for _, event in await project.api.events()) == payload


@pytest.mark.shows(NAME, SEND, "X-REQUEST-ID", "answer.data.id")
async def test_the_same_request_id_is_the_same_message(project: Project) -> None:
    headers = {"X-REQUEST-ID": "550e8400"}
    answers = await asyncio.gather(*(project.send(headers=dict(headers)) for _ in range(4)))
    answers.append(await project.send(json={**SENT, "message": "other"}, headers=dict(headers)))
    answers.append(await project.upload("image", "a.png", PNG, headers=dict(headers)))
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert answers[-1].json()["meta"] == {"server_id": "node-01", "idempotent_replay": True}
    assert [answer.json()["meta"].get("idempotent_replay") for answer in answers].count(None) >= 1
    assert len(await project.messages()) == 1
    assert await project.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}, "the file of a repeat is not kept"
    native = await project.tenant.send(project.device, headers={"Idempotency-Key": "550e8400"})
    assert native.json()["id"] != answers[0].json()["data"]["id"]


@pytest.mark.shows(NAME, SEND, "X-REQUEST-ID", "error 409 IDEMPOTENCY_CONFLICT")
async def test_a_key_may_refuse_another_message_under_a_known_request_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await made_by_command_line(api, monkeypatch, "strict_request_id=true")
    first = await project.send(headers={"X-REQUEST-ID": "r-1"})
    again = await project.send(headers={"X-REQUEST-ID": "r-1"})
    assert first.json()["data"] == again.json()["data"]
    other = await project.send(json={**SENT, "message": "other"}, headers={"X-REQUEST-ID": "r-1"})
    assert failure(other) == (409, "IDEMPOTENCY_CONFLICT")


@pytest.mark.shows(NAME, SEND, "X-REQUEST-ID")
async def test_another_tenants_request_id_is_another_message(project: Project) -> None:
    other = await project_of(project.api, await project.api.tenant())
    answers = [await one.send(headers={"X-REQUEST-ID": "r-1"}) for one in (project, other)]
    assert answers[0].json()["data"]["id"] != answers[1].json()["data"]["id"]


@pytest.mark.shows(NAME, SEND, "X-DEVICE-CODE", "error 404 DEVICE_NOT_FOUND", "error 403 DEVICE_NOT_ALLOWED")
async def test_an_unknown_or_foreign_device_is_not_found_and_one_beside_the_keys_own_not_allowed(
    project: Project,
) -> None:
    other = await project_of(project.api, await project.api.tenant(), "RK-THEIRS")
    for code in ("RK-NONE", "RK-THEIRS", other.device):
        assert failure(await project.send(headers={"X-DEVICE-CODE": code})) == (404, "DEVICE_NOT_FOUND"), code
    bound = await project_of(project.api, project.tenant, "RK-SECOND", deviceId=project.device)
    assert failure(await bound.send(headers={"X-DEVICE-CODE": "RK-SECOND"})) == (403, "DEVICE_NOT_ALLOWED")
    assert (await bound.send(headers={"X-DEVICE-CODE": CODE})).status_code == 200
    assert len(await project.messages()) == 1


@pytest.mark.shows(NAME, SEND, "error 409 DEVICE_DISCONNECTED")
async def test_a_message_for_a_device_that_is_offline_waits_unless_the_key_says_otherwise(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await made_by_command_line(api, monkeypatch, "when_offline=refuse")
    assert failure(await project.send()) == (409, "DEVICE_DISCONNECTED")
    patient = await project_of(api, project.tenant, "RK-SECOND")
    assert (await patient.send()).status_code == 200


@pytest.mark.shows(NAME, SEND, "limit 60/min per project", "error 429 RATE_LIMIT_EXCEEDED")
async def test_a_project_sends_sixty_messages_a_minute_over_all_its_devices(project: Project) -> None:
    second = await project_of(project.api, project.tenant, "RK-SECOND")
    codes = [CODE if number % 2 else "RK-SECOND" for number in range(64)]
    began = time.time() // 60
    answers = await asyncio.gather(*(second.send(headers={"X-DEVICE-CODE": code}) for code in codes))
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(accepted) == 60 or time.time() // 60 > began, "the minute may end while the test runs"
    for answer in refused:
        assert failure(answer) == (429, "RATE_LIMIT_EXCEEDED")
        assert 1 <= answer.json()["retry_after"] == int(answer.headers["Retry-After"]) <= 60
    other = await project_of(project.api, await project.api.tenant())
    assert (await other.send()).status_code == 200


@pytest.mark.shows(NAME, SEND, "error 403 QUOTA_EXCEEDED")
async def test_a_suspended_account_is_told_so(project: Project) -> None:
    path = f"/tenants/{project.tenant.id}"
    assert (await project.api.operator.patch(path, json={"active": False})).status_code == 200
    answer = await project.send()
    assert failure(answer) == (403, "QUOTA_EXCEEDED")
    assert answer.json()["message"] == "Monthly quota exceeded or account suspended."


@pytest.mark.shows(NAME, SEND, "error 405 METHOD_NOT_ALLOWED")
@pytest.mark.shows(NAME, "GET /api/v1/{unknown}", "error 404 NOT_FOUND")
async def test_unknown_paths_and_methods_are_told_in_the_same_form(project: Project) -> None:
    for path in ("/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/status", "/api/v1/status/a/b"):
        assert failure(await project.request("GET", path)) == (404, "NOT_FOUND"), path
    wrong = await project.request("GET", "/api/v1/send")
    assert failure(wrong) == (405, "METHOD_NOT_ALLOWED")
    assert "POST" in wrong.headers["Allow"]
    assert failure(await project.request("DELETE", "/api/v1/status/x")) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.shows(NAME, SEND, "error 503 SERVICE_UNAVAILABLE")
async def test_while_the_bus_is_away_nothing_is_accepted_and_that_is_told(
    project: Project, nats_server: NatsServer
) -> None:
    await nats_server.kill()
    assert failure(await project.send()) == (503, "SERVICE_UNAVAILABLE")
