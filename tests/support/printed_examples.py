"""Requests and responses as another gateway's document prints them: replayed, and compared with what is answered.

A file of tests/examples/dialects/<dialect>/ holds `{"request": {"method", "path", "headers", "json" | "form",
"file": {"name", "size_kb"}}, "answer": {"status", "body"}}`.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).parents[1] / "examples" / "dialects"

BEGINNINGS = {
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
    "png": bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    ),
    "pdf": b"%PDF-1.7\n",
    "mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x64" + bytes(413),
    "ogg": b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01",
    "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00",
}
"""How files of these extensions begin, which is what their type is told by."""

_TIMES = {
    "iso": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "local": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
}


@dataclass(frozen=True)
class Example:
    """One request and its answer, as printed."""

    request: dict[str, Any]
    status: int
    body: Any

    async def sent_by(self, http: httpx.AsyncClient, headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer to the request; `headers` beside those that are printed."""
        request = self.request
        options: dict[str, Any] = {}
        if "json" in request:
            options["json"] = request["json"]
        if "form" in request:
            options["data"] = request["form"]
        if file := request.get("file"):
            options["files"] = {"file": (file["name"], file_of(file["name"], round(file["size_kb"] * 1024)))}
        return await http.request(
            request["method"], request["path"], headers={**request.get("headers", {}), **(headers or {})}, **options
        )


def example(dialect: str, name: str) -> Example:
    """One of the recorded examples of this dialect."""
    stored = json.loads((FOLDER / dialect / f"{name}.json").read_text())
    return Example(stored["request"], stored["answer"]["status"], stored["answer"]["body"])


def file_of(name: str, size: int) -> bytes:
    """So many bytes that are a file of the kind that its name says."""
    return BEGINNINGS.get(name.rpartition(".")[2].lower(), b"plain text\n").ljust(size, b"\x00")[:size]


def assert_as_printed(answer: Any, printed: Any, *, varying: Collection[str] = (), at: str = "") -> None:
    """`answer` has what is printed, in its order. Of what `varying` names (`system.uptime`) only the type, and of times
    only the form has to be as printed. Members that are not printed are welcome after those that are."""
    if at in varying:
        assert isinstance(answer, type(printed)) or (type(answer), type(printed)) == (int, float), (at, answer)
    elif isinstance(printed, dict):
        assert list(answer)[: len(printed)] == list(printed), (at, answer)
        for name, value in printed.items():
            assert_as_printed(answer[name], value, varying=varying, at=f"{at}.{name}" if at else name)
    elif isinstance(printed, str) and (form := next((t for t in _TIMES.values() if t.fullmatch(printed)), None)):
        assert form.fullmatch(answer), (at, answer)
    else:
        assert answer == printed, at
