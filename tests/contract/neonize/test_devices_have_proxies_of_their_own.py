"""A device's own proxy carries all of it, and what is wrong with it is the device's trouble alone."""

import asyncio
import base64
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from kurir.contracts.content import Image
from kurir.session_node.engines.engine import NotConnected, StateChanged
from tests.contract.engine.worlds import Kept, Watched, a_spec
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_picture
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.server_process import free_port
from tests.support.socks_proxy import SocksProxy
from tests.support.tunnel import Tunnel
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHAT, MEDIA = "web.whatsapp.com:443", "mmg.whatsapp.net:443"


def port_of(proxy: str) -> int:
    return int(proxy.rpartition(":")[2])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_way(emulator: EmulatorProcess) -> AsyncIterator[Tunnel]:
    """The operator's proxy, which counts who uses it."""
    tunnel = Tunnel(port_of(emulator.address.proxy))
    await emulator.client.open_door(await tunnel.start())
    yield tunnel
    tunnel.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shard(
    emulator: EmulatorProcess, shared_way: Tunnel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RemoteEngine]:
    """Its operator allows proxies on loopback."""
    started = RemoteEngine(
        emulator,
        tmp_path_factory.mktemp("proxies"),
        proxy=f"http://127.0.0.1:{shared_way.port}",
        allowed_proxies=("127.0.0.0/8",),
    )
    await started.start()
    try:
        yield started
    finally:
        await started.end()


@pytest_asyncio.fixture(loop_scope="session")
async def own_way(emulator: EmulatorProcess) -> AsyncIterator[Tunnel]:
    """A CONNECT proxy of one device's own."""
    tunnel = Tunnel(port_of(emulator.address.proxy))
    await emulator.client.open_door(await tunnel.start())
    yield tunnel
    tunnel.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def neighbour(shard: RemoteEngine, emulator: EmulatorProcess) -> Person:
    """Without a proxy of its own."""
    person = Person("neighbour", "628555000001")
    await person.link(shard, emulator.client)
    return person


def with_proxy(person: Person, proxy: str | None) -> Person:
    person.spec = msgspec.structs.replace(person.spec, proxy=proxy)
    return person


async def test_all_of_a_device_goes_through_its_own_proxy_with_its_credentials(
    shard: RemoteEngine, own_way: Tunnel, shared_way: Tunnel, neighbour: Person, whatsapp: EmulatorClient
) -> None:
    by_others = len(shared_way.heads)
    person = with_proxy(Person("own", "628555000002"), f"http://ayu:p%40ss@127.0.0.1:{own_way.port}")
    await person.link(shard, whatsapp)
    picture = Kept(a_picture(), "image/png")
    await person.send(VERA_JID, Image(media=picture.media), picture)
    targets = [head.split(b" ")[1].decode() for head in own_way.heads]
    assert targets[:2] == [CHAT, CHAT]  # pairing and login
    assert MEDIA in targets
    credentials = base64.b64encode(b"ayu:p@ss")
    assert all(b"Proxy-Authorization: Basic " + credentials in head for head in own_way.heads)
    assert len(shared_way.heads) == by_others
    used = len(own_way.heads)
    assert await neighbour.send(VERA_JID, "by the shared way")
    await neighbour.session.close()
    await neighbour.open(shard)
    assert len(own_way.heads) == used
    assert len(shared_way.heads) > by_others


async def test_a_device_goes_through_a_socks_proxy(
    shard: RemoteEngine, emulator: EmulatorProcess, whatsapp: EmulatorClient
) -> None:
    socks = SocksProxy(port_of(emulator.address.proxy), "ayu", "p@ss")
    port = await socks.start()
    await whatsapp.open_door(port)
    person = with_proxy(Person("socks", "628555000003"), f"socks5://ayu:p%40ss@127.0.0.1:{port}")
    await person.link(shard, whatsapp)
    sent = await person.send(VERA_JID, "through socks")
    await whatsapp.until_read(VERA, sent.whatsapp_id)
    assert socks.let_through >= 2  # pairing and login
    await person.session.close()
    refused = Watched()
    spec = msgspec.structs.replace(person.spec, proxy=f"socks5://ayu:wrong@127.0.0.1:{port}")
    await shard.open(spec, refused)
    assert (await refused.until_state("disconnected")).reason == "proxy_unreachable"
    assert socks.refused[0] == "ayu"
    socks.stop()


async def test_another_proxy_is_used_from_the_next_connection_on(
    shard: RemoteEngine, own_way: Tunnel, shared_way: Tunnel, whatsapp: EmulatorClient
) -> None:
    person = Person("changing", "628555000004")
    await person.link(shard, whatsapp)
    assert not own_way.heads
    with_proxy(person, f"http://127.0.0.1:{own_way.port}")
    await person.open(shard)
    assert len(own_way.heads) == 1
    assert await person.send(VERA_JID, "by my own way")
    with_proxy(person, None)
    by_others = len(shared_way.heads)
    await person.open(shard)
    assert len(shared_way.heads) == by_others + 1
    assert len(own_way.heads) == 1


async def test_a_dead_proxy_is_its_devices_trouble_alone_and_is_tried_again(
    shard: RemoteEngine, own_way: Tunnel, neighbour: Person, whatsapp: EmulatorClient
) -> None:
    person = with_proxy(Person("cut", "628555000005"), f"http://u:secret@127.0.0.1:{own_way.port}")
    await person.link(shard, whatsapp)
    own_way.stop()
    assert (await person.watched.until_state("disconnected")).reason == "connection_lost"
    with pytest.raises(NotConnected):
        await person.send(VERA_JID, "not now")
    await person.session.close()
    again = person.watched = Watched()
    session = await shard.open(person.spec, again)
    await again.until_state("disconnected", times=2)
    for said in again.seen:
        assert "secret" not in repr(said)
    assert {s.reason for s in again.seen if isinstance(s, StateChanged) and s.state == "disconnected"} == {
        "proxy_unreachable"
    }
    assert await neighbour.send(VERA_JID, "untouched")
    assert shard.is_running
    await own_way.start()
    await again.until_state("connected")
    await session.close()


async def test_a_pairing_through_a_dead_proxy_says_so(shard: RemoteEngine) -> None:
    watched = Watched()
    spec = msgspec.structs.replace(a_spec("dead-end"), proxy=f"http://127.0.0.1:{free_port()}")
    await shard.open(spec, watched)
    assert (await watched.until_state("disconnected")).reason == "proxy_unreachable"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"hello there\r\n\r\n",
        b"",
    ],
    ids=["wants-a-password", "bad-gateway", "no-proxy", "says-nothing"],
)
async def test_a_proxy_that_does_not_let_through_is_named_as_the_reason(
    shard: RemoteEngine, whatsapp: EmulatorClient, answer: bytes
) -> None:
    refusing = await a_proxy_that_answers(answer)
    await whatsapp.open_door(refusing)
    watched = Watched()
    await shard.open(msgspec.structs.replace(a_spec("unknown"), proxy=f"http://u:wrong@127.0.0.1:{refusing}"), watched)
    said = await watched.until_state("disconnected")
    assert said.reason == "proxy_unreachable"
    assert "wrong" not in (said.detail or "")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://127.0.0.1:3128",
        "socks5://[::1]:1080",
        "http://10.0.0.1:80",
        "http://169.254.169.254",
        "http://localhost:1",
        "http://[::ffff:192.168.0.1]:1",
        "http://2130706433:1",
    ],
)
async def test_a_proxy_inside_is_never_dialled(engine: RemoteEngine, proxy: str) -> None:
    """The engine of these tests has an operator who allows none."""
    watched = Watched()
    session = await engine.open(msgspec.structs.replace(a_spec("inside"), proxy=proxy), watched)
    said = await watched.until_state("disconnected")
    assert said.reason in ("proxy_refused", "proxy_unreachable")
    assert said.reason == "proxy_refused" or "no address" in (said.detail or "")
    await session.close()


async def a_proxy_that_answers(answer: bytes) -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port
