"""Which link is shown, and what is kept of what was found."""

import asyncio

import pytest

from kurir.contracts.content import LinkPreview, Text
from kurir.session_node.link_preview import FAILED_S, KEPT_S, Found, LinkPreviews, first_link
from kurir.session_node.open_graph import PageDescription

LINK = "https://shop.example/1"


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("see https://shop.example/1", "https://shop.example/1"),
        ("see https://shop.example/1.", "https://shop.example/1"),
        ("(https://shop.example/1)", "https://shop.example/1"),
        ("https://wiki.example/A_(b)!", "https://wiki.example/A_(b)"),
        ("*https://shop.example/1*", "https://shop.example/1"),
        ("HTTP://Shop.example", "HTTP://Shop.example"),
        ("first http://a.example then https://b.example", "http://a.example"),
        ("<https://shop.example/?a=1&b=2>", "https://shop.example/?a=1&b=2"),
        ("shop.example/1", None),
        ("ftp://shop.example/1", None),
        ("https://", None),
        ("https://...", None),
        ("http://[broken", None),
        ("no link", None),
    ],
)
def test_the_first_link_of_a_text_is_shown(text: str, link: str | None) -> None:
    assert first_link(text) == link


class FakeWeb:
    """Pages and pictures by URL; what is not there cannot be read, and a hung one takes all the time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pages: dict[str, PageDescription] = {}
        self.pictures: dict[str, bytes] = {}
        self.hangs: set[str] = set()
        self.asked: list[str] = []
        self.breaks = False

    async def describe(self, url: str, deadline_s: float) -> PageDescription | None:
        self.asked.append(url)
        if self.breaks:
            raise RuntimeError("a bug")
        if url in self.hangs:
            self.now += deadline_s
            await asyncio.Event().wait()
        return self.pages.get(url)

    async def thumbnail(self, url: str, deadline_s: float) -> bytes | None:
        self.asked.append(url)
        if url in self.hangs:
            self.now += deadline_s
            await asyncio.Event().wait()
        return self.pictures.get(url)

    async def close(self) -> None: ...


@pytest.fixture
def web() -> FakeWeb:
    return FakeWeb()


@pytest.fixture
def previews(web: FakeWeb) -> LinkPreviews:
    return LinkPreviews(lambda: web, deadline_s=0.5, now=lambda: web.now)


def asking(link: str = LINK) -> Text:
    return Text(text=f"look: {link}", link_preview=True)


async def test_a_text_that_asks_for_none_opens_no_connection(previews: LinkPreviews, web: FakeWeb) -> None:
    assert await previews.of("t1", Text(text=LINK)) is None
    assert await previews.of("t1", Text(text="no link", link_preview=True)) is None
    assert web.asked == []


async def test_the_page_and_its_picture_are_read_once_for_many_messages(previews: LinkPreviews, web: FakeWeb) -> None:
    web.pages[LINK] = PageDescription("Thing", "blue", "https://cdn.example/1.png")
    web.pictures["https://cdn.example/1.png"] = b"small"
    expected = LinkPreview(url=LINK, title="Thing", description="blue", image="https://cdn.example/1.png")
    for _ in range(3):
        assert await previews.of("t1", asking()) == Found(expected, b"small")
    assert web.asked == [LINK, "https://cdn.example/1.png"]
    web.now += KEPT_S + 1
    await previews.of("t1", asking())
    assert web.asked.count(LINK) == 2


async def test_a_page_that_cannot_be_read_is_left_alone_for_a_minute(previews: LinkPreviews, web: FakeWeb) -> None:
    assert await previews.of("t1", asking()) is None
    assert await previews.of("t1", asking()) is None
    assert web.asked == [LINK]
    web.pages[LINK] = PageDescription("Thing", None, None)
    web.now += FAILED_S + 1
    assert await previews.of("t1", asking()) is not None


async def test_a_site_that_hangs_delays_one_message_whatever_its_links(previews: LinkPreviews, web: FakeWeb) -> None:
    web.hangs = {f"{LINK}{n}" for n in range(5)}
    for n in range(5):
        assert await previews.of("t1", asking(f"{LINK}{n}")) is None
    assert web.asked == [f"{LINK}0"]
    web.pages["https://other.example/"] = PageDescription("Other", None, None)
    assert await previews.of("t1", asking("https://other.example/")) is not None


async def test_one_missing_page_says_nothing_of_the_site_s_others(previews: LinkPreviews, web: FakeWeb) -> None:
    web.pages[f"{LINK}/there"] = PageDescription("There", None, None)
    assert await previews.of("t1", asking()) is None
    assert await previews.of("t1", asking(f"{LINK}/there")) is not None


async def test_tenants_share_nothing(previews: LinkPreviews, web: FakeWeb) -> None:
    web.pages[LINK] = PageDescription("Thing", None, None)
    await previews.of("t1", asking())
    await previews.of("t2", asking())
    assert web.asked == [LINK, LINK]


async def test_a_picture_that_hangs_leaves_the_words(previews: LinkPreviews, web: FakeWeb) -> None:
    web.pages[LINK] = PageDescription("Thing", None, "https://cdn.example/1.png")
    web.hangs = {"https://cdn.example/1.png"}
    found = await previews.of("t1", asking())
    assert found is not None
    assert (found.preview.title, found.thumbnail) == ("Thing", None)


async def test_a_preview_that_is_given_is_shown_and_no_page_read(previews: LinkPreviews, web: FakeWeb) -> None:
    given = LinkPreview(url=LINK, title="My words", image="https://cdn.example/1.png")
    web.pictures["https://cdn.example/1.png"] = b"small"
    text = Text(text=LINK, link_preview=True, preview=given)
    assert await previews.of("t1", text) == Found(given, b"small")
    assert web.asked == ["https://cdn.example/1.png"]


async def test_a_given_preview_is_shown_without_a_picture_that_cannot_be_read(
    previews: LinkPreviews, web: FakeWeb
) -> None:
    given = LinkPreview(url=LINK, title="My words", image="https://cdn.example/gone.png")
    for _ in range(2):
        assert await previews.of("t1", Text(text=LINK, preview=given)) == Found(given, None)
    assert web.asked == ["https://cdn.example/gone.png"]


async def test_a_bug_in_reading_pages_loses_the_preview_and_not_the_message(
    previews: LinkPreviews, web: FakeWeb
) -> None:
    web.breaks = True
    assert await previews.of("t1", asking()) is None
