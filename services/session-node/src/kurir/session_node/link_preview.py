"""The preview of the first link in a text, from its page or as the tenant gives it.

Guarantees: a preview takes DEADLINE_S at most, and a message goes without one when anything is wrong with it. What was
found is kept for a while, and so is what failed: a thousand messages with one link read its page once, and a site that
hangs delays the first of them alone. Not kept over a restart, and not shared by shards or tenants.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import structlog

from kurir.contracts.content import LinkPreview, Text
from kurir.session_node.open_graph import PageDescription

log = structlog.get_logger(__name__)

DEADLINE_S = 5.0  # the device's next messages wait meanwhile
HUNG_S = 0.8  # a page that took so much of the time and gave nothing: its site is left alone for FAILED_S
KEPT = 500  # previews, about 10 kB each
KEPT_S = 600.0
FAILED_S = 60.0
_LINK = re.compile(r"""https?://[^\s<>"'`]{1,2040}""", re.IGNORECASE)
_PUNCTUATION = ".,;:!?*_~"
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Found(NamedTuple):
    """What is shown of a link; `thumbnail` is a small JPEG."""

    preview: LinkPreview
    thumbnail: bytes | None


class Web(Protocol):
    """See web_pages.py, which is not imported before it is needed."""

    async def describe(self, url: str, deadline_s: float) -> PageDescription | None: ...

    async def thumbnail(self, url: str, deadline_s: float) -> bytes | None: ...

    async def close(self) -> None: ...


class LinkPreviews:
    """Of one process; `open_web` is called for the first preview that somebody asks for."""

    def __init__(
        self,
        open_web: Callable[[], Web],
        *,
        deadline_s: float = DEADLINE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_web = open_web
        self._deadline_s = deadline_s
        self._now = now
        self._web: Web | None = None
        # By tenant: how fast an answer comes must not tell one what another has sent.
        self._kept: OrderedDict[tuple[str, LinkPreview | str], tuple[float, Found | None]] = OrderedDict()

    async def of(self, tenant: str, text: Text) -> Found | None:
        """The preview that a text asks for; None when it asks for none or there is none to be had. Never fails."""
        asked = text.preview or (first_link(text.text) if text.link_preview else None)
        if asked is None:
            return None
        site = _site(asked)
        for key in ((tenant, asked), (tenant, site)):
            known = self._kept.get(key)
            if known is not None and known[0] > self._now():
                return known[1] or _bare(asked)
        began = self._now()
        found = await self._look(asked)
        took_s = self._now() - began
        log.info("link_preview.looked", tenant=tenant, is_found=found is not None, seconds=round(took_s, 3))
        self._keep((tenant, asked), found)
        if found is None and took_s >= HUNG_S * self._deadline_s:
            self._keep((tenant, site), None)
        return found or _bare(asked)

    async def close(self) -> None:
        if self._web is not None:
            await self._web.close()

    def _keep(self, key: tuple[str, LinkPreview | str], found: Found | None) -> None:
        self._kept[key] = (self._now() + (FAILED_S if found is None else KEPT_S), found)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _look(self, asked: LinkPreview | str) -> Found | None:
        """None when the page, or the picture of a preview that was given, could not be read."""
        due_at = asyncio.get_running_loop().time() + self._deadline_s
        preview = asked if isinstance(asked, LinkPreview) else None
        thumbnail = None
        try:
            async with asyncio.timeout_at(due_at):
                if self._web is None:
                    self._web = self._open_web()
                if isinstance(asked, str):
                    page = await self._web.describe(asked, self._deadline_s)
                    if page is None:
                        return None
                    preview = LinkPreview(url=asked, title=page.title, description=page.description, image=page.image)
                left_s = due_at - asyncio.get_running_loop().time()
                if preview is not None and preview.image is not None and left_s > 0:
                    thumbnail = await self._web.thumbnail(preview.image, left_s)
        except TimeoutError:
            log.debug("link_preview.timeout")
        except Exception:  # a preview is an ornament: whatever is wrong with it, the message goes
            log.exception("link_preview.failed")
        if preview is None or (isinstance(asked, LinkPreview) and asked.image is not None and thumbnail is None):
            return None
        return Found(preview, thumbnail)


def first_link(text: str) -> str | None:
    """The first http link of a text, without the punctuation of the sentence around it."""
    match = _LINK.search(text)
    if match is None:
        return None
    url = match.group()
    while url and (url[-1] in _PUNCTUATION or (url[-1] in _PAIRS and url.count(url[-1]) > url.count(_PAIRS[url[-1]]))):
        url = url[:-1]
    return url if _host(url) else None


def _host(url: str) -> str | None:
    """The host that a URL names, None for what is no URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _site(asked: LinkPreview | str) -> str:
    """The host that has to answer."""
    return f"//{_host(asked if isinstance(asked, str) else asked.image or '') or ''}"


def _bare(asked: LinkPreview | str) -> Found | None:
    """What the tenant gave can be shown without its picture."""
    return Found(asked, None) if isinstance(asked, LinkPreview) else None
