"""A tenant whose messages of the month are used up, or who is suspended, is told so by each API in its own words."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.contract.dialects.rk_connect.conftest import SENT
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer

TO = "6281234567890"
USED_UP = "The account's messages of this month are used up; ask its operator for more."
SUSPENDED = "This tenant is not active."

DIALECTS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "native": ("/messages/send-text", {"X-API-Key": "{key}"}, {"deviceId": "{device}", "to": TO, "text": "Hi"}),
    "rk_connect": ("/api/v1/send", {"X-API-KEY": "{key}", "X-DEVICE-CODE": "bot"}, dict(SENT)),
    "baileys_gateway": ("/api/send-message", {"X-API-Key": "{key}"}, {"phone": TO, "message": "Hi"}),
    "evolution": ("/message/sendText/bot", {"apikey": "{key}"}, {"number": TO, "textMessage": {"text": "Hi"}}),
    "fonnte": ("/send", {"Authorization": "{key}"}, {"target": TO, "message": "Hi"}),
}


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url) as running:
        yield running


def told(dialect: str, answer: httpx.Response) -> object:
    """What the body says, without what every answer of the dialect has beside it."""
    body = answer.json()
    match dialect:
        case "native" | "rk_connect":
            return body["code"]
        case "evolution":
            return body["response"]["message"]
        case "baileys_gateway":
            return body["message"]
        case _:
            return body["reason"]


async def test_each_dialect_has_words_for_it(gateway: Gateway) -> None:
    tenant = await gateway.api.tenant(messagesPerMonth=0)
    device = await tenant.device(code="bot")
    await gateway.connect(tenant, device)

    async def answers() -> dict[str, object]:
        found: dict[str, object] = {}
        for dialect, (path, headers, body) in DIALECTS.items():
            filled = {name: value.format(key=tenant.key) for name, value in headers.items()}
            given = {name: device if value == "{device}" else value for name, value in body.items()}
            answer = await gateway.api.http.post(path, headers=filled, json=given)
            found[dialect] = (answer.status_code, told(dialect, answer))
        return found

    assert await answers() == {
        "native": (403, "QUOTA_EXCEEDED"),
        "rk_connect": (403, "QUOTA_EXCEEDED"),
        "baileys_gateway": (400, USED_UP),  # it has no 403
        "evolution": (403, [USED_UP]),
        "fonnte": (403, "insufficient quota"),
    }
    await gateway.api.operator.patch(f"/tenants/{tenant.id}", json={"active": False})
    assert await answers() == {
        "native": (403, "ACCOUNT_SUSPENDED"),
        "rk_connect": (403, "QUOTA_EXCEEDED"),
        "baileys_gateway": (401, f"Unauthorized: {SUSPENDED}"),
        "evolution": (403, [SUSPENDED]),
        "fonnte": (403, "unknown user"),
    }
    assert await gateway.api.commands() == []
