"""Files: uploaded or fetched, sniffed, limited, streamed into the store; and given back."""

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kurir.api.media.kinds import MIB
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import STATUS, Audio, Document, Image, Media, Video, media_of
from tests.support.api_server import Api, Client, running_api
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import Reply, WebhookReceiver

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
OGG = b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01"


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, egress_allow="127.0.0.0/8") as running:
        yield running


async def upload(tenant: Client, device: str, kind: str, data: bytes, name: str, **fields: str) -> httpx.Response:
    form = {"deviceId": device, "to": "6281234567890", "kind": kind, **fields}
    return await tenant.post("/messages/send-media", data=form, files={"file": (name, data, "application/x-lie")})


async def contents(api: Api) -> list[Any]:
    return [command.content for command in await api.commands() if isinstance(command, SendMessage)]


async def stored_bytes(tenant: Client, media: Media) -> bytes:
    return (await tenant.get(f"/media/{media.object.partition('/')[2]}")).content


async def chunks_stored(api: Api) -> int:
    return len(await api.bus.subjects("OBJ_media", "$O.media.C.>"))


def docx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello.txt", "hi")
    return buffer.getvalue()


async def test_an_upload_is_stored_under_its_real_type_and_given_back_byte_for_byte(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    answer = await upload(tenant, device, "image", PNG, "holiday.png", caption="Halo!", viewOnce="true")
    assert (answer.status_code, answer.json()["status"]) == (200, "QUEUED"), answer.text
    assert answer.headers["X-RateLimit-Limit"] == "30"
    (content,) = await contents(api)
    assert isinstance(content, Image)
    assert (content.caption, content.view_once) == ("Halo!", True)
    media = content.media
    assert (media.mimetype, media.size, media.file_name) == ("image/png", len(PNG), "holiday.png")
    assert media.sha256 == hashlib.sha256(PNG).hexdigest()
    assert media.object.startswith(tenant.id + "/")
    given = await tenant.get(f"/media/{media.object.partition('/')[2]}")
    assert given.content == PNG
    assert given.headers["content-type"] == "image/png"
    assert given.headers["x-content-type-options"] == "nosniff"


async def test_each_kind_of_file_becomes_its_content(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    for kind, data, name, fields in (
        ("video", MP4 + bytes(2000), "a.mp4", {}),
        ("video", MP4 + bytes(2000), "a.mp4", {"ptv": "true"}),
        ("audio", OGG, "a.ogg", {"ptt": "true"}),
        ("document", b"%PDF-1.7\n" + bytes(100), "a.pdf", {"fileName": "Invoice.pdf"}),
        ("document", docx(), "a.docx", {}),
    ):
        answer = await upload(tenant, device, kind, data, name, **fields)
        assert answer.status_code == 200, (kind, answer.text)
    video, note, audio, pdf, word = await contents(api)
    assert isinstance(video, Video)
    assert isinstance(note, Video)
    assert (video.note, note.note) == (False, True)
    assert isinstance(audio, Audio)
    assert audio.voice
    assert isinstance(pdf, Document)
    assert (pdf.media.file_name, pdf.media.mimetype) == ("Invoice.pdf", "application/pdf")
    assert word.media.mimetype.endswith("wordprocessingml.document")


async def test_the_order_of_the_parts_does_not_matter(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    parts = [
        ("file", ("a.png", PNG, "image/png")),
        ("deviceId", (None, device)),
        ("to", (None, "6281234567890")),
        ("kind", (None, "image")),
    ]
    assert (await tenant.post("/messages/send-media", files=parts)).status_code == 200
    (content,) = await contents(api)
    assert await stored_bytes(tenant, content.media) == PNG


async def test_a_file_that_is_not_what_it_says_is_415_and_nothing_stays(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    for kind, data, name in (
        ("image", b"MZ\x90\x00" + bytes(3000), "a.png"),
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.png"),
        ("sticker", PNG, "a.webp"),
        ("document", b"<!DOCTYPE html><html><script>1</script></html>", "a.txt"),
    ):
        for late in (False, True):
            kind_part, file_part = ("kind", (None, kind)), ("file", (name, data, "image/png"))
            rest = [("deviceId", (None, device)), ("to", (None, "6281234567890"))]
            parts = [*rest, file_part, kind_part] if late else [*rest, kind_part, file_part]
            answer = await tenant.post("/messages/send-media", files=parts)
            assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), (kind, name)
    assert await contents(api) == []
    assert await chunks_stored(api) == 0


async def test_a_file_above_the_limit_of_its_kind_is_413_and_nothing_stays(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    webp = b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(MIB)
    assert (await upload(tenant, device, "sticker", webp, "a.webp")).json()["code"] == "MEDIA_TOO_LARGE"
    parts = [
        ("file", ("a.webp", webp, "image/webp")),
        ("kind", (None, "sticker")),
        ("deviceId", (None, device)),
        ("to", (None, "6281234567890")),
    ]
    late = await tenant.post("/messages/send-media", files=parts)
    assert (late.status_code, late.json()["code"]) == (413, "MEDIA_TOO_LARGE")
    assert (await upload(tenant, device, "image", PNG + bytes(16 * MIB), "a.png")).status_code == 413
    assert (await upload(tenant, device, "video", MP4 + bytes(16 * MIB), "a.mp4")).status_code == 200
    assert len(await contents(api)) == 1
    assert await chunks_stored(api) == 1


async def test_what_is_refused_after_the_upload_leaves_nothing_behind(api: Api, tenant: Client) -> None:
    device = await tenant.device(ratePerMinute=1)
    wrong = [
        await upload(tenant, "dev_other", "image", PNG, "a.png"),
        await upload(tenant, device, "image", PNG, "a.png", to="nobody"),
        await upload(tenant, device, "image", PNG, "a.png", colour="red"),
        await upload(tenant, device, "image", PNG, "a.png", url="https://example.com/a.png"),
        await upload(tenant, device, "image", b"", "a.png"),
        await tenant.post("/messages/send-media", data={"deviceId": device, "kind": "image", "to": "628123456789"}),
    ]
    assert [answer.status_code for answer in wrong] == [404, 400, 400, 400, 400, 400]
    assert [answer.json().get("field") for answer in wrong][1:] == ["to", "colour", "url", "file", None]
    sent = [(await upload(tenant, device, "image", PNG, "a.png")).status_code for _ in range(3)]
    assert 429 in sent
    assert await chunks_stored(api) == sent.count(200)


async def test_a_status_is_uploaded_for_an_audience_that_is_written_either_way(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    for audience in ("0812 3456 789, +628123456780", '["628123456789", "628123456780@s.whatsapp.net"]'):
        answer = await upload(tenant, device, "image", PNG, "a.png", to=STATUS, audience=audience)
        assert answer.status_code == 200, answer.text
    sent = [command for command in await api.commands() if isinstance(command, SendMessage)]
    assert [command.to for command in sent] == [STATUS] * 2
    assert {command.audience for command in sent} == {("628123456789@s.whatsapp.net", "628123456780@s.whatsapp.net")}


async def test_a_broken_form_is_400(tenant: Client) -> None:
    for body, content_type in (
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data"),
        (
            b'--b\r\nContent-Disposition: form-data; name="to"\r\n\r\n\xff\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ):
        answer = await tenant.post("/messages/send-media", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR"), answer.text


async def test_the_same_upload_under_one_idempotency_key_is_one_message(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    form = {"deviceId": device, "to": "6281234567890", "kind": "image"}
    key = {"Idempotency-Key": "k"}

    async def post(data: bytes) -> httpx.Response:
        files = {"file": ("a.png", data, "image/png")}
        return await tenant.post("/messages/send-media", data=form, files=files, headers=key)

    first, again, other = await post(PNG), await post(PNG), await post(PNG + b"x")
    assert first.json() == again.json()
    assert other.status_code == 409
    assert len(await contents(api)) == 1


async def by_url(tenant: Client, device: str, url: str, kind: str = "image", **more: Any) -> httpx.Response:
    body = {"deviceId": device, "to": "6281234567890", "kind": kind, "url": url, **more}
    return await tenant.post("/messages/send-media", json=body)


async def test_a_file_is_fetched_from_its_url(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    async with WebhookReceiver() as site:
        site.on("/cat.png", Reply(200, PNG))
        answer = await by_url(tenant, device, site.url("/cat.png"), caption="cat")
        assert answer.status_code == 200, answer.text
    (content,) = await contents(api)
    assert isinstance(content, Image)
    assert (content.media.mimetype, content.media.file_name, content.caption) == ("image/png", "cat.png", "cat")
    assert await stored_bytes(tenant, content.media) == PNG


async def test_a_url_that_gives_no_file_is_told_as_what_it_is(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    async with WebhookReceiver() as site:
        site.on("/gone.png", Reply(404))
        site.on("/page.png", Reply(200, b"<html><body>not an image</body></html>"))
        site.on("/long.webp", Reply(200, b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(MIB)))
        site.on("/endless.webp", Reply(200, b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(MIB), announce_length=False))
        site.on("/cut.png", Reply(200, PNG + bytes(100_000), cut_body_at=50_000))
        site.on("/inside", Reply(302, redirect_to="http://169.254.169.254/latest"))
        wanted = {
            "/gone.png": ("image", 400, "MEDIA_FETCH_FAILED"),
            "/page.png": ("image", 415, "UNSUPPORTED_MEDIA_TYPE"),
            "/long.webp": ("sticker", 413, "MEDIA_TOO_LARGE"),
            "/endless.webp": ("sticker", 413, "MEDIA_TOO_LARGE"),
            "/cut.png": ("image", 400, "MEDIA_FETCH_FAILED"),
            "/inside": ("image", 400, "URL_NOT_ALLOWED"),
        }
        for path, (kind, status, code) in wanted.items():
            answer = await by_url(tenant, device, site.url(path), kind)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text)
            assert "X-RateLimit-Limit" in answer.headers
    refused = await by_url(tenant, device, "http://10.0.0.1/a.png")
    assert (refused.status_code, refused.json()["code"]) == (400, "URL_NOT_ALLOWED")
    nobody = await by_url(tenant, device, "http://127.0.0.1:1/a.png")
    assert (nobody.status_code, nobody.json()["code"]) == (400, "MEDIA_FETCH_FAILED")
    assert await contents(api) == []
    assert await chunks_stored(api) == 0


async def test_uploads_at_the_same_time_do_not_mix(api: Api, tenant: Client) -> None:
    device = await tenant.device(ratePerMinute=1000)
    files = [PNG + bytes([n]) * 300_000 for n in range(6)]
    await asyncio.gather(*(upload(tenant, device, "image", data, f"{n}.png") for n, data in enumerate(files)))
    media = [media_of(content) for content in await contents(api)]
    for one in media:
        assert one is not None
        number = int((one.file_name or "").split(".")[0])
        assert await stored_bytes(tenant, one) == files[number]
