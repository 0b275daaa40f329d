"""The fixture every other broker test stands on: a server that can die and come back."""

import nats

from tests.support.nats_server import NatsServer


async def test_a_killed_server_comes_back_on_the_same_port_with_its_streams(nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
    await client.jetstream().publish("kept.one", b"1")
    await nats_server.kill()
    assert not nats_server.is_running

    await nats_server.start()
    client = await nats.connect(nats_server.url, allow_reconnect=False)
    assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
    await client.close()
