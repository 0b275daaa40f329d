"""`/dashboard`: the pages and scripts of the dashboard, which then speaks to the public API alone.

Guarantees: nothing is served but the files that came with this release; no page runs or loads anything from elsewhere,
and none can be framed. Scripts and styles stand under a name made of their content, so browsers keep them for good and
never mix two releases that they have seen whole.
"""

import hashlib
import mimetypes
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from litestar import Request, Response, Router, get
from litestar.params import FromPath

from kurir.api.problems import Problem

MOUNTS = ["/dashboard", "/api/dashboard"]
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_ALWAYS = "no-cache"
_NEVER = "no-store"  # of another release than the page that asks, while replicas are being replaced
_ASSETS = "{{assets}}"


@get(MOUNTS, sync_to_thread=False)
def show_dashboard(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page. Its links are relative, so that it works behind any proxy's prefix."""
    path = request.scope["raw_path"].decode("latin-1")
    folder = "" if path.endswith("/") else "dashboard/"
    page = _files()["index.html"].replace(_ASSETS.encode(), f"{folder}assets/{version()}".encode())
    tag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
    headers = {**SECURITY_HEADERS, "ETag": tag, "Cache-Control": _ASK_ALWAYS}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(page, media_type="text/html", headers=headers)


@get([f"{mount}/assets/{{release:str}}/{{file:path}}" for mount in MOUNTS], sync_to_thread=False)
def show_asset(release: FromPath[str], file: FromPath[str]) -> Response[bytes]:
    """A script, style or picture of the page."""
    name = file.lstrip("/")
    content = _files().get(name)
    if content is None or name == "index.html":
        raise Problem("NOT_FOUND")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    caching = _FOR_GOOD if release == version() else _NEVER
    return Response(content, media_type=media_type, headers={**SECURITY_HEADERS, "Cache-Control": caching})


@cache
def version() -> str:
    """What names this release's files: a digest of them all."""
    digest = hashlib.sha256()
    for name, content in sorted(_files().items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


@cache
def _files() -> dict[str, bytes]:
    """Everything that is served, by its path."""
    found: dict[str, bytes] = {}
    folders: list[tuple[str, Traversable]] = [("", resources.files("kurir.api.dashboard") / "static")]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            else:
                found[prefix + entry.name] = entry.read_bytes()
    return found


def router() -> Router:
    return Router("/", route_handlers=(show_dashboard, show_asset), include_in_schema=False)
