"""What a web page says about itself to those who show a link to it. Pure.

Read are the Open Graph properties (ogp.me), then the names that pages had before them. A page is whatever somebody
else wrote: the time is linear in its size, so this is no HTML parser, which can be made to take minutes.
"""

import html
import re
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

MAX_TAGS = 500
MAX_ATTRIBUTES = 20
TITLE_CHARS = 300
DESCRIPTION_CHARS = 1000

_META = re.compile(r"<meta(?=[\s/])", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""[\s/]{1,100}([^\s"'>/=]{1,64})(?:\s{0,20}=\s{0,20}("[^"]{0,4096}"|'[^']{0,4096}'|[^\s"'>]{1,4096}))?"""
)
_TITLE = re.compile(r"<title(?:\s[^<>]{0,200})?>([^<]{1,2000})", re.IGNORECASE)
_BODY = re.compile(r"<body[\s>]", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,100}charset\s{0,5}=\s{0,5}["']?\s{0,5}([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)


class PageDescription(NamedTuple):
    """`image` is an absolute http URL."""

    title: str
    description: str | None
    image: str | None


def described(page: bytes, url: str, charset: str | None = None) -> PageDescription | None:
    """The description of the page from `url`, or of its beginning; None when it has no title.

    `charset` is what the server says; without it the page's own word counts, then UTF-8.
    """
    text = _decoded(page, charset)
    head = text[: body.start()] if (body := _BODY.search(text)) else text
    found: dict[str, str] = {}
    for count, meta in enumerate(_META.finditer(head)):
        if count >= MAX_TAGS:
            break
        attributes = _attributes(head, meta.end())
        name = attributes.get("property") or attributes.get("name")
        if name and attributes.get("content"):
            found.setdefault(name.lower(), attributes["content"])
    title = _first(found, "og:title", "twitter:title") or _words(
        match.group(1) if (match := _TITLE.search(head)) else ""
    )
    if not title:
        return None
    description = _first(found, "og:description", "twitter:description", "description")
    image = _first(found, "og:image:secure_url", "og:image", "og:image:url", "twitter:image")
    return PageDescription(title[:TITLE_CHARS], description[:DESCRIPTION_CHARS] or None, _absolute(url, image))


def _decoded(page: bytes, charset: str | None) -> str:
    if charset is None:
        said = _CHARSET.search(page[:4096])
        charset = said.group(1).decode() if said else "utf-8"
    try:
        return page.decode(charset, errors="replace")
    except (LookupError, ValueError):
        return page.decode("utf-8", errors="replace")


def _attributes(text: str, at: int) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for _ in range(MAX_ATTRIBUTES):
        match = _ATTRIBUTE.match(text, at)
        if match is None:
            break
        at = match.end()
        value = match.group(2) or ""
        attributes.setdefault(match.group(1).lower(), value[1:-1] if value[:1] in ("'", '"') else value)
    return attributes


def _first(found: dict[str, str], *names: str) -> str:
    return next((words for name in names if (words := _words(found.get(name, "")))), "")


def _words(text: str) -> str:
    """As they are read: entities resolved, control characters and runs of white space made one blank."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", html.unescape(text)).strip()


def _absolute(page_url: str, image: str) -> str | None:
    if not image:
        return None
    try:
        absolute = urljoin(page_url, image)
        parts = urlsplit(absolute)
    except ValueError:
        return None
    return absolute if parts.scheme in ("http", "https") and parts.hostname and len(absolute) <= 2048 else None
