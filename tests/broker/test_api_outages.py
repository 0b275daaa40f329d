"""Bad days: the bus or the history database is really gone."""

import asyncio
import time

import httpx

from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, running_api
from tests.support.conditions import until
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer


async def test_while_nats_is_away_sending_is_503_and_nothing_of_it_is_stored_later(
    api: Api, nats_server: NatsServer
) -> None:
    tenant = await api.tenant()
    device = await tenant.device(ratePerMinute=1000)
    assert (await tenant.send(device, text="before")).status_code == 200
    await nats_server.kill()
    await until("the loss is noticed", lambda: not api.bus.connected)
    for n in range(5):
        refused = await tenant.send(device, text=f"during {n}", headers={"Idempotency-Key": f"k{n}"})
        assert (refused.status_code, refused.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) > 0
    assert (await tenant.post("/devices", json={"name": "x"})).status_code == 503
    scan = await tenant.post(f"/devices/{device}/sandbox/scan")
    assert (scan.status_code, scan.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (await tenant.delete("/messages/01a1fbc8-f875-701b-8be8-048aafdd111b")).json()[
        "code"
    ] == "SERVICE_UNAVAILABLE"
    assert (await tenant.get("/devices")).status_code == 200, "what is in memory is still told"
    ready = await api.http.get("/health/ready")
    assert (ready.status_code, "nats" in ready.json()["failing"]) == (503, True)
    assert (await api.http.get("/health/live")).status_code == 200

    await nats_server.restart()

    async def sends_again() -> bool:
        return (await tenant.send(device, text="after")).status_code == 200

    await until("messages are accepted again", sends_again, within_s=30)
    texts = [getattr(getattr(command, "content", None), "text", None) for command in await api.commands()]
    # A try that was answered 503 because its confirmation did not come may be stored, too.
    assert (texts[0], set(texts[1:])) == ("before", {"after"})
    assert len((await tenant.get("/devices")).json()) == 1

    async def is_ready() -> bool:
        return (await api.http.get("/health/ready")).status_code == 200

    await until("the api is ready again", is_ready, within_s=30)


async def test_messages_in_flight_when_nats_is_killed_are_stored_or_not_2xx(api: Api, nats_server: NatsServer) -> None:
    """Every 2xx is a stored command. What got no 2xx may be stored, but then under an id that nobody was told."""
    tenant = await api.tenant()
    device = await tenant.device(ratePerMinute=1_000_000)
    accepted: set[str] = set()
    refused = 0

    async def send_for_ever() -> None:
        nonlocal refused
        while True:
            answer = await tenant.send(device)
            if answer.status_code == 200:
                accepted.add(answer.json()["id"])
            else:
                assert answer.status_code == 503, answer.text
                refused += 1

    senders = [asyncio.create_task(send_for_ever()) for _ in range(8)]
    await until("some are accepted", lambda: len(accepted) > 50)
    await nats_server.kill()
    await until("some are refused", lambda: refused > 8)
    before = len(accepted)
    await nats_server.restart()
    await until("they are accepted again", lambda: len(accepted) > before + 50, within_s=30)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    stored = {command.id for command in await api.commands()}
    assert accepted <= stored


async def test_a_frozen_nats_is_503_within_the_time_limit(api: Api, nats_server: NatsServer) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    await nats_server.freeze()
    began = time.monotonic()
    answer = await tenant.send(device)
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert time.monotonic() - began < 10
    await nats_server.thaw()


async def test_while_mongodb_is_away_sending_goes_on_and_history_catches_up(
    nats_server: NatsServer, mongo_server: MongoServer
) -> None:
    async with running_api(nats_server.url, mongo_server.url) as api:
        tenant = await api.tenant()
        device = await tenant.device()
        await mongo_server.kill()
        answer = await tenant.send(device)
        assert answer.status_code == 200
        message = answer.json()["id"]
        for path in (f"/messages/{message}", f"/messages/{message}/story", "/messages"):
            unavailable = await tenant.get(path)
            assert (unavailable.status_code, unavailable.json()["code"]) == (503, "HISTORY_UNAVAILABLE"), path
        assert (await api.http.get("/health/ready")).status_code == 200, "an api without history still takes messages"

        await mongo_server.restart()
        mongo = Mongo.connect(mongo_server.url)
        await api.write_history(mongo)

        async def is_told() -> bool:
            return (await tenant.get(f"/messages/{message}")).status_code == 200

        await until("the history tells of the message", is_told, within_s=30)
        assert (await tenant.get(f"/messages/{message}")).json()["status"] == "QUEUED"
        await mongo.close()


async def test_a_caller_that_leaves_in_the_middle_of_an_upload_leaves_nothing_behind(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    url = httpx.URL(api.url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = (
        f"POST /messages/send-media HTTP/1.1\r\nHost: x\r\nX-API-Key: {tenant.key}\r\nContent-Length: 5000000\r\n"
        'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="deviceId"'
        f'\r\n\r\n{device}\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    )
    writer.write(head.encode() + b"\x89PNG\r\n\x1a\n" + bytes(1_000_000))
    await writer.drain()

    async def chunks() -> int:
        return int((await api.bus.js.stream_info("OBJ_media")).state.messages)

    async def some() -> bool:
        return await chunks() > 0

    await until("a part of it is stored", some)
    writer.transport.abort()

    async def none() -> bool:
        return await chunks() == 0

    await until("nothing of it is left", none)
    assert await api.commands() == []
    assert (await tenant.send(device)).status_code == 200
