"""Probes over real HTTP: live while the loop answers, ready only when started and every check passes."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from kurir.runtime import health as health_module
from kurir.runtime.health import Health, HealthServer
from kurir.runtime.http_server import HttpServer, PortTaken
from kurir.runtime.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health(metrics: Metrics) -> Health:
    return Health(metrics)


@pytest.fixture
async def probe(health: Health) -> AsyncIterator[httpx.AsyncClient]:
    server = HealthServer(health, "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client
    await server.stop()


async def test_a_process_is_live_before_it_is_ready(health: Health, probe: httpx.AsyncClient) -> None:
    assert (await probe.get("/health/live")).status_code == 200
    unready = await probe.get("/health/ready")
    assert unready.status_code == 503
    assert unready.json() == {"status": "unready", "failing": ["starting"]}
    health.started()
    ready = await probe.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_failing_check_is_named_and_does_not_touch_liveness(health: Health, probe: httpx.AsyncClient) -> None:
    async def raises() -> bool:
        raise OSError("gone")

    async def passes() -> bool:
        return True

    health.started()
    health.ready_when("bus", lambda: False)
    health.ready_when("registry", raises)
    health.ready_when("fine", passes)
    health.ready_when("fine too", lambda: True)
    unready = await probe.get("/health/ready")
    assert unready.json()["failing"] == ["bus", "registry"]
    assert (await probe.get("/health/live")).status_code == 200


async def test_a_check_that_hangs_is_a_failing_one(
    health: Health, probe: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(health_module, "CHECK_TIMEOUT_S", 0.05)
    health.started()
    health.ready_when("bus", hangs)
    assert (await probe.get("/health/ready")).json()["failing"] == ["bus"]


async def test_a_process_that_stops_gets_no_new_work(health: Health, probe: httpx.AsyncClient) -> None:
    health.started()
    health.stopping()
    assert (await probe.get("/health/ready")).json()["failing"] == ["stopping"]
    assert (await probe.get("/health/live")).status_code == 200


async def test_metrics_are_served_for_prometheus(metrics: Metrics, probe: httpx.AsyncClient) -> None:
    metrics.counter("kurir_sends_total", "Messages sent.").add(2)
    scraped = await probe.get("/metrics")
    assert scraped.headers["content-type"].startswith("text/plain")
    assert "kurir_sends_total 2.0" in scraped.text


async def test_other_paths_are_not_found(probe: httpx.AsyncClient) -> None:
    assert (await probe.get("/")).status_code == 404


async def test_a_probe_with_head_gets_no_body(health: Health, probe: httpx.AsyncClient) -> None:
    answer = await probe.head("/health/live")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_port_in_use_is_named(health: Health) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{port}"):
            await HealthServer(health, "127.0.0.1", port).start()


async def test_a_request_in_flight_is_finished_before_the_server_stops() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(scope: dict[str, object], receive: object, send: object) -> None:
        entered.set()
        await leave.wait()
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    server = HttpServer(slow, "127.0.0.1", 0, grace_s=10)
    await server.start()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url))
        await asyncio.wait_for(entered.wait(), 5)
        stopping = asyncio.create_task(server.stop())
        leave.set()
        assert (await request).text == "done"
        await asyncio.wait_for(stopping, 5)
    assert not server.is_serving


async def test_an_endless_stream_is_cut_after_the_grace_period() -> None:
    entered = asyncio.Event()

    async def endless(scope: dict[str, object], receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        entered.set()
        await asyncio.Event().wait()

    server = HttpServer(endless, "127.0.0.1", 0, grace_s=1)
    await server.start()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(server.url))
        await asyncio.wait_for(entered.wait(), 5)
        await asyncio.wait_for(server.stop(), 10)
        with pytest.raises(httpx.HTTPError):
            await request


async def test_an_application_that_fails_to_start_is_an_error_not_a_hang() -> None:
    async def broken(scope: dict[str, object], receive: object, send: object) -> None:
        assert callable(receive)
        assert callable(send)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no broker"})

    with pytest.raises(RuntimeError, match="did not start"):
        await HttpServer(broken, "127.0.0.1", 0, lifespan=True).start()
