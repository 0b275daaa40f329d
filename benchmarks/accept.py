"""How many messages a second one api process accepts: POST /messages/send-text, 64 connections.

Its floors stand behind the api's own HTTP server with the same options: a bare application that answers a constant;
one that stores the body with one confirmed publish; and one that makes the three confirmed publishes of a message.

python -m benchmarks.accept
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial

import httpx
import msgspec
import uvloop

from benchmarks.figures import Figure, Measure, in_turns, show
from benchmarks.floors import Rate
from benchmarks.load import Answers, load, request
from benchmarks.machine import nats_server, process, service
from kurir.runtime import topology
from kurir.runtime.broker import Bus
from kurir.runtime.secrets import new_master_key
from tests.support.server_process import free_port

CONNECTIONS = 64
DEVICES = 128  # a device's backlog is bounded at 10,000, and nobody works it here
SECONDS = 1.5
ROUNDS = 3
PATH = "/messages/send-text"
TEXT = "Pesanan Anda 20251120-0042 sudah dikirim dan tiba besok. Terima kasih!"

FLOORS: Mapping[str, int] = {
    "bare uvicorn, a constant": 0,
    "bare uvicorn, 1 confirmed publish": 1,
    "bare uvicorn, the same 3 publishes": 3,
}


def main() -> list[Figure]:
    """Measure, print and return the figures."""
    return uvloop.run(_measured())


async def _measured() -> list[Figure]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        bus = await Bus.connect(server.url, name="accept")
        stack.push_async_callback(bus.close)
        await topology.apply(bus)
        last: dict[str, Answers] = {}
        measures: dict[str, Measure] = {}
        for name, publishes in FLOORS.items():
            port = free_port()
            url = server.url if publishes else "-"
            arguments = ("benchmarks.bare_server", str(port), url, str(publishes))
            pid = await stack.enter_async_context(
                process(*arguments, environment={}, ready_url=f"http://127.0.0.1:{port}/")
            )
            body = _body("dev_0000000000000000000000000")
            measures[name] = partial(_load, last, name, port, pid, [request(f"127.0.0.1:{port}", PATH, body)])
        port, pid, requests = await stack.enter_async_context(running_api(server.url))
        measures["api"] = partial(_load, last, "api", port, pid, requests)
        rates = await in_turns(ROUNDS, measures)
    ours = last["api"]
    note = (
        f"api latency p50 {ours.p50_ms:.1f} ms, p99 {ours.p99_ms:.1f} ms under full load; "
        f"the load generator costs {ours.load_cpu_us:.0f} µs a request, in a process of its own"
    )
    figures = [
        Figure(
            name="accept",
            what="POST /messages/send-text, 64 connections",
            ours=rates["api"],
            floor_is=name,
            floor=rates[name],
            notes=(note,) if not publishes else (),
        )
        for name, publishes in FLOORS.items()
    ]
    show(figures)
    return figures


async def _load(last: dict[str, Answers], name: str, port: int, pid: int, requests: list[bytes]) -> Rate:
    rate, last[name] = await load(port, requests, connections=CONNECTIONS, seconds=SECONDS, pid=pid)
    return rate


@contextlib.asynccontextmanager
async def running_api(nats_url: str) -> AsyncIterator[tuple[int, int, list[bytes]]]:
    """An api process without MongoDB, which accepting does not need. Yields its port, its process id, and requests."""
    port = free_port()
    environment = {
        "NATS_URL": nats_url,
        "MONGODB_URL": "mongodb://127.0.0.1:9/kurir",
        "KURIR_MASTER_KEY": new_master_key(),
        "KURIR_API_PORT": str(port),
    }
    async with service("kurir.cli", "api", environment=environment) as pid:
        operator = await operator_key(environment)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
            key, devices = await tenant_with_devices(http, operator, DEVICES)
        host, headers = f"127.0.0.1:{port}", [("X-API-Key", key)]
        yield port, pid, [request(host, PATH, _body(device), headers) for device in devices]


async def operator_key(environment: Mapping[str, str]) -> str:
    """A new operator's key, made by the command that an operator uses."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kurir.cli", "key", "create", "--operator", "--name", "bench"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await child.communicate()
    if child.returncode != 0:
        raise RuntimeError(output.decode())
    return output.decode().split()[-1]


async def tenant_with_devices(http: httpx.AsyncClient, operator: str, count: int) -> tuple[str, list[str]]:
    """A new tenant's key and that many devices, with neither a rate limit that is felt nor a pace."""

    async def post(path: str, key: str, body: object) -> dict[str, str]:
        answer = await http.post(path, headers={"X-API-Key": key}, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        made: dict[str, str] = answer.json()
        return made

    tenant = await post("/tenants", operator, {"name": "Bench", "ratePerMinute": 1_000_000, "maxDevices": 10_000})
    key = (await post(f"/tenants/{tenant['id']}/keys", operator, {"name": "bench"}))["apiKey"]
    devices = [
        await post("/devices", key, {"name": f"Bench {number}", "engine": "sandbox", "pacePerMinute": 0})
        for number in range(count)
    ]
    return key, [device["id"] for device in devices]


def _body(device: str) -> bytes:
    return msgspec.json.encode({"deviceId": device, "to": "6281234567890", "text": TEXT})


if __name__ == "__main__":
    main()
