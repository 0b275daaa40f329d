"""The document's own snippets, as they are printed, against a live api: all that changes is the base URL, the
placeholders of key, secret and signature, and where the files are."""

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kurir.contracts.content import Content, Document, Image, Text
from tests.contract.dialects.rk_connect.conftest import CODE, Project
from tests.support.printed_examples import file_of
from tests.support.receiver_program import built_with_go, node_modules, runtime

NAME = "rk_connect"
SEND = "POST /api/v1/send"
SNIPPETS = Path(__file__).parent / "snippets"
KINDS = ("text", "image", "document")
RUN_WITHIN_S = 60

GO = """package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"time"
)

const apiKey = "your_api_key"

var timestamp = strconv.FormatInt(time.Now().Unix(), 10)

func signed(body string) string {
	mac := hmac.New(sha256.New, []byte("your_api_secret"))
	mac.Write([]byte(apiKey + timestamp + body))
	return hex.EncodeToString(mac.Sum(nil))
}
"""
GO_FUNCTION = """
func %s(signature string) int {
%s
	return resp.StatusCode
}
"""
GO_MAIN = """
func main() {
	body := `{"message":"Hello from RK Connect","recipient":"6281234567890","type":"text"}`
	for _, status := range []int{text(signed(body)), image(signed("")), document(signed(""))} {
		fmt.Println(status)
		if status != 200 {
			os.Exit(1)
		}
	}
}
"""


class Desk:
    """A folder in which snippets are made into programs for one project."""

    def __init__(self, folder: Path, project: Project) -> None:
        self.folder = folder
        self._project = project
        for name in ("image.jpg", "invoice.pdf"):
            (folder / name).write_bytes(file_of(name, 2048))

    def snippet(self, name: str) -> str:
        text = (SNIPPETS / name).read_text()
        for printed, ours in (
            ("https://connect.rumahkomunitas.com", self._project.api.url),
            ("your_api_key", self._project.key),
            ("your_api_secret", self._project.secret),
            ("/path/to", str(self.folder)),
        ):
            text = text.replace(printed, ours)
        return text

    def filled(self, text: str) -> str:
        """A program of ours around snippets, for the project."""
        return text.replace("your_api_key", self._project.key).replace("your_api_secret", self._project.secret)

    def signature(self, timestamp: str, body: str) -> str:
        signed = f"{self._project.key}{timestamp}{body}"
        return hmac.new(self._project.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)


def in_curl(desk: Desk) -> list[list[str]]:
    commands = []
    for kind in KINDS:
        text, timestamp = desk.snippet(f"{kind}.sh"), str(int(time.time()))
        body = text.partition("-d '")[2].rpartition("'")[0]
        text = text.replace("1709308800", timestamp).replace("<calculated_hmac_here>", desk.signature(timestamp, body))
        commands.append([runtime("sh"), desk.write(f"{kind}.sh", text.replace("curl ", "curl --fail-with-body ", 1))])
    return commands


def in_javascript(desk: Desk) -> list[list[str]]:
    (desk.folder / "node_modules").symlink_to(node_modules())
    signing, imports = desk.snippet("sign.js"), "".join(desk.snippet("image.js").splitlines(keepends=True)[:3])
    commands = []
    for kind in KINDS:
        over_nothing = desk.filled(
            "signature = require('crypto').createHmac('sha256', 'your_api_secret').update(apiKey + timestamp)"
            ".digest('hex');\n"
        )
        module = (
            "import { createRequire } from 'module';\n"
            + (imports if kind == "document" else "")
            + "const require = createRequire(import.meta.url);\n"
            + f"function signed() {{\n{signing}\nreturn {{ apiKey, timestamp, signature }};\n}}\n"
            + "let { apiKey, timestamp, signature } = signed();\n"
            + ("" if kind == "text" else over_nothing)
            + desk.snippet(f"{kind}.js")
        )
        commands.append([runtime("node"), desk.write(f"{kind}.mjs", module)])
    return commands


def in_php(desk: Desk) -> list[list[str]]:
    commands = []
    for kind in KINDS:
        over_nothing = "$signature = hash_hmac('sha256', $apiKey . $timestamp, $apiSecret);\n"
        program = (
            f"<?php\nrequire '{SNIPPETS / 'http_facade.php'}';\n"
            + desk.snippet("sign.php")
            + ("" if kind == "text" else over_nothing)
            + desk.snippet(f"{kind}.php")
            + "exit($response->status() === 200 ? 0 : 1);\n"
        )
        commands.append([runtime("php"), desk.write(f"{kind}.php", program)])
    return commands


def in_go(desk: Desk) -> list[list[str]]:
    functions = "".join(GO_FUNCTION % (kind, desk.snippet(f"{kind}.go")) for kind in KINDS)
    program = desk.write("send.go", desk.filled(GO) + functions + GO_MAIN)
    return [[str(built_with_go(Path(program)))]]


@pytest.mark.timeout(360)  # Go builds its library once
@pytest.mark.parametrize(
    "made",
    [
        pytest.param(in_curl, marks=pytest.mark.shows(NAME, SEND, "snippet curl")),
        pytest.param(in_javascript, marks=pytest.mark.shows(NAME, SEND, "snippet JavaScript")),
        pytest.param(in_php, marks=pytest.mark.shows(NAME, SEND, "snippet PHP")),
        pytest.param(in_go, marks=pytest.mark.shows(NAME, SEND, "snippet Go")),
    ],
)
async def test_the_snippets_send_a_text_an_image_and_a_document(
    project: Project, tmp_path: Path, made: Callable[[Desk], list[list[str]]]
) -> None:
    commands = await asyncio.to_thread(made, Desk(tmp_path, project))
    for command in commands:
        running = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, "no_proxy": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(running.communicate(), RUN_WITHIN_S)
        assert running.returncode == 0, said.decode()
    text, image, document = await project.messages()
    assert text.content == Text(text="Hello from RK Connect")
    assert [caption_of(message.content) for message in (image, document)] == ["Promo today", "Invoice attached"]
    assert isinstance(image.content, Image)
    assert isinstance(document.content, Document)
    assert document.content.media.file_name == "invoice.pdf"
    assert {message.device for message in (text, image, document)} == {project.device}
    assert (await project.tenant.get(f"/devices/{project.device}")).json()["code"] == CODE


def caption_of(content: Content) -> str | None:
    caption: str | None = getattr(content, "caption", None)
    return caption
