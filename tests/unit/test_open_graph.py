"""What a page says about itself, whatever it is written like."""

import pytest

from kurir.session_node.open_graph import MAX_TAGS, described

URL = "https://shop.example/things/1?x=y"


def page(head: str, body: str = "") -> bytes:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>".encode()


def test_open_graph_properties_come_first() -> None:
    found = described(
        page(
            """<title>Shop</title><meta name="description" content="all we have">
            <meta property="og:title" content="A thing"><meta property="og:description" content="It is blue">
            <meta property="og:image" content="/thing.png">"""
        ),
        URL,
    )
    assert found is not None
    assert found == ("A thing", "It is blue", "https://shop.example/thing.png")


def test_a_page_without_them_has_its_title_and_description() -> None:
    found = described(page("<title>\n A  shop </title><meta name=description content='All we have'>"), URL)
    assert found == ("A shop", "All we have", None)


def test_a_page_that_says_nothing_has_no_description() -> None:
    assert described(page("", "<h1>hello</h1>"), URL) is None
    assert described(b"", URL) is None
    assert described(b"\x00\xff\xfe garbage", URL) is None


@pytest.mark.parametrize(
    "meta",
    [
        '<meta property="og:title" content="a &gt; b">',
        "<META CONTENT='a > b' PROPERTY='og:title'/>",
        '<meta\n\tproperty = "OG:Title"\n content = "a > b" >',
        '<meta data-rh="true" property="og:title" content="a &#62; b"/>',
    ],
)
def test_tags_are_read_however_they_are_written(meta: str) -> None:
    assert described(page(meta), URL) == ("a > b", None, None)


def test_what_stands_in_the_body_does_not_count() -> None:
    assert described(page("<title>t</title>", '<meta property="og:title" content="of a comment">'), URL) == (
        "t",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("<title>Café</title>".encode("latin-1"), "iso-8859-1"),
        ('<meta charset="iso-8859-1"><title>Café</title>'.encode("latin-1"), None),
        ("<title>Café</title>".encode(), "no-such-charset"),
        ("<title>Café</title>".encode(), None),
    ],
)
def test_letters_are_read_in_the_page_s_own_way(data: bytes, charset: str | None) -> None:
    found = described(data, URL, charset)
    assert found is not None
    assert found.title == "Café"


@pytest.mark.parametrize(
    ("image", "absolute"),
    [
        ("//cdn.example/a.png", "https://cdn.example/a.png"),
        ("a.png", "https://shop.example/things/a.png"),
        ("data:image/png;base64,AAAA", None),
        ("javascript:alert(1)", None),
        ("http://[broken", None),
        ("https://cdn.example/" + "a" * 3000, None),
    ],
)
def test_a_picture_is_named_by_its_whole_url_or_not_at_all(image: str, absolute: str | None) -> None:
    found = described(page(f'<title>t</title><meta property="og:image" content="{image}">'), URL)
    assert found is not None
    assert found.image == absolute


def test_words_have_a_limit_and_no_line_breaks_or_control_characters() -> None:
    found = described(
        page(f'<title>{"t" * 1000}</title><meta name="description" content="a\nb\x00c{"d" * 3000}">'), URL
    )
    assert found is not None
    assert len(found.title) == 300
    assert found.description is not None
    assert found.description.startswith("a b c")
    assert len(found.description) == 1000


@pytest.mark.parametrize(
    "hostile",
    [
        "<meta " * 40_000,
        '<meta content="' * 16_000,
        "<meta" + " a" * 120_000,
        "<meta a=" + "b" * 250_000,
        "<title" * 40_000,
        "<title>" * 36_000,
        "<meta charset=" * 18_000,
        '<meta property="og:title" ' + "\n" * 250_000,
        "&" * 250_000,
        "<title>" + "&#" * 120_000 + "</title>",
    ],
)
def test_a_page_made_to_take_minutes_is_read_at_once(hostile: str) -> None:
    found = described(hostile.encode(), URL)
    assert found is None or len(found.title) <= 300


def test_only_so_many_tags_are_looked_at() -> None:
    tags = '<meta name="a" content="b">' * MAX_TAGS
    assert described(page(f'{tags}<meta property="og:title" content="too late">'), URL) is None
