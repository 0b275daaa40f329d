"""A tenant's events live, over server-sent events and over websockets: real sockets, a real stream."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from kurir.api.live import event_routes, following, telling, tickets
from kurir.contracts import events, streams, subjects
from kurir.dialects.dialect import Context
from kurir.dialects.shapes import SHAPES
from kurir.runtime.broker import BrokerUnavailable
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.dispatcher import a_message
from tests.support.nats_server import NatsServer

WITHIN_S = 30

Told = dict[str, Any]  # one event: its body with its id, however it came


async def say(api: Api, tenant: str, device: str = "d1", text: str = "Halo!", **fields: Any) -> events.MessageUpserted:
    """Publish a received text, as the device's owner would."""
    event = a_message(tenant, device, text, **fields)
    subject = subjects.event(tenant, device, events.type_of(event))
    while True:  # as an owner does; by its id it is stored once
        with contextlib.suppress(BrokerUnavailable):
            await api.bus.publish(subject, events.encode(event), msg_id=event.id)
            return event


@contextlib.asynccontextmanager
async def by_sse(
    api: Api, api_key: str | None, last: str | None = None, /, **query: str
) -> AsyncIterator[AsyncIterator[Told]]:
    headers = ({"X-API-Key": api_key} if api_key else {}) | ({"Last-Event-ID": last} if last else {})
    async with api.http.stream("GET", "/events", params=query, headers=headers, timeout=WITHIN_S) as response:
        if response.status_code != 200:
            raise Refused(response.status_code, json.loads(await response.aread()))
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _sse(response)


async def _sse(response: httpx.Response) -> AsyncIterator[Told]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            body = json.loads(fields["data"])
            assert fields["event"] == body.get("event", body.get("type"))
            yield {"id": fields["id"], **body}
            fields = {}
        else:
            yield {"event": following.POSITION, "data": {}, "id": fields["id"]}
            fields = {}


@contextlib.asynccontextmanager
async def by_socket(
    api: Api, api_key: str | None, last: str | None = None, /, **query: str
) -> AsyncIterator[AsyncIterator[Told]]:
    headers = ({"X-API-Key": api_key} if api_key else {}) | ({"Last-Event-ID": last} if last else {})
    url = str(httpx.URL(api.url.replace("http", "ws", 1) + "/events/socket", params=query))
    try:
        socket = await connect(url, additional_headers=headers, proxy=None, open_timeout=WITHIN_S)
    except websockets.InvalidStatus as refused:
        raise Refused(refused.response.status_code, json.loads(refused.response.body or b"{}")) from None
    try:
        yield _messages(socket)
    finally:
        socket.transport.abort()  # as a phone goes that loses its network


async def _messages(socket: ClientConnection) -> AsyncIterator[Told]:
    try:
        while True:
            yield json.loads(await socket.recv())
    except websockets.ConnectionClosed as closed:
        if closed.rcvd is not None:
            yield {"event": "closed", "data": {"code": closed.rcvd.code, "reason": closed.rcvd.reason}, "id": ""}


class Refused(Exception):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


BOTH = pytest.mark.parametrize("follow", [by_sse, by_socket], ids=["sse", "websocket"])


async def next_of(told: AsyncIterator[Told], *, with_position: bool = False) -> Told:
    """The next event; what only tells the position is passed over."""
    async with asyncio.timeout(WITHIN_S):
        async for one in told:
            if with_position or one.get("event") != following.POSITION:
                return one
    raise AssertionError("the stream ended")


@BOTH
async def test_an_event_is_told_at_once_as_a_webhook_would_tell_it(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    async with follow(api, tenant.key) as told:
        assert (await next_of(told, with_position=True))["event"] == following.POSITION
        event = await say(api, tenant.id, text="Grüße 😀")
        one = await next_of(told)
    (stored,) = await api.bus.read_from(streams.EVENTS.name, "kurir.evt.>", 1, 10)
    assert one.pop("id") == str(stored.seq)
    body = SHAPES["device_gateway"].payload(events.type_of(event), stored.data, Context(media_url=lambda _: None)).body
    assert one == json.loads(body)
    assert one["data"]["content"] == {"conversation": "Grüße 😀"}


@BOTH
async def test_what_becomes_of_a_webhook_is_told_to_who_follows_the_whole_tenant(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    event = events.EndpointRecovered(
        id="wh_1-recovered-2",
        tenant=tenant.id,
        device=subjects.NO_DEVICE,
        at=datetime.now(UTC),
        endpoint="wh_1",
        host="example.com",
    )
    async with (
        follow(api, tenant.key, events="endpoint.*") as told,
        follow(api, tenant.key, events="*", deviceId=device) as of_a_device,
    ):
        for one in (told, of_a_device):
            await next_of(one, with_position=True)
        subject = subjects.event(tenant.id, subjects.NO_DEVICE, "endpoint.recovered")
        await api.bus.publish(subject, events.encode(event))
        await say(api, tenant.id, device)
        one = await next_of(told)
        other = await next_of(of_a_device)
    assert (one["event"], one["data"]["endpoint"], one["data"]["device"]) == ("endpoint.recovered", "wh_1", "-")
    assert other["event"] == "message.received"


@BOTH
async def test_followers_hear_what_they_ask_for_and_in_the_shape_they_ask_for(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    one, other = await tenant.device(), await tenant.device()
    answer = await tenant.send(one)  # tells of `send.message.queued`
    assert answer.status_code == 200
    async with (
        follow(api, tenant.key, "0", events="send.message.*", deviceId=one) as sends,
        follow(api, tenant.key, "0", deviceId=other) as others,
        follow(api, tenant.key, "0", events="messages.upsert", payload="native") as native,
    ):
        assert (await next_of(sends))["data"]["status"] == "QUEUED"
        await say(api, tenant.id, one, "for one")
        await say(api, tenant.id, other, "for the other")
        assert (await next_of(others))["data"]["content"] == {"conversation": "for the other"}
        first, second = await next_of(native), await next_of(native)
        assert (first["type"], first["data"]["device"], second["data"]["device"]) == ("messages.upsert", one, other)
        await tenant.send(one)
        assert (await next_of(sends))["data"]["status"] == "QUEUED", "nothing else came between"


@BOTH
async def test_a_tenant_hears_nothing_of_another(api: Api, follow: Any) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    device = await other.device()
    with pytest.raises(Refused) as refused:
        async with follow(api, tenant.key, deviceId=device):
            pass
    assert (refused.value.status, refused.value.body["code"]) == (404, "DEVICE_NOT_FOUND")
    async with follow(api, tenant.key, "0", events="*") as told:
        await say(api, other.id, device, "not for you")
        mine = await say(api, tenant.id, "d1", "mine")
        one = await next_of(told)
        assert one["data"]["content"] == {"conversation": "mine"}
        assert one["data"]["id"] == mine.message_id


@BOTH
async def test_a_key_of_one_device_hears_of_that_device_alone(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    mine, other = await tenant.device(), await tenant.device()
    made = await api.operator.post(f"/tenants/{tenant.id}/keys", json={"deviceId": mine})
    key = made.json()["apiKey"]
    with pytest.raises(Refused) as refused:
        async with follow(api, key, deviceId=other):
            pass
    assert refused.value.status == 404
    async with follow(api, key, "0") as told:
        await say(api, tenant.id, other)
        await say(api, tenant.id, mine, "mine")
        assert (await next_of(told))["data"]["deviceId"] == mine


@BOTH
async def test_a_ticket_opens_for_a_minute_what_its_key_opens(
    api: Api, follow: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = await api.tenant()
    made = await tenant.post("/events/tickets")
    ticket = made.json()["ticket"]
    assert tenant.key not in made.text
    async with follow(api, None, "0", ticket=ticket) as told:
        await say(api, tenant.id)
        assert (await next_of(told))["event"] == "message.received"
    assert ticket not in capsys.readouterr().out
    monkeypatch.setattr(tickets, "VALID_FOR", -tickets.VALID_FOR)
    late = (await tenant.post("/events/tickets")).json()["ticket"]
    for wrong in (late, ticket[:-4] + "AAA=", "v1.x.y", "", tenant.key):
        with pytest.raises(Refused) as refused:
            async with follow(api, None, ticket=wrong):
                pass
        assert (refused.value.status, refused.value.body["code"]) == (401, "INVALID_API_KEY"), wrong
    assert (await tenant.delete("/nothing")).status_code == 404
    await tenant.post("/auth/rotate-key")
    with pytest.raises(Refused) as refused:
        async with follow(api, None, ticket=ticket):
            pass
    assert refused.value.status == 401, "a ticket ends with its key"


@BOTH
async def test_a_key_in_the_url_opens_nothing(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    for name in ("apiKey", "api_key", "key", "X-API-Key", "token"):
        with pytest.raises(Refused) as refused:
            async with follow(api, None, **{name: tenant.key}):
                pass
        assert (refused.value.status, refused.value.body["code"]) == (401, "MISSING_API_KEY")
    assert (await api.http.post("/events/tickets")).status_code == 401


@BOTH
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"events": "message.recieved"}, "events"),
        ({"events": ""}, "events"),
        ({"payload": "xml"}, "payload"),
        ({"after": "-1"}, "Last-Event-ID"),
        ({"after": "9" * 20}, "Last-Event-ID"),
        ({"after": "٣"}, "Last-Event-ID"),
    ],
)
async def test_what_cannot_be_followed_is_refused_by_name(
    api: Api, follow: Any, query: dict[str, str], field: str
) -> None:
    tenant = await api.tenant()
    with pytest.raises(Refused) as refused:
        async with follow(api, tenant.key, **query):
            pass
    assert (refused.value.status, refused.value.body["field"]) == (400, field)


@BOTH
async def test_a_point_that_is_no_longer_kept_is_told_as_a_gap(api: Api, follow: Any) -> None:
    tenant = await api.tenant()
    for number in range(5):
        await say(api, tenant.id, text=str(number))
    await api.bus.js.purge_stream(streams.EVENTS.name, seq=4)  # as the stream does with what is a week old
    async with follow(api, tenant.key, "1") as told:
        gap = await next_of(told)
        assert (gap["event"], gap["id"], gap["data"]) == (
            following.GAP,
            "3",
            {"after": "1", "resumedAfter": "3"},
        )
        assert [(await next_of(told))["data"]["content"]["conversation"] for _ in "34"] == ["3", "4"]
    async with follow(api, tenant.key, "3") as told:
        assert (await next_of(told))["id"] == "4", "nothing is missing behind the last one that is gone"


@BOTH
async def test_resuming_loses_nothing_and_doubles_nothing_while_the_api_restarts(
    nats_server: NatsServer, follow: Any
) -> None:
    count = 300
    async with running_api(nats_server.url) as first:
        tenant = await first.tenant()
        last = await _position(follow, first, tenant.key)

    async def speak() -> None:
        for number in range(count):
            await say(speaker, tenant.id, text=str(number))
            await say(speaker, "somebody-else", text="not yours")

    heard: list[str] = []
    async with running_api(nats_server.url) as speaker:
        speaking = asyncio.create_task(speak())
        while len(heard) < count:
            async with running_api(nats_server.url) as restarted, asyncio.timeout(60):
                for _ in range(3):  # and the follower changes networks meanwhile
                    async with follow(restarted, tenant.key, last) as told:
                        goal = min(count, len(heard) + 37)
                        while len(heard) < goal:
                            one = await next_of(told)
                            last = one["id"]
                            heard.append(one["data"]["content"]["conversation"])
        await speaking
        async with follow(speaker, tenant.key, last) as told:
            await say(speaker, tenant.id, text="the end")
            assert (await next_of(told))["data"]["content"] == {"conversation": "the end"}
    assert heard == [str(number) for number in range(count)]


async def _position(follow: Any, api: Api, key: str) -> str:
    async with follow(api, key) as told:
        return str((await next_of(told, with_position=True))["id"])


@BOTH
async def test_followers_are_told_where_to_resume_when_the_api_stops(nats_server: NatsServer, follow: Any) -> None:
    async with running_api(nats_server.url) as api:
        tenant = await api.tenant()
        async with follow(api, tenant.key) as told:
            await next_of(told, with_position=True)
            await say(api, tenant.id)
            seen = await next_of(told)
            stopping = asyncio.create_task(api.life._stop_parts())
            end = await next_of(told)
            assert (end["event"], end["id"]) == (following.CLOSING, seen["id"])
            assert end["data"] == {"reason": "restarting", "resumeAfter": seen["id"]}
            if follow is by_socket:
                assert (await next_of(told))["data"] == {"code": 1012, "reason": "restarting"}
        async with asyncio.timeout(8):
            await stopping


@BOTH
async def test_who_is_told_late_that_the_api_stops_is_told_all_the_same(
    nats_server: NatsServer, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with much to do: the server under the api is quicker to end than the followers' last words."""

    async def tell_late(events: Any, write: telling.Write, *how: Any) -> telling.Reason:
        async def write_late(body: bytes) -> None:
            if following.CLOSING.encode() in body:
                await asyncio.sleep(0.5)
            await write(body)

        return await telling.tell(events, write_late, *how)

    monkeypatch.setattr(event_routes, "tell", tell_late)
    async with running_api(nats_server.url) as api:
        tenant = await api.tenant()
        async with follow(api, tenant.key) as told:
            await next_of(told, with_position=True)
            stopping = asyncio.create_task(api.life._stop_parts())
            assert (await next_of(told))["event"] == following.CLOSING
        await stopping


@BOTH
async def test_following_ends_with_the_key(api: Api, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "HEARTBEAT_S", 0.2)
    tenant = await api.tenant()
    async with follow(api, tenant.key) as told:
        await next_of(told, with_position=True)
        assert (await tenant.post("/auth/rotate-key")).status_code == 200
        end = await next_of(told)
        assert (end["event"], end["data"]["reason"]) == (following.CLOSING, "key_revoked")
        if follow is by_socket:
            assert (await next_of(told))["data"]["code"] == 1008


@BOTH
async def test_only_so_many_follow_one_tenant_and_leaving_makes_room(
    api: Api, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MAX_FOLLOWERS", 1)
    tenant, other = await api.tenant(), await api.tenant()
    async with follow(api, tenant.key) as told:
        await next_of(told, with_position=True)
        with pytest.raises(Refused) as refused:
            async with follow(api, tenant.key):
                pass
        assert (refused.value.status, refused.value.body["code"]) == (409, "LIMIT_REACHED")
        async with follow(api, other.key) as others:
            await next_of(others, with_position=True)

    async def there_is_room() -> bool:
        with contextlib.suppress(Refused):
            async with follow(api, tenant.key):
                return True
        return False

    await until("who left makes room", there_is_room)


@pytest.mark.parametrize("kind", ["sse", "websocket"])
async def test_a_reader_that_does_not_keep_up_is_let_go_with_the_id_to_resume_from_and_holds_up_nobody(
    api: Api, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "STALL_S", 0.5)
    tenant = await api.tenant()
    count, text = 120, "x" * 60_000
    reader, writer = await _raw(api, tenant, kind)
    await reader.readuntil(b"\r\n\r\n")
    async with by_sse(api, tenant.key) as quick:
        await next_of(quick, with_position=True)
        reading = asyncio.create_task(_ids(quick, count))  # all the time: it is the other one that does not keep up
        for number in range(count):
            await say(api, tenant.id, text=f"{number} {text}")
        ids = await reading
    await until("only the slow one is left", lambda: _followers(api) == 1)
    await asyncio.sleep(2 * telling.STALL_S)  # it takes nothing for longer than it may
    rest = await asyncio.wait_for(reader.read(-1), WITHIN_S)
    writer.close()
    assert b'"reason":"slow_reader"' in rest
    told = rest.rpartition(b'"resumeAfter":"')[2].partition(b'"')[0].decode()
    assert told in ids[:-1], "it has not got everything"
    got = rest.count(b'"type":"conversation"')
    assert ids[got - 1] == told, "what it has got ends with the id to resume from"
    async with by_sse(api, tenant.key, told) as resumed:
        assert (await next_of(resumed))["id"] == ids[got]


async def _ids(told: AsyncIterator[Told], count: int) -> list[str]:
    return [(await next_of(told))["id"] for _ in range(count)]


def _followers(api: Api) -> int:
    text = api.life.metrics.exposition().decode()
    return int(float(text.partition("\nkurir_live_followers ")[2].partition("\n")[0]))


async def _raw(api: Api, tenant: Client, kind: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that reads only when told to, with small buffers."""
    url = httpx.URL(api.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=65_536)
    lines = [f"GET /events{'/socket' if kind == 'websocket' else ''} HTTP/1.1", f"Host: {url.host}"]
    lines += [f"X-API-Key: {tenant.key}"]
    if kind == "websocket":
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return reader, writer
