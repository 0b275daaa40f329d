"""Previews of links on their way to the engine: read from real pages, through the guard, and never in the way."""

from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Picture

from kurir.contracts.commands import SendMessage
from kurir.contracts.content import LinkPreview, Text
from kurir.runtime.broker import Bus
from kurir.session_node.engines.engine import Observation, SendOrder, Sent, SessionSpec
from kurir.session_node.engines.sandbox.client import SandboxEngine, SandboxSession
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import QUICK, Gateway, LocalShard, a_message
from tests.support.web_site import WebSite

INSIDE = "127.0.0.0/8"


class NotingSession(SandboxSession):
    """Keeps the orders that it gets."""

    noted: list[SendOrder]

    async def send(self, order: SendOrder) -> Sent:
        self.noted.append(order)
        return await super().send(order)


class NotingEngine(SandboxEngine):
    """A sandbox that notes what it was asked to send."""

    def __init__(self) -> None:
        super().__init__(pace=QUICK)
        self.orders: list[SendOrder] = []

    async def open(self, spec: SessionSpec, report: Callable[[Observation], None]) -> SandboxSession:
        session = await super().open(spec, report)
        session.__class__ = NotingSession
        assert isinstance(session, NotingSession)
        session.noted = self.orders
        return session

    def order_of(self, message: SendMessage) -> SendOrder:
        return next(order for order in self.orders if order.message_id == message.id)


@pytest.fixture
async def gateway(bus: Bus, nats_server: NatsServer) -> Gateway:
    return await Gateway.open(bus, nats_server.url)


@pytest.fixture
async def site() -> AsyncIterator[WebSite]:
    async with WebSite() as opened:
        yield opened


def shard(gateway: Gateway, engine: NotingEngine, **settings: Any) -> LocalShard:
    started = LocalShard(gateway.url, **settings)
    started.engine = engine
    return started


def a_link(device: str, url: str, **known: Any) -> SendMessage:
    return a_message(device, content=Text(text=f"look: {url}", link_preview=True), **known)


def a_picture() -> bytes:
    file = BytesIO()
    Picture.linear_gradient("L").resize((800, 600)).convert("RGB").save(file, "PNG")
    return file.getvalue()


async def test_a_text_goes_with_what_the_page_says_and_a_small_picture(gateway: Gateway, site: WebSite) -> None:
    await gateway.add_device("d1")
    picture = site.page("/1.png", a_picture(), "image/png")
    meta = f'<meta property="og:title" content="A thing"><meta property="og:image" content="{picture}">'
    url = site.page("/thing", f"<head>{meta}</head>")
    site.redirects["/short"] = "/thing"
    messages = [a_link("d1", url), a_link("d1", f"{site.url}/short"), a_message("d1", text=f"unasked: {url}")]
    engine = NotingEngine()
    async with shard(gateway, engine, egress_allow=INSIDE):
        await gateway.order(*messages)
        await until("sent", lambda: gateway.has_status(messages, "sent"))
    for message, link in ((messages[0], url), (messages[1], f"{site.url}/short")):
        order = engine.order_of(message)
        assert isinstance(order.content, Text)
        assert order.content.preview == LinkPreview(url=link, title="A thing", image=picture)
        assert order.thumbnail is not None
        small = Picture.open(BytesIO(order.thumbnail))
        assert (small.format, small.size) == ("JPEG", (192, 144))
    unasked = engine.order_of(messages[2])
    assert (unasked.content, unasked.thumbnail) == (messages[2].content, None)


async def test_addresses_inside_are_not_reached_by_any_way(gateway: Gateway, site: WebSite) -> None:
    await gateway.add_device("d1")
    url = site.page("/secret", "<title>secret</title>")
    port = url.rsplit(":", 1)[1]
    given = LinkPreview(url="https://a.example", title="t", image=site.page("/1.png", a_picture(), "image/png"))
    messages = [
        a_link("d1", url),
        a_link("d1", f"http://localhost:{port}"),
        a_link("d1", f"http://[::ffff:127.0.0.1]:{port}"),
        a_link("d1", "http://169.254.169.254/latest/meta-data/"),
        a_message("d1", content=Text(text="https://a.example", preview=given)),
    ]
    engine = NotingEngine()
    async with shard(gateway, engine):
        await gateway.order(*messages)
        await until("sent", lambda: gateway.has_status(messages, "sent"), within_s=30)
    assert site.asked == []
    assert [order.thumbnail for order in engine.orders] == [None] * 5
    shown = [order.content.preview for order in engine.orders if isinstance(order.content, Text)]
    assert shown == [None, None, None, None, given]


async def test_a_redirect_to_an_address_inside_is_not_followed(gateway: Gateway, site: WebSite) -> None:
    await gateway.add_device("d1")
    async with WebSite() as inside:
        inside.page("/", "<title>secret</title>")
        site.redirects["/out"] = inside.url.replace("127.0.0.1", "127.0.0.2")
        message, engine = a_link("d1", f"{site.url}/out"), NotingEngine()
        async with shard(gateway, engine, egress_allow="127.0.0.1/32"):
            await gateway.order(message)
            await until("sent", lambda: gateway.has_status([message], "sent"))
        assert (site.asked, inside.asked) == (["/out"], [])
    assert engine.orders[0].thumbnail is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/html"),
        (b"\x89PNG not a page", "image/png"),
        (b"<title>a feed</title>", "application/rss+xml"),
        (b"\xff\xfe\x00\x00" * 1000, "text/html; charset=utf-32"),
    ],
)
async def test_a_page_that_says_nothing_makes_no_preview(
    gateway: Gateway, site: WebSite, body: bytes, content_type: str
) -> None:
    await gateway.add_device("d1")
    url = site.page("/", body, content_type)
    message, engine = a_link("d1", url), NotingEngine()
    async with shard(gateway, engine, egress_allow=INSIDE):
        await gateway.order(message)
        await until("sent", lambda: gateway.has_status([message], "sent"))
    assert isinstance(engine.orders[0].content, Text)
    assert engine.orders[0].content.preview is None


async def test_of_an_endless_page_the_beginning_is_read(gateway: Gateway, site: WebSite) -> None:
    await gateway.add_device("d1")
    url = site.page("/", "<title>endless</title>")
    site.endless.add("/")
    message, engine = a_link("d1", url), NotingEngine()
    async with shard(gateway, engine, egress_allow=INSIDE):
        await gateway.order(message)
        await until("sent", lambda: gateway.has_status([message], "sent"))
    assert isinstance(engine.orders[0].content, Text)
    assert engine.orders[0].content.preview == LinkPreview(url=url, title="endless")


async def test_a_page_that_hangs_holds_up_no_other_device_and_its_own_only_once(
    gateway: Gateway, site: WebSite
) -> None:
    await gateway.add_device("slow")
    await gateway.add_device("other", jid="628998@s.whatsapp.net")
    site.hangs = {f"/{n}" for n in range(5)}
    held = [a_link("slow", f"{site.url}/{n}") for n in range(5)]
    others = [a_message("other", text=f"{n}") for n in range(5)]
    engine = NotingEngine()
    async with shard(gateway, engine, egress_allow=INSIDE):
        for device in ("slow", "other"):  # connecting would take of the page's five seconds

            async def is_connected(device: str = device) -> bool:
                return await gateway.state(device) == "connected"

            await until(f"{device} is connected", is_connected)
        await gateway.order(*held)
        await until("the page is asked for", lambda: len(site.asked) == 1)
        await gateway.order(*others)
        await until("the other device has sent all", lambda: gateway.has_status(others, "sent"))
        assert not any(order.message_id == held[0].id for order in engine.orders), "its page had its five seconds"
        await until("the slow one too", lambda: gateway.has_status(held, "sent"), within_s=20)
    assert site.asked == ["/0"]
    assert [order.message_id for order in engine.orders if order.message_id in {m.id for m in held}] == [
        message.id for message in held
    ]
