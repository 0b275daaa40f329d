"""A connection that hung, or met something unexpected, is heard again or opened again; it is never deaf."""

from collections.abc import AsyncIterator

import pytest
from nats.errors import FlushTimeoutError
from nats.js.api import StreamConfig

from kurir.runtime.broker import Bus
from tests.support.conditions import until
from tests.support.tunnel import Tunnel


@pytest.fixture
async def distant(tunnel: Tunnel, bus: Bus) -> AsyncIterator[Bus]:
    """A connection that goes by the tunnel, to a server with a stream."""
    await bus.js.add_stream(StreamConfig(name="S", subjects=["s.>"]))
    connected = await Bus.connect(f"nats://127.0.0.1:{tunnel.port}", name="distant")
    yield connected
    await connected.close()


async def test_an_answer_to_a_ping_that_nobody_waits_for_any_more_ends_nothing(tunnel: Tunnel, distant: Bus) -> None:
    losses: list[None] = []

    async def note() -> None:
        losses.append(None)

    distant.on_reconnect(note)
    tunnel.hang()
    with pytest.raises(FlushTimeoutError):
        await distant.nc.flush(0.2)  # type: ignore[arg-type]  # seconds may be fractions
    tunnel.let_go()
    await distant.nc.flush()
    assert (await distant.publish("s.a", b"heard")).seq == 1
    assert losses == []


async def test_a_connection_that_cannot_be_read_any_more_is_opened_again(
    distant: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored: list[None] = []

    async def note() -> None:
        restored.append(None)

    async def fail(data: bytes = b"") -> None:
        raise ValueError("what nobody thought of")

    distant.on_reconnect(note)
    with monkeypatch.context() as broken:
        broken.setattr(distant.nc._ps, "parse", fail)
        with pytest.raises(FlushTimeoutError):
            await distant.nc.flush(0.2)  # type: ignore[arg-type]
    await until("it is opened again", lambda: bool(restored))
    assert (await distant.publish("s.a", b"heard")).seq == 1
