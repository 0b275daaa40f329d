"""The event stream of a device, and pairing a sandbox device through its owner."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from kurir.api.live.feed import QUEUE, DeviceFeed
from kurir.contracts import queries, subjects
from kurir.contracts.records import Device, Session
from kurir.contracts.states import ConnectionState
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry, key_of
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

WITHIN_S = 30


class Owner:
    """Speaks for the shard that owns a device: writes its session."""

    def __init__(self, api: Api, tenant: str, device: str) -> None:
        self._sessions = Registry(api.bus, "sessions", Session)
        self._tenant = tenant
        self._device = device

    async def says(self, state: ConnectionState, **fields: Any) -> None:
        values = {"generation": 1, "at": datetime.now(UTC), **fields}
        session = Session(device=self._device, tenant=self._tenant, state=state, **values)
        await self._sessions.put(key_of(self._tenant, self._device), session)


Frame = tuple[str, str, dict[str, Any]]


@contextlib.asynccontextmanager
async def stream(tenant: Client, device: str, **headers: str) -> AsyncIterator[AsyncIterator[Frame]]:
    """Events of a device as name, id and data."""
    async with tenant.http.stream(
        "GET", f"/devices/{device}/events", headers={"X-API-Key": tenant.key, **headers}, timeout=WITHIN_S
    ) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield frames(response)


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    name = id_ = ""
    async for line in response.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            id_ = value
        elif field == "data":
            yield name, id_, msgspec.json.decode(value)


async def next_of(events: AsyncIterator[Frame]) -> Frame:
    async with asyncio.timeout(WITHIN_S):
        return await anext(events)


async def test_a_pairing_is_seen_as_it_happens(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    owner = Owner(api, tenant.id, device)
    async with stream(tenant, device) as events:
        name, _, data = await next_of(events)
        assert (name, data["status"]) == ("status", "DISCONNECTED")
        connecting = await tenant.post(f"/devices/{device}/connect")
        assert connecting.json() == {"id": device, "status": "CONNECTING"}
        assert (await next_of(events))[2]["status"] == "CONNECTING"
        expires_at = datetime.now(UTC) + timedelta(seconds=20)
        await owner.says("qr", qr="2@abc,def", qr_expires_at=expires_at)
        assert (await next_of(events))[2]["status"] == "QR"
        name, _, data = await next_of(events)
        assert (name, data["qr"], data["deviceId"]) == ("qr", "2@abc,def", device)
        assert data["expiresAt"] == round(expires_at.timestamp() * 1000)
        kind, _, picture = data["dataUrl"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(picture).startswith(b"\x89PNG")
        await owner.says("qr", qr="2@next", qr_expires_at=expires_at)
        name, _, data = await next_of(events)
        assert (name, data["qr"]) == ("qr", "2@next"), "a new code is shown without the status again"
        await owner.says("connected", phone="6281234567890", push_name="CS")
        name, _, data = await next_of(events)
        assert (name, data) == (
            "status",
            {"deviceId": device, "status": "CONNECTED", "phoneNumber": "6281234567890", "pushName": "CS"},
        )
    shown = (await tenant.get(f"/devices/{device}")).json()
    assert (shown["status"], shown["phoneNumber"]) == ("CONNECTED", "6281234567890")
    assert (await tenant.post(f"/devices/{device}/connect")).json()["status"] == "CONNECTED"


async def test_who_comes_late_still_gets_the_qr_code(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    await Owner(api, tenant.id, device).says("qr", qr="2@abc")

    async def shows_qr() -> bool:
        return bool((await tenant.get(f"/devices/{device}")).json()["status"] == "QR")

    await until("the device shows a QR code", shows_qr)
    async with stream(tenant, device) as events:
        assert (await next_of(events))[0] == "status"
        assert (await next_of(events))[2]["qr"] == "2@abc"


async def test_a_device_that_connects_anew_is_not_shown_why_it_did_not_before(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    await Owner(api, tenant.id, device).says("disconnected", reason="qr_timeout", generation=0)

    async def has_reason() -> bool:
        return bool((await tenant.get(f"/devices/{device}")).json()["reason"] == "qr_timeout")

    await until("the reason is told", has_reason)
    async with stream(tenant, device) as events:
        assert (await next_of(events))[2]["reason"] == "qr_timeout"
        await tenant.post(f"/devices/{device}/connect")
        assert (await next_of(events))[2] == {"deviceId": device, "status": "CONNECTING"}
    shown = (await tenant.get(f"/devices/{device}")).json()
    assert (shown["status"], shown["reason"], shown["reasonMessage"]) == ("CONNECTING", None, None)


async def test_who_comes_back_is_not_told_again_what_was_seen_last(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    owner = Owner(api, tenant.id, device)
    async with stream(tenant, device) as events:
        await next_of(events)
        await owner.says("qr", qr="2@abc")
        await next_of(events)
        _, last_id, _ = await next_of(events)
    async with stream(tenant, device, **{"Last-Event-ID": last_id}) as events:
        await owner.says("connected")
        assert (await next_of(events))[2]["status"] == "CONNECTED"
    async with stream(tenant, device, **{"Last-Event-ID": last_id}) as events:
        assert (await next_of(events))[2]["status"] == "CONNECTED", "what was missed comes first"


async def test_the_stream_of_a_deleted_device_ends(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    async with stream(tenant, device) as events:
        await next_of(events)
        assert (await tenant.delete(f"/devices/{device}")).status_code == 204
        with pytest.raises(StopAsyncIteration):
            await next_of(events)
    assert (await tenant.get(f"/devices/{device}/events")).status_code == 404


async def test_open_streams_end_when_the_service_stops(nats_server: NatsServer) -> None:
    async with running_api(nats_server.url) as api:
        tenant = await api.tenant()
        device = await tenant.device()
        async with stream(tenant, device) as events:
            await next_of(events)
            began = asyncio.get_running_loop().time()
            await api.life._stop_parts()
            assert asyncio.get_running_loop().time() - began < 5
            with pytest.raises((StopAsyncIteration, httpx.RemoteProtocolError)):
                await next_of(events)


async def test_a_reader_that_does_not_keep_up_is_ended_and_holds_up_nobody(api: Api) -> None:
    devices, sessions = Registry(api.bus, "devices", Device), Registry(api.bus, "sessions", Session)
    await devices.start()
    await sessions.start()
    feed = DeviceFeed(devices, sessions)
    now = datetime.now(UTC)
    device = Device(id="d1", tenant="t1", name="CS", engine="sandbox", created_at=now, updated_at=now)
    await devices.put("t1.d1", device)
    slow, quick = feed.open(device), feed.open(device)
    seen = 0
    for n in range(QUEUE + 5):
        await sessions.put("t1.d1", Session(device="d1", tenant="t1", state="qr", at=now, qr=str(n)))
        while not quick._queue.empty():
            seen += await quick.next() is not None
    assert seen == QUEUE + 6, "the first state and every change"
    assert slow.has_ended
    assert [await slow.next() is not None for _ in range(QUEUE)] == [True] * QUEUE
    assert await slow.next() is None
    assert not quick.has_ended
    await feed.stop()
    assert await quick.next() is None
    await sessions.stop()
    await devices.stop()


async def test_wanted_states_are_written_for_the_owner(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    devices = Registry(api.bus, "devices", Device)

    async def wanted() -> Device:
        entry = await devices.fetch(key_of(tenant.id, device))
        assert entry is not None
        return entry.value

    await tenant.post(f"/devices/{device}/connect", json={"phoneNumber": "0812 3456 7890"})
    first = await wanted()
    assert (first.wanted, first.connect_generation, first.pair_phone) == ("connected", 1, "6281234567890")
    await tenant.post(f"/devices/{device}/connect")
    again = await wanted()
    assert (again.connect_generation, again.pair_phone) == (2, None)
    assert (await tenant.post(f"/devices/{device}/disconnect")).json()["status"] == "DISCONNECTED"
    assert (await wanted()).wanted == "disconnected"
    await tenant.post(f"/devices/{device}/logout")
    (order,) = await api.commands()
    assert (type(order).__name__, order.device) == ("Logout", device)
    bad = await tenant.post(f"/devices/{device}/connect", json={"phoneNumber": "nobody"})
    assert (bad.status_code, bad.json()["field"]) == (400, "phoneNumber")


async def test_scanning_a_sandbox_device_asks_its_owner(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    scan = f"/devices/{device}/sandbox/scan"
    unowned = await tenant.post(scan)
    assert (unowned.status_code, unowned.json()["code"]) == (503, "SESSION_UNOWNED")
    asked: list[queries.SandboxScan] = []
    paired = queries.answer(queries.Paired(jid="628111111111@s.whatsapp.net"))
    replies: list[queries.Reply] = [paired, queries.Refused(code="DEVICE_NOT_PAIRING")]

    async def answer(message: Any) -> None:
        asked.append(msgspec.json.decode(message.data, type=queries.SandboxScan))
        await message.respond(msgspec.json.encode(replies[len(asked) - 1]))

    subject = subjects.rpc(partition_of(device, subjects.COMMAND_PARTITIONS), "sandbox.scan")
    await api.bus.nc.subscribe(subject, cb=answer)
    await api.bus.nc.flush()
    assert (await tenant.post(scan, json={"phone": "08111111111"})).status_code == 200
    assert asked == [queries.SandboxScan(tenant=tenant.id, device=device, phone="628111111111")]
    refused = await tenant.post(scan)
    assert (refused.status_code, refused.json()["code"]) == (409, "DEVICE_NOT_PAIRING")
    real = await tenant.device(engine="neonize")
    assert (await tenant.post(f"/devices/{real}/sandbox/scan")).json()["code"] == "DEVICE_NOT_SANDBOX"
