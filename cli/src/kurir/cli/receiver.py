"""A small webhook receiver that checks signatures and remembers what arrived: the tenant of the demonstration."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from kurir.runtime.http_server import HttpServer


class Arrived(Struct, frozen=True):
    """One webhook. `is_signed` is None until the secret is known."""

    at: datetime
    event: str
    webhook_id: str
    is_signed: bool | None
    body: dict[str, Any]


class Receiver:
    """Answers 204 to every POST. `told` is called for each; `secret` is set once it is known."""

    def __init__(self, port: int, told: Callable[[Arrived], None]) -> None:
        self._server = HttpServer(self._answer, "127.0.0.1", port, grace_s=1)
        self._told = told
        self._news = asyncio.Condition()
        self.secret: str | None = None
        self.arrived: list[Arrived] = []

    @property
    def url(self) -> str:
        return f"{self._server.url}/hook"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def wait_for(self, wanted: Callable[[Arrived], bool], timeout_s: float) -> Arrived:
        """The first webhook that fits, past or to come. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._news:
            while True:
                for one in self.arrived:
                    if wanted(one):
                        return one
                await self._news.wait()

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if scope["method"] == "POST":
            await self._note(headers, body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def _note(self, headers: dict[str, str], body: bytes) -> None:
        one = Arrived(
            at=datetime.now(UTC),
            event=headers.get("x-webhook-event", "?"),
            webhook_id=headers.get("webhook-id", "?"),
            is_signed=self._verify(headers, body),
            body=msgspec.json.decode(body),
        )
        async with self._news:
            # The stay may be long; only the newest are of use.
            self.arrived = [*self.arrived[-999:], one]
            self._news.notify_all()
        self._told(one)

    def _verify(self, headers: dict[str, str], body: bytes) -> bool | None:
        if self.secret is None:
            return None
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True
