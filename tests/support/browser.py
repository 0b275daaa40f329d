"""A real browser: chromium without a window, driven over the Chrome DevTools Protocol as a person would drive it.

async with Chromium() as chromium:
    page = await chromium.page("http://127.0.0.1:8080/dashboard")
    await page.fill("API key", key)
    await page.press("Sign in")
    await page.sees("Devices")

Controls are found by the names that people and screen readers know them by; clicks and keys are the browser's own. Each
page has a profile of its own. What a page complains about is kept in `complaints`.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

from tests.support.conditions import until

STARTED_WITHIN_S = 60.0  # on a machine that is busy with other tests
ANSWERS_WITHIN_S = 30.0
SEEN_WITHIN_S = 20.0

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--lang=en-GB",
    "--remote-debugging-port=0",
)

# Finds what is shown by its name: inside the dialog on top, when there is one.
_FIND = """
(kind, name) => {
  const kinds = {
    control: "button, a, summary, [role=button]",
    field: "input, select, textarea",
    anything: "*",
  };
  const dialogs = document.querySelectorAll("dialog[open]");
  const top = dialogs[dialogs.length - 1] ?? document;
  const tidy = (text) => (text ?? "").replace(/\\s+/g, " ").trim();
  const called = (each) => {
    if (kind === "field") return [each.getAttribute("aria-label"), ...[...each.labels].map((one) => one.textContent)];
    return [each.getAttribute("aria-label"), each.textContent];
  };
  return [...top.querySelectorAll(kinds[kind])].find(
    (each) => each.checkVisibility() && called(each).some((one) => one !== null && tidy(one) === name),
  );
}
"""

# Lets a click through that hits what it is for, or the label of that, and stops it where the page has moved meanwhile.
_AIM = """
(found) => {
  if (!found) return false;
  const kinds = ["mousedown", "mouseup", "click"];
  const judge = (event) => {
    const labels = [...(found.labels ?? [])];
    const hit = [found, ...labels].some((each) => each.contains(event.target));
    if (event.type === "click") window.hasBeenHit = hit;
    if (!hit) event.preventDefault();
    if (!hit) event.stopImmediatePropagation();
  };
  window.hasBeenHit = false;
  window.stopAiming = () => kinds.forEach((kind) => window.removeEventListener(kind, judge, true));
  kinds.forEach((kind) => window.addEventListener(kind, judge, true));
  return true;
}
"""


class Chromium:
    """One browser process. Raises AssertionError when no chromium is installed (`make test` installs it)."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="kurir-chromium-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def __aenter__(self) -> Self:
        program = next((found for name in _NAMES if (found := shutil.which(name))), None)
        assert program, "no chromium here: `make test` installs it"
        command = [program, *_FLAGS, f"--user-data-dir={self._home.name}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        told = Path(self._home.name) / "DevToolsActivePort"
        await until("chromium listens", lambda: told.exists() and "\n" in told.read_text(), within_s=STARTED_WITHIN_S)
        port, path = told.read_text().split()
        self._socket = await connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None, ping_interval=None)
        self._reading = asyncio.create_task(self._read(self._socket))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._home.cleanup()

    async def page(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> "Page":
        """Open a page in a profile of its own."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height)
        if dark:
            await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        await page.open(url)
        return page

    async def call(self, method: str, session: str | None = None, /, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its result. Raises AssertionError when it is refused."""
        assert self._socket is not None
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        await self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                told = await answer
        finally:
            del self._answers[number]
        assert "error" not in told, f"{method}: {told['error']}"
        result: dict[str, Any] = told["result"]
        return result

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            told = json.loads(text)
            if (answer := self._answers.get(told.get("id", 0))) is not None:
                answer.set_result(told)
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.heard(told["method"], told["params"])


class Page:
    """One page. What it is asked for by name must come to be shown within SEEN_WITHIN_S."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium = chromium
        self._session = session
        self.complaints: list[str] = []
        """Errors of scripts, what the content security policy stopped, and what could not be loaded."""
        self.requested: list[str] = []
        """Every URL that it asked for, those of websockets too."""

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._chromium.call(method, self._session, **params)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited. Raises AssertionError when it throws."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def text(self) -> str:
        """All that is shown."""
        return str(await self.evaluate("document.body?.innerText ?? ''"))

    async def sees(self, *texts: str, within_s: float = SEEN_WITHIN_S) -> None:
        """Return when the page shows all of `texts`."""
        shown = ""

        async def all_there() -> bool:
            nonlocal shown
            shown = await self.text()
            return all(text in shown for text in texts)

        await until(f"the page shows {texts}", all_there, within_s=within_s, seen=lambda: shown)

    async def holds(self, what: str, script: str, within_s: float = SEEN_WITHIN_S) -> None:
        """Return when a JavaScript expression is true; `what` says what that means."""

        async def is_true() -> bool:
            return bool(await self.evaluate(script))

        await until(what, is_true, within_s=within_s)

    async def press(self, name: str) -> None:
        """Click the button or link of that name."""
        await self._click("control", name)

    async def fill(self, label: str, text: str) -> None:
        """Replace what stands in a field."""
        await self._click("field", label)
        await self.evaluate("document.activeElement.select()")
        await self.key("Delete")
        await self.call("Input.insertText", text=text)

    async def choose(self, label: str, option: str) -> None:
        """Choose from a list by what is shown there."""
        where = await self._where("field", label)
        assert where
        script = f"""((list) => {{
            const found = [...list.options].find((each) => each.textContent === {json.dumps(option)});
            list.value = found.value;
            list.dispatchEvent(new Event("change", {{ bubbles: true }}));
            list.dispatchEvent(new Event("input", {{ bubbles: true }}));
        }})(({_FIND})("field", {json.dumps(label)}))"""
        await self.evaluate(script)

    async def tick(self, label: str) -> None:
        """Click a checkbox."""
        await self._click("field", label)

    async def give_file(self, label: str, *paths: Path) -> None:
        """Choose files for a field."""
        await self._where("field", label)
        told = await self.call("Runtime.evaluate", expression=f'({_FIND})("field", {json.dumps(label)})')
        files: Sequence[str] = [str(path) for path in paths]
        await self.call("DOM.setFileInputFiles", objectId=told["result"]["objectId"], files=files)

    async def key(self, key: str) -> None:
        """Press a key, by its name in KeyboardEvent.key."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "Delete": 46}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **text
            )

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def screenshot(self, path: Path) -> None:
        """Write what is shown to a PNG."""
        told = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(str(details.get("exception", {}).get("description") or details["text"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.complaints.append(str([one.get("description", one.get("value")) for one in params["args"]]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                entry = params["entry"]
                self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}".strip())
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requested.append(params["url"])

    async def _click(self, kind: str, name: str) -> None:
        async def has_been_hit() -> bool:
            x, y = await self._where(kind, name)
            if not await self.evaluate(f"({_AIM})(({_FIND})({json.dumps(kind)}, {json.dumps(name)}))"):
                return False
            for event in ("mousePressed", "mouseReleased"):
                await self.call("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)
            # Another page, where a link led to, knows nothing of it.
            return bool(await self.evaluate("(window.stopAiming?.(), window.hasBeenHit ?? true)"))

        await until(f"a click hits {kind} {name!r}", has_been_hit, within_s=SEEN_WITHIN_S)

    async def _where(self, kind: str, name: str) -> tuple[float, float]:
        """The middle of what is named so, scrolled into view and on top of everything."""
        script = f"""((found) => {{
            if (!found) return null;
            found.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = found.getBoundingClientRect();
            const at = [box.x + box.width / 2, box.y + box.height / 2];
            const top = document.elementFromPoint(...at);
            return top && (found.contains(top) || top.contains(found)) ? at : null;
        }})(({_FIND})({json.dumps(kind)}, {json.dumps(name)}))"""
        found: list[float] | None = None

        async def is_there() -> bool:
            nonlocal found
            found = await self.evaluate(script)
            return found is not None

        await until(f"there is a {kind} {name!r}", is_there, within_s=SEEN_WITHIN_S)
        assert found is not None
        return found[0], found[1]
