"""What the translation of another gateway's API adds to accepting a message.

The same text to as many devices; the native API is the floor. One after the other, the rate tells the time that
accepting takes; over 64 connections, what the process can take. The devices are not connected and their keys let
messages wait, so that accepting alone is measured in every API.

python -m benchmarks.dialects
"""

import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import httpx
import msgspec
import uvloop

from benchmarks.accept import CONNECTIONS, TEXT, operator_key
from benchmarks.figures import AnyFigure, Figure, Measure, in_turns, show
from benchmarks.floors import Rate
from benchmarks.load import load, request
from benchmarks.machine import nats_server, service
from kurir.contracts import ids
from kurir.contracts.records import ApiKey, DialectOptions
from kurir.runtime import secrets, topology
from kurir.runtime.broker import Bus
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey, new_master_key
from tests.support.server_process import free_port

TENANTS = 1000  # with a device each; RK Connect takes 60 messages a minute of each
SECONDS = 0.5
ROUNDS = 5
TO = "6281234567890"
CODE = "node"
SECRET = "bench" * 8
HOST = "127.0.0.1"

Requests = dict[str, list[bytes]]


def main() -> list[AnyFigure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[AnyFigure]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="dialects")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        port, pid, requests = await stack.enter_async_context(_running_api(server.url))
        alone: dict[str, Measure] = {name: partial(_load, 1, port, pid, each) for name, each in requests.items()}
        one_by_one = await in_turns(ROUNDS, alone)
        together: dict[str, Measure] = {
            name: partial(_load, CONNECTIONS, port, pid, each) for name, each in requests.items()
        }
        rates = await in_turns(ROUNDS, together)
    figures: list[AnyFigure] = [
        *_figures("accepted one after the other", one_by_one),
        *_figures(f"over {CONNECTIONS} connections", rates),
    ]
    show(figures)
    return figures


def _figures(how: str, rates: Mapping[str, Rate]) -> list[Figure]:
    return [
        Figure(
            name="dialects",
            what=f"a text in the words of {name}, {how}",
            ours=rate,
            floor_is="POST /messages/send-text",
            floor=rates["native"],
        )
        for name, rate in rates.items()
        if name != "native"
    ]


async def _load(connections: int, port: int, pid: int, requests: list[bytes]) -> Rate:
    rate, _ = await load(port, requests, connections=connections, seconds=SECONDS, pid=pid)
    return rate


@contextlib.asynccontextmanager
async def _running_api(nats_url: str) -> AsyncIterator[tuple[int, int, Requests]]:
    port = free_port()
    environment = {
        "NATS_URL": nats_url,
        "MONGODB_URL": "mongodb://127.0.0.1:9/kurir",
        "KURIR_MASTER_KEY": new_master_key(),
        "KURIR_API_PORT": str(port),
        "KURIR_REQUESTS_PER_HOUR": "0",
    }
    async with service("kurir.cli", "api", environment=environment) as pid:
        operator = await operator_key(environment)
        made: Requests = {}
        bus = await Bus.connect(nats_url, name="dialects")
        keys, master_key = Registry(bus, "keys", ApiKey), MasterKey.parse(environment["KURIR_MASTER_KEY"])
        try:
            async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=20) as http:
                for number in range(TENANTS):
                    tenant = await _post(http, "/tenants", operator, {"name": f"t{number}", "ratePerMinute": 1_000_000})
                    key = (await _post(http, f"/tenants/{tenant['id']}/keys", operator, {"name": "bench"}))["apiKey"]
                    body = {"name": CODE, "code": CODE, "engine": "sandbox", "pacePerMinute": 0}
                    device = (await _post(http, "/devices", key, body))["id"]
                    bound = await _bound(keys, tenant["id"], device, None)
                    signed = await _bound(keys, tenant["id"], device, master_key)
                    for name, (path, content, headers) in _bodies(device, bound, signed).items():
                        made.setdefault(name, []).append(request(f"{HOST}:{port}", path, content, headers))
        finally:
            await bus.close()
        yield port, pid, made


async def _bound(keys: Registry[ApiKey], tenant: str, device: str, master_key: MasterKey | None) -> str:
    """A key of the device that lets messages wait; with the master key one whose requests are signed with SECRET."""
    api_key, identifier = secrets.new_api_key(), ids.short_id("key_")
    record = ApiKey(
        id=identifier,
        role="tenant",
        name="bench",
        hint=api_key[-4:],
        created_at=datetime.now(UTC),
        tenant=tenant,
        device=device,
        options=DialectOptions(when_offline="queue"),
        sealed_secret=master_key.seal(SECRET, secrets.key_secret_context(identifier)) if master_key else None,
    )
    await keys.create(secrets.api_key_digest(api_key), record)
    return api_key


def _bodies(device: str, bound: str, signed: str) -> dict[str, tuple[str, bytes, list[tuple[str, str]]]]:
    encode: Callable[[object], bytes] = msgspec.json.encode
    rk = encode({"recipient": TO, "type": "text", "message": TEXT})
    at = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), signed.encode() + at.encode() + rk, hashlib.sha256).hexdigest()
    return {
        "native": (
            "/messages/send-text",
            encode({"deviceId": device, "to": TO, "text": TEXT}),
            [("X-API-Key", bound)],
        ),
        "Evolution API": (
            f"/message/sendText/{CODE}",
            encode({"number": TO, "textMessage": {"text": TEXT}}),
            [("apikey", bound)],
        ),
        "the Baileys gateway": (
            "/api/send-message",
            encode({"phone": TO, "message": TEXT}),
            [("X-API-Key", bound)],
        ),
        "RK Connect": (
            "/api/v1/send",
            rk,
            [("X-API-KEY", signed), ("X-DEVICE-CODE", CODE), ("X-TIMESTAMP", at), ("X-SIGNATURE", signature)],
        ),
        "Fonnte": ("/send", encode({"target": TO, "message": TEXT}), [("Authorization", bound)]),
    }


async def _post(http: httpx.AsyncClient, path: str, key: str, body: object) -> dict[str, str]:
    answer = await http.post(path, headers={"X-API-Key": key}, json=body)
    if not answer.is_success:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    made: dict[str, str] = answer.json()
    return made


if __name__ == "__main__":
    main()
