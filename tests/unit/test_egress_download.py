"""Downloads: streamed with back-pressure, bounded, redirected a few times and judged at every step."""

import asyncio

import pytest

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Egress, EgressPolicy, TooLarge, TransportFailure
from tests.support.conditions import until
from tests.support.webhook_receiver import Reply, WebhookReceiver

INSIDE = AddressGuard.parse(["127.0.0.0/8"])
MEGABYTE = 1_000_000


def an_egress(**policy: object) -> Egress:
    """One that may reach this machine."""
    return Egress(EgressPolicy(guard=INSIDE, **policy))  # type: ignore[arg-type]


async def read_whole(egress: Egress, url: str, deadline_s: float = 10.0, max_bytes: int = MEGABYTE) -> bytes:
    """The body, in one piece."""
    async with egress.download(url, deadline_s=deadline_s, max_bytes=max_bytes) as download:
        return b"".join([chunk async for chunk in download])


async def test_a_body_arrives_whole_with_what_the_sender_says_of_it() -> None:
    body = bytes(range(256)) * 12_000
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/cat.png", Reply(200, body, headers=[("Content-Type", "Image/PNG; charset=x")]))
        async with egress.download(receiver.url("/cat.png"), deadline_s=10.0, max_bytes=len(body)) as download:
            assert (download.status, download.content_type) == (200, "image/png")
            assert download.content_length == len(body)
            chunks = [chunk async for chunk in download]
    assert b"".join(chunks) == body
    assert receiver.received[0].method == "GET"
    assert egress.in_flight == 0


async def test_an_empty_body_and_one_without_length_end() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/empty", Reply(200))
        receiver.on("/unsaid", Reply(200, b"abc", announce_length=False))
        assert await read_whole(egress, receiver.url("/empty")) == b""
        assert await read_whole(egress, receiver.url("/unsaid")) == b"abc"


async def test_a_slow_reader_holds_the_sender_back() -> None:
    body = b"m" * (60 * MEGABYTE)
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/film", Reply(200, body))
        async with egress.download(receiver.url("/film"), deadline_s=60.0, max_bytes=len(body)) as download:
            await until("the transfer is paused", lambda: download._is_paused)
            length, largest = 0, 0
            async for chunk in download:
                length, largest = length + len(chunk), max(largest, len(chunk))
                await asyncio.sleep(0)
    assert length == len(body)
    assert largest < MEGABYTE


async def test_other_requests_go_on_while_a_download_is_paused() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/film", Reply(200, b"m" * (20 * MEGABYTE)))
        async with egress.download(receiver.url("/film"), deadline_s=60.0, max_bytes=10**9) as download:
            await until("the transfer is paused", lambda: download._is_paused)
            answer = await egress.post(receiver.url("/hook"), headers=(), body=b"", deadline_s=10.0)
            assert answer.status == 204


async def test_an_announced_length_over_the_limit_is_refused_before_the_body() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(200, b"x" * 101))
        with pytest.raises(TooLarge, match="101 bytes are announced"):
            async with egress.download(receiver.url(), deadline_s=10.0, max_bytes=100):
                pytest.fail("a download over the limit was opened")


async def test_an_unannounced_length_over_the_limit_is_refused_on_the_way() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(200, b"x" * (5 * MEGABYTE), announce_length=False))
        with pytest.raises(TooLarge, match="more bytes come"):
            await read_whole(egress, receiver.url())


async def test_redirects_are_followed_relative_and_absolute_without_our_headers_elsewhere() -> None:
    async with WebhookReceiver() as receiver, WebhookReceiver() as cdn, an_egress() as egress:
        receiver.on("/a/start", Reply(302, redirect_to="next?x=1"))
        receiver.on("/a/next", Reply(307, redirect_to=cdn.url("/bild ü.png")))
        cdn.default = Reply(200, b"picture")
        async with egress.download(
            receiver.url("/a/start"), headers=[("Authorization", "Bearer x")], deadline_s=10.0, max_bytes=10
        ) as download:
            assert b"".join([chunk async for chunk in download]) == b"picture"
            assert download.url.startswith(cdn.url("/bild"))
    assert [request.target for request in receiver.received] == ["/a/start", "/a/next?x=1"]
    assert [request.header("authorization") for request in receiver.received] == ["Bearer x"] * 2
    assert cdn.received[0].header("authorization") is None


async def test_too_many_redirects_end() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(302, redirect_to="/"))
        with pytest.raises(TransportFailure) as raised:
            async with egress.download(receiver.url(), deadline_s=10.0, max_bytes=10, max_redirects=3):
                pytest.fail("a redirect was opened")
    assert raised.value.kind == "redirects"
    assert len(receiver.received) == 4


async def test_any_status_is_for_the_caller_to_judge() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(404, b"gone"))
        async with egress.download(receiver.url(), deadline_s=10.0, max_bytes=10) as download:
            assert download.status == 404


@pytest.mark.parametrize(
    ("reply", "deadline_s", "kind"),
    [
        (Reply(hang=True), 0.3, "timeout"),
        (Reply(200, b"z" * 1000, drip_every_s=0.02), 0.3, "timeout"),
        (Reply(200, b"z" * 1000, cut_body_at=500), 30.0, "reset"),
        (Reply(reset=True), 30.0, "reset"),
    ],
    ids=["hangs", "drips", "stops in the body", "resets"],
)
async def test_a_download_that_breaks_off_says_why(reply: Reply, deadline_s: float, kind: str) -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", reply)
        with pytest.raises(TransportFailure) as raised:
            await read_whole(egress, receiver.url(), deadline_s=deadline_s)
    assert raised.value.kind == kind
    assert egress.in_flight == 0


async def test_the_deadline_covers_a_reader_that_takes_too_long() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(200, b"m" * (20 * MEGABYTE)))
        async with egress.download(receiver.url(), deadline_s=1.0, max_bytes=10**9) as download:  # it begins sooner
            await until("the transfer has ended", lambda: download.has_ended)
            with pytest.raises(TransportFailure) as raised:
                async for _ in download:
                    pass
    assert raised.value.kind == "timeout"


async def test_leaving_early_closes_the_connection_and_reading_on_fails() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(200, b"z" * 1000, drip_every_s=0.02))
        async with egress.download(receiver.url(), deadline_s=30.0, max_bytes=10_000) as download:
            reading = aiter(download)
            assert await anext(reading)
        await until("the receiver sees its connection closed", lambda: receiver.cut_short == 1)
        with pytest.raises(TransportFailure):
            await anext(reading)
        assert egress.in_flight == 0


async def test_closing_the_sender_ends_a_download_with_its_reason() -> None:
    async with WebhookReceiver() as receiver:
        receiver.on("/", Reply(200, b"z" * 1000, drip_every_s=0.02))
        egress = an_egress()
        async with egress.download(receiver.url(), deadline_s=30.0, max_bytes=10_000) as download:
            await egress.close()
            with pytest.raises(TransportFailure) as raised:
                async for _ in download:
                    pass
    assert raised.value.kind == "canceled"
