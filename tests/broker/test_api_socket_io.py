"""Evolution's websocket, as socket.io's own clients see it: who is let in, what they are told, and when it ends."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import socketio
from msgspec.structs import replace

from kurir.api.legacy.evolution import socket_io
from kurir.contracts import events, ids, subjects
from kurir.contracts.content import Address, Text
from kurir.contracts.records import ApiKey, Device, DeviceSettings, DialectOptions, Outlet
from kurir.runtime.registry import Registry
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.receiver_program import node_modules, program_environment, runtime

ALICE = Address(jid="628111222333@s.whatsapp.net", pn="628111222333@s.whatsapp.net")
PROGRAM = Path(__file__).parents[1] / "contract" / "receivers" / "node" / "socket_io_client.cjs"
EVERYTHING = Outlet(enabled=True)
WITHIN_S = 30.0


async def an_instance(api: Api, tenant: Client, name: str, websocket: Outlet = EVERYTHING) -> str:
    """The id of a device that Evolution's clients call `name`."""
    made = await tenant.post("/devices", json={"name": name, "engine": "sandbox"})
    identifier: str = made.json()["id"]
    settings = DeviceSettings(websocket=websocket)
    await changed(api, tenant, identifier, code=name, settings=settings)

    async def is_known() -> bool:
        return bool((await tenant.get(f"/devices/{identifier}")).json()["code"] == name)

    await until("the api knows the instance", is_known)
    return identifier


async def changed(api: Api, tenant: Client, device: str, **fields: Any) -> None:
    devices = Registry(api.bus, "devices", Device)
    await devices.start()
    await devices.change(f"{tenant.id}.{device}", lambda record: replace(record, **fields))
    await devices.stop()


async def say(api: Api, tenant: Client, device: str, text: str = "Halo!", **fields: Any) -> None:
    now = datetime.now(UTC)
    given = {"id": ids.uuid7(), "tenant": tenant.id, "device": device, "at": now, "message_id": ids.uuid7()}
    given |= {"whatsapp_id": "3EB0AA", "chat": ALICE, "sender": ALICE, "content": Text(text=text), "sent_at": now}
    event = events.MessageUpserted(**{**given, **fields})
    await api.bus.publish(subjects.event(event.tenant, device, "messages.upsert"), events.encode(event))


class Listener:
    """A client of python-socketio in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.namespace = namespace
        self.heard: list[tuple[str, Any]] = []
        self.client.on("*", self._hear, namespace=namespace)

    async def _hear(self, event: str, body: Any) -> None:
        self.heard.append((event, body))

    def named(self, event: str) -> list[Any]:
        return [body for name, body in self.heard if name == event]

    async def hears(self, event: str, count: int = 1) -> list[Any]:
        await until(f"{count} {event}", lambda: len(self.named(event)) >= count, within_s=WITHIN_S)
        return self.named(event)


@contextlib.asynccontextmanager
async def listening(api: Api, namespace: str, **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(namespace)
    url = api.url + options.pop("query", "")
    await listener.client.connect(url, namespaces=[namespace], wait_timeout=WITHIN_S, **options)
    try:
        yield listener
    finally:
        await listener.client.disconnect()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("way", ["header", "query", "auth"])
async def test_a_namespace_tells_the_events_of_its_instance(api: Api, way: str, transport: str) -> None:
    tenant = await api.tenant()
    device = await an_instance(api, tenant, "CS_HQ")
    shown: dict[str, dict[str, Any]] = {
        "header": {"headers": {"apikey": tenant.key}},
        "query": {"query": f"?apikey={tenant.key}"},
        "auth": {"auth": {"apikey": tenant.key}},
    }
    async with listening(api, "/CS_HQ", transports=[transport], **shown[way]) as listener:
        await say(api, tenant, device, "Grüße 😀", push_name="Ann")
        (body,) = await listener.hears("messages.upsert")
        await listener.hears("chats.update")
    assert (body["event"], body["instance"]) == ("messages.upsert", "CS_HQ")
    assert body["data"]["message"] == {"conversation": "Grüße 😀"}
    assert "apikey" not in body
    assert "destination" not in body


async def test_only_what_the_instance_lets_through_is_told(api: Api) -> None:
    tenant = await api.tenant()
    chosen = await an_instance(api, tenant, "chosen", Outlet(enabled=True, events=("MESSAGES_UPSERT",)))
    quiet = await an_instance(api, tenant, "quiet", Outlet())
    key = {"apikey": tenant.key}
    async with (
        listening(api, "/quiet", auth=key) as unheard,
        listening(api, "/chosen", auth=key) as listener,
        listening(api, "/", auth=key) as root,
    ):
        await say(api, tenant, quiet, "unheard", push_name="Ann")
        await root.hears("messages.upsert")
        for number in (1, 2):  # the second comes after all that the first is told as
            await say(api, tenant, chosen, f"heard {number}", push_name="Ann")
            await listener.hears("messages.upsert", number)
        assert unheard.heard == []
    assert {name for name, _ in listener.heard} == {"messages.upsert"}


async def test_the_root_tells_the_events_of_all_devices_of_the_tenant_and_of_no_other(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    first = await an_instance(api, tenant, "one", Outlet())
    second = await an_instance(api, tenant, "two", Outlet())
    foreign = await an_instance(api, other, "one")
    async with listening(api, "/", auth={"apikey": tenant.key}) as listener:
        await say(api, other, foreign, "not yours")
        await say(api, tenant, first)
        await say(api, tenant, second)
        bodies = await listener.hears("messages.upsert", 2)
    assert [body["instance"] for body in bodies] == ["one", "two"]


async def test_two_tenants_instances_of_one_name_are_two_namespaces(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    mine = await an_instance(api, tenant, "same")
    theirs = await an_instance(api, other, "same")
    async with (
        listening(api, "/same", auth={"apikey": tenant.key}) as own,
        listening(api, "/same", auth={"apikey": other.key}) as foreign,
    ):
        await say(api, other, theirs, "theirs")
        await say(api, tenant, mine, "mine")
        (told,) = await own.hears("messages.upsert")
        (told_them,) = await foreign.hears("messages.upsert")
    assert told["data"]["message"] == {"conversation": "mine"}
    assert told_them["data"]["message"] == {"conversation": "theirs"}


async def test_who_may_not_listen_is_refused_with_a_reason(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    await an_instance(api, tenant, "CS_HQ")
    refusals: dict[str, dict[str, Any]] = {
        "no key": {},
        "wrong key": {"auth": {"apikey": "wrong"}},
        "not a text": {"auth": {"apikey": 7}},
        "another tenant's": {"auth": {"apikey": other.key}},
    }
    for shown in refusals.values():
        listener = Listener("/CS_HQ")
        said: list[Any] = []
        listener.client.on("connect_error", said.append, namespace="/CS_HQ")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await listener.client.connect(api.url, namespaces=["/CS_HQ"], wait_timeout=WITHIN_S, **shown)
        await until("the refusal is told", functools.partial(bool, said))
        assert said[0]["message"]
        await listener.client.disconnect()


async def test_a_revoked_key_and_a_deleted_device_end_the_connection(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurir.api.live.following.HEARTBEAT_S", 0.2)
    tenant = await api.tenant()
    device = await an_instance(api, tenant, "gone")
    async with listening(api, "/gone", auth={"apikey": tenant.key}) as listener:
        deleted = await tenant.request("DELETE", f"/devices/{device}")
        assert deleted.status_code == 204
        await say(api, tenant, device)
        await until("the connection has ended", lambda: not listener.client.connected, within_s=WITHIN_S)
    async with listening(api, "/", auth={"apikey": tenant.key}) as listener:
        keys = Registry(api.bus, "keys", ApiKey)
        await keys.start()
        for key, record in keys.items():
            if record.tenant == tenant.id:
                await keys.delete(key)
        await keys.stop()
        await until("the connection has ended", lambda: not listener.client.connected, within_s=WITHIN_S)


async def test_a_key_that_may_be_shown_is_told_and_bodies_are_of_the_version_it_asks_for(api: Api) -> None:
    tenant = await api.tenant()
    device = await an_instance(api, tenant, "CS_HQ")
    keys = Registry(api.bus, "keys", ApiKey)
    await keys.start()
    (name,) = [key for key, record in keys.items() if record.tenant == tenant.id]
    options = DialectOptions(evolution_version="v2", show_key=True)
    await keys.change(name, lambda record: replace(record, options=options))
    await keys.stop()

    async def tell_until_shown() -> bool:
        async with listening(api, "/CS_HQ", auth={"apikey": tenant.key}) as listener:
            await say(api, tenant, device)
            (body,) = await listener.hears("messages.upsert")
        return bool(body.get("apikey") == tenant.key and body["data"]["instanceId"] == device)

    await until("the api has heard of the key's options", tell_until_shown, within_s=WITHIN_S)


async def test_who_does_not_read_is_ended_and_holds_up_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_io, "STALL_S", 0.5)
    monkeypatch.setattr(socket_io, "MAX_WAITING", 4)
    tenant = await api.tenant()
    device = await an_instance(api, tenant, "CS_HQ")
    opened = await api.http.get("/socket.io/?EIO=4&transport=polling")
    sid = json.loads(opened.text[1:])["sid"]
    polled = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    connect = "40/CS_HQ," + json.dumps({"apikey": tenant.key})
    assert (await api.http.post(polled, content=connect)).text == "OK"
    assert (await api.http.get(polled)).text.startswith("40/CS_HQ,")  # and from now on nothing is read
    async with listening(api, "/CS_HQ", auth={"apikey": tenant.key}) as reader:
        for number in range(10):
            await say(api, tenant, device, str(number))
        await reader.hears("messages.upsert", 10)

        async def is_ended() -> bool:
            return (await api.http.post(polled, content="3")).status_code == 400

        await until("the client that does not read is ended", is_ended, within_s=WITHIN_S)


async def test_too_many_clients_are_not_let_in(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_io, "MAX_SOCKETS", 1)
    assert (await api.http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200
    assert (await api.http.get("/socket.io/?EIO=4&transport=polling")).status_code == 503


async def test_a_client_that_shows_no_key_is_ended_and_makes_room(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_io, "IDENTIFY_WITHIN_S", 0.2)
    monkeypatch.setattr(socket_io, "MAX_SOCKETS", 1)
    async with running_api(nats_server.url) as api:
        opened = await api.http.get("/socket.io/?EIO=4&transport=polling")
        sid = json.loads(opened.text[1:])["sid"]

        async def is_ended() -> bool:
            return (
                await api.http.post(f"/socket.io/?EIO=4&transport=polling&sid={sid}", content="3")
            ).status_code == 400

        await until("the stranger is ended", is_ended, within_s=WITHIN_S)
        assert (await api.http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200


async def test_the_end_of_the_service_ends_every_connection(nats_server: NatsServer) -> None:
    listener = Listener("/CS_HQ")
    async with running_api(nats_server.url) as api:
        tenant = await api.tenant()
        await an_instance(api, tenant, "CS_HQ")
        await listener.client.connect(
            api.url, namespaces=["/CS_HQ"], auth={"apikey": tenant.key}, wait_timeout=WITHIN_S
        )
        began = time.monotonic()
    assert time.monotonic() - began < 15  # far less than requests in flight are given
    await until("the connection has ended", lambda: not listener.client.connected, within_s=WITHIN_S)
    await listener.client.disconnect()


async def test_the_client_from_npm_hears_the_same(api: Api, tmp_path: Path) -> None:
    tenant = await api.tenant()
    device = await an_instance(api, tenant, "CS_HQ")
    (tmp_path / "node_modules").symlink_to(await asyncio.to_thread(node_modules))
    program = tmp_path / "client.cjs"
    program.write_text(PROGRAM.read_text())
    said = tmp_path / "said"

    def lines() -> list[str]:
        return said.read_text().splitlines()

    with said.open("wb") as output:
        client = subprocess.Popen(
            [runtime("node"), str(program), f"{api.url}/CS_HQ", tenant.key],
            cwd=tmp_path,
            env=program_environment({}),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await until("the client has connected", lambda: lines()[:1] == ["connected"], within_s=60, seen=lines)
        await say(api, tenant, device, "Halo!")
        await until("the client has heard", lambda: len(lines()) == 2, within_s=WITHIN_S, seen=lines)
    finally:
        os.killpg(client.pid, signal.SIGKILL)  # node runs below the program that finds it
        client.wait(10)
    heard = json.loads(lines()[1])
    assert (heard["name"], heard["body"]["instance"]) == ("messages.upsert", "CS_HQ")
    assert heard["body"]["data"]["message"] == {"conversation": "Halo!"}
