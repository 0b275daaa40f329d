"""The worlds that engines are tried in: a WhatsApp with contacts of known behaviour, and a hand that holds the phone.

A new engine joins the suite by one more class here and its name in `WORLDS`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

from kurir.contracts.content import Media, Text
from kurir.contracts.states import ConnectionState
from kurir.session_node.engines.engine import (
    Engine,
    EngineSession,
    Observation,
    ReceiptSeen,
    Received,
    Scans,
    SendFailed,
    SendOrder,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.sandbox.client import Pace, SandboxEngine
from tests.support.conditions import until

Behaviour = Literal[
    "friendly",
    "not_on_whatsapp",
    "refused",
    "no_answer",
    "phone_off",
    "no_blue_ticks",
    "timelocked",
    "echoes",
]
"""What a contact does. `friendly` reads at once; `echoes` answers a text that begins with "echo " by its rest."""

Misfortune = Literal["connection_lost", "unlinked", "banned"]
"""What WhatsApp does to a device."""


class Watched:
    """Everything that one session reported, in order."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def __call__(self, observation: Observation) -> None:
        self.seen.append(observation)

    def states(self) -> list[ConnectionState]:
        return [seen.state for seen in self.seen if isinstance(seen, StateChanged)]

    def last(self, state: ConnectionState) -> StateChanged:
        return next(s for s in reversed(self.seen) if isinstance(s, StateChanged) and s.state == state)

    def received(self) -> list[Received]:
        return [seen for seen in self.seen if isinstance(seen, Received)]

    def receipts(self, whatsapp_id: str) -> list[str]:
        return [s.status for s in self.seen if isinstance(s, ReceiptSeen) and whatsapp_id in s.whatsapp_ids]

    async def until_state(self, state: ConnectionState, *, times: int = 1) -> StateChanged:
        await until(f"state {state}", lambda: self.states().count(state) >= times, seen=lambda: self.seen)
        return self.last(state)

    async def until_receipts(self, whatsapp_id: str, *expected: str) -> None:
        await until(
            f"receipts {expected}",
            lambda: self.receipts(whatsapp_id) == list(expected),
            seen=lambda: self.receipts(whatsapp_id),
        )


class Kept:
    """Media as a session hands it to an engine."""

    def __init__(self, data: bytes, mimetype: str, file_name: str | None = None) -> None:
        self.media = Media(object="t/1", mimetype=mimetype, size=len(data), sha256="", file_name=file_name)
        self._data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 1000):
            yield self._data[at : at + 1000]


class World(ABC):
    """One engine with something to talk to."""

    name: ClassVar[str]

    @abstractmethod
    async def start(self, folder: Path) -> Engine:
        """Start WhatsApp and the engine."""

    @abstractmethod
    async def confirm(self, session: EngineSession, watched: Watched, phone: str) -> None:
        """Scan what the session shows with the phone of this number."""

    @abstractmethod
    def contact(self, behaviour: Behaviour) -> str:
        """The JID of a contact who behaves like this."""

    @abstractmethod
    async def befall(self, session: EngineSession, misfortune: Misfortune) -> None:
        """Let this happen to a connected session, soon."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop what was started."""

    async def paired(self, engine: Engine, watched: Watched, device: str = "d1") -> tuple[EngineSession, SessionSpec]:
        """A connected session, and the spec with which it logs in again."""
        session = await engine.open(a_spec(device), watched)
        await watched.until_state("qr")
        await self.confirm(session, watched, "628111222333")
        connected = await watched.until_state("connected")
        return session, a_spec(device, jid=connected.jid)


def a_spec(device: str = "d1", *, jid: str | None = None, pair_phone: str | None = None) -> SessionSpec:
    return SessionSpec(tenant="t1", device=device, name="Test", jid=jid, pair_phone=pair_phone)


class SandboxWorld(World):
    name = "sandbox"

    _NUMBERS: ClassVar[dict[Behaviour, str]] = {
        "friendly": "6281234567",
        "not_on_whatsapp": "628125550101",
        "refused": "628125550102",
        "no_answer": "628125550104",
        "phone_off": "628125550105",
        "no_blue_ticks": "628125550106",
        "timelocked": "628125550112",
        "echoes": "6281234568",
    }

    _MISFORTUNES: ClassVar[dict[Misfortune, str]] = {
        "banned": "628125550107",
        "connection_lost": "628125550108",
        "unlinked": "628125550110",
    }

    async def start(self, folder: Path) -> Engine:
        soon = (0.001, 0.002)
        pace = Pace(
            login_s=0.001,
            ack_s=soon,
            delivered_s=soon,
            read_s=soon,
            reply_s=soon,
            slow_s=0.05,
            timeout_s=0.05,
            reconnect_s=0.05,
            tick_s=0.001,
        )
        self._engine = SandboxEngine(folder, pace=pace)
        await self._engine.start()
        return self._engine

    async def confirm(self, session: EngineSession, watched: Watched, phone: str) -> None:
        assert isinstance(session, Scans)
        await session.scan(phone)

    def contact(self, behaviour: Behaviour) -> str:
        return f"{self._NUMBERS[behaviour]}@s.whatsapp.net"

    async def befall(self, session: EngineSession, misfortune: Misfortune) -> None:
        to = f"{self._MISFORTUNES[misfortune]}@s.whatsapp.net"
        with suppress(SendFailed):
            await session.send(SendOrder(message_id="m0", to=to, content=Text(text="hi")))

    async def stop(self) -> None:
        await self._engine.stop()


WORLDS: tuple[type[World], ...] = (SandboxWorld,)
