"""What a sender notes of a message: kept with it, told again, never sent."""

import json
from typing import Any

from kurir.contracts.commands import SendMessage
from kurir.contracts.events import MessageQueued
from tests.support.api_server import Api
from tests.support.printed_examples import BEGINNINGS

NOTED = {"invoice": 7, "customer": {"id": "c-1", "tags": ["new"]}}


async def test_metadata_travels_with_the_command_and_its_event(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    assert (await tenant.send(device, metadata=NOTED)).status_code == 200
    fields = {"deviceId": device, "to": "6281234567890", "kind": "image", "metadata": json.dumps(NOTED)}
    files = {"file": ("a.png", BEGINNINGS["png"])}
    assert (await tenant.post("/messages/send-media", data=fields, files=files)).status_code == 200
    assert (await tenant.send(device)).status_code == 200
    commands = [command for command in await api.commands() if isinstance(command, SendMessage)]
    assert [command.metadata for command in commands] == [NOTED, NOTED, None]
    events = [event for _, event in await api.events() if isinstance(event, MessageQueued)]
    assert [event.metadata for event in events] == [NOTED, NOTED, None]


def nested(levels: int) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for _ in range(levels - 1):
        whole = {"in": whole}
    return whole


async def test_metadata_that_is_too_much_is_refused_by_its_name(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    assert (await tenant.send(device, metadata=nested(16))).status_code == 200
    for wrong in ({"a": "x" * 16_384}, nested(17), "text", [1]):
        refused = await tenant.send(device, metadata=wrong)
        assert (refused.status_code, refused.json()["field"]) == (400, "metadata"), refused.text
    deep = '{"deviceId":"d","to":"62812","text":"x","metadata":' + '{"a":' * 5000 + "1" + "}" * 5001
    refused = await tenant.post("/messages/send-text", content=deep)
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_JSON")
    form = {"deviceId": device, "to": "62812", "kind": "image", "metadata": '{"a":' * 5000 + "1" + "}" * 5000}
    refused = await tenant.post("/messages/send-media", data=form, files={"file": ("a.png", BEGINNINGS["png"])})
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_JSON")


async def test_another_metadata_under_one_idempotency_key_is_another_message(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    key = {"Idempotency-Key": "k"}
    first = await tenant.send(device, headers=dict(key), metadata=NOTED)
    assert (await tenant.send(device, headers=dict(key), metadata=NOTED)).json()["id"] == first.json()["id"]
    assert (await tenant.send(device, headers=dict(key), metadata={})).status_code == 409
