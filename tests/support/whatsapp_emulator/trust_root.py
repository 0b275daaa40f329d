"""Makes the neonize library of this process trust the emulator instead of WhatsApp. Test processes only.

The key of WhatsApp's root is overwritten in memory, nowhere on disk. It has to be found exactly once in writable
memory of the library: another release of it fails here instead of half-working. From then on this process cannot
finish a handshake with the real service; and clients that would dial without a proxy on loopback are refused.
"""

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tests.support.whatsapp_emulator.dictionaries import library_path, segments_of

WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""The public key that whatsmeow checks the server's certificates against (WACertPubKey)."""

ROOT_VARIABLE = "WHATSAPP_EMULATOR_ROOT"
"""Names the file that holds the emulator's root. Where it is set, `install` replaces; elsewhere it does nothing."""

PROXY_VARIABLE = "HTTPS_PROXY"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LIBRARY_MODULE = "neonize._binder"


class TrustNotReplaced(ImportError):
    """The library may not be used in this process."""


def install() -> None:
    """Replace the root as soon as neonize is imported in this process, or fail that import."""
    if ROOT_VARIABLE in os.environ:
        sys.meta_path.insert(0, _Finder())


def replace(root: bytes) -> None:
    """Overwrite the trusted root. Raises TrustNotReplaced."""
    hits = []
    for segment in segments_of(library_path().resolve()):
        if "w" in segment.permissions:
            memory = ctypes.string_at(segment.start, segment.end - segment.start)
            at = memory.find(WHATSAPP_ROOT)
            while at >= 0:
                hits.append(segment.start + at)
                at = memory.find(WHATSAPP_ROOT, at + 1)
    if len(hits) != 1:
        raise TrustNotReplaced(f"WhatsApp's root was found {len(hits)} times in the library, and not once")
    ctypes.memmove(hits[0], root, len(root))


def environment_at_exec() -> dict[str, str]:
    """The environment that Go sees: what os.environ was given later is not in it."""
    block = Path("/proc/self/environ").read_bytes().decode(errors="surrogateescape")
    return dict(entry.split("=", 1) for entry in block.split("\0") if "=" in entry)


def is_on_loopback(proxy: str | None) -> bool:
    return proxy is not None and urlsplit(proxy).hostname in LOOPBACK


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != LIBRARY_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        given = environment_at_exec()
        if not library_path().exists():
            raise TrustNotReplaced("the library is missing, and importing neonize would download it")
        if "SSL_CERT_FILE" not in given or Path(given.get("SSL_CERT_DIR", "/")).exists():
            raise TrustNotReplaced("SSL_CERT_FILE and SSL_CERT_DIR were not replaced when this process was started")
        self._loader.exec_module(module)
        replace(Path(os.environ[ROOT_VARIABLE]).read_bytes())
        _require_proxy(module, has_default=is_on_loopback(given.get(PROXY_VARIABLE)))


def _require_proxy(binder: Any, *, has_default: bool) -> None:
    """Let no client connect without a proxy on loopback. Without one of its own, Go takes the environment's."""
    connect = binder.gocode.Neonize

    def guarded(*arguments: Any) -> Any:
        settings = arguments[-1]
        if settings:
            address = settings._obj if hasattr(settings, "_obj") else settings.contents
            allowed = is_on_loopback((address.proxyAddress or b"").decode())
        else:
            allowed = has_default
        if not allowed:
            raise PermissionError("a client without a proxy on loopback would dial the real WhatsApp")
        return connect(*arguments)

    binder.gocode.Neonize = guarded
