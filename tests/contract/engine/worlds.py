"""The worlds that engines are tried in: a WhatsApp with contacts of known behaviour, and a hand that holds the phone.

A new engine joins the suite by one more class here and its name in `WORLDS`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

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
from kurir.session_node.engines.sandbox.client import Pace, SandboxEngine, SandboxSession
from tests.support.conditions import until
from tests.support.remote_engine.engine import RemoteEngine, RemoteSession
from tests.support.whatsapp_emulator.client import EmulatorClient, EmulatorRefused
from tests.support.whatsapp_emulator.process import EmulatorProcess

ACK_TIMEOUT_S = 3.0  # far above the longest acknowledgement on a busy machine, and what a test can wait for
STATE_TIMEOUT_S = 30.0  # a pairing starts a process, which imports the library and makes 812 keys

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

Happening = Literal["typing", "call", "ringing", "lost_file", "new_picture", "group_life", "removed"]
"""What people do of themselves. A `call` nobody answers, `ringing` goes on for a while; `group_life` is another subject
and a member that is added and promoted and leaves; `removed` is the device itself, from a group.
"""


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

    async def until_state(
        self, state: ConnectionState, *, times: int = 1, within_s: float = STATE_TIMEOUT_S
    ) -> StateChanged:
        """The state, when it was reported so often: what was reported at that time, whatever came after it."""

        def reported() -> list[StateChanged]:
            return [seen for seen in self.seen if isinstance(seen, StateChanged) and seen.state == state]

        await until(
            f"state {state}",
            lambda: len(reported()) >= times,
            within_s=within_s,
            seen=lambda: self.seen,
        )
        return reported()[times - 1]

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
    """One engine with something to talk to. `needs` are the fixtures that it is made from."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

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
    async def provoke(self, session: EngineSession, happening: Happening) -> None:
        """Let this happen around a connected session, soon."""

    @abstractmethod
    async def rejected_calls(self, session: EngineSession) -> list[str]:
        """The ids of calls that the session has rejected."""

    @abstractmethod
    async def invitation_of_others(self) -> str:
        """The code of an invitation to a group that no device is in."""

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

    _HAPPENINGS: ClassVar[dict[Happening, str]] = {
        "typing": "628125550118@s.whatsapp.net",
        "call": "628125550119@s.whatsapp.net",
        "ringing": "628125550119@s.whatsapp.net",
        "lost_file": "628125550120@s.whatsapp.net",
        "new_picture": "628125550121@s.whatsapp.net",
        "group_life": "120363025550122@g.us",
        "removed": "120363025550123@g.us",
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

    async def provoke(self, session: EngineSession, happening: Happening) -> None:
        to = self._HAPPENINGS[happening]
        await session.send(SendOrder(message_id=f"m-{happening}", to=to, content=Text(text="hi")))

    async def rejected_calls(self, session: EngineSession) -> list[str]:
        assert isinstance(session, SandboxSession)
        return list(session.rejected)

    async def invitation_of_others(self) -> str:
        return "AbCdEfGhIjKlMnOp"

    async def stop(self) -> None:
        await self._engine.stop()


class LinkedDevices:
    """What the tests of neonize share, because linking is slow: an emulator, a process, the devices linked so far."""

    def __init__(self, emulator: EmulatorProcess, folder: Path) -> None:
        self.emulator = emulator
        self.engine = RemoteEngine(emulator, folder, ack_timeout_s=ACK_TIMEOUT_S)
        self._specs: dict[str, SessionSpec] = {}

    @property
    def whatsapp(self) -> EmulatorClient:
        return self.emulator.client

    async def start(self) -> RemoteEngine:
        """The engine in its process, which is another one when the former was stopped."""
        if self.engine.is_stopped or not self.engine.is_running:
            await self.engine.end()
            await self.engine.start()
        await self.whatsapp.reset_faults()
        return self.engine

    async def linked(self, spec: SessionSpec, device: str) -> SessionSpec:
        """Keep a device that was linked just now; the one that it follows is unlinked."""
        former = self._specs.get(spec.device)
        if former is not None and former.jid is not None:
            with suppress(EmulatorRefused):
                await self.whatsapp.remove(former.jid.partition("@")[0])
        kept = self._specs[spec.device] = a_spec(spec.device, jid=f"{device}@s.whatsapp.net")
        return kept

    async def find(self, device: str) -> SessionSpec | None:
        """A linked device whose keys are there on both sides."""
        spec = self._specs.get(device)
        if spec is None or spec.jid is None or not self.engine.has_store(spec):
            return None
        name = spec.jid.partition("@")[0]
        accounts = await self.whatsapp.accounts()
        is_linked = any(name == device["device"] for account in accounts.values() for device in account["devices"])
        return spec if is_linked else None


class NeonizeWorld(World):
    """The real library over the emulator. Its contacts are phones there."""

    name = "neonize"
    needs = ("linked_devices",)

    _PHONES: ClassVar[dict[str, str]] = {"d1": "628111222333", "d2": "628111222334"}
    _CONTACTS: ClassVar[dict[Behaviour, tuple[str, dict[str, Any]]]] = {
        "friendly": ("628999000001", {"read": True}),
        "refused": ("628999000002", {}),
        "no_answer": ("628999000003", {}),
        "phone_off": ("628999000004", {"delivered": False}),
        "no_blue_ticks": ("628999000005", {}),
        "timelocked": ("628999000006", {}),
        "echoes": ("628999000007", {"read": True, "echo": True}),
    }

    def __init__(self, linked: LinkedDevices) -> None:
        self._linked = linked
        self._whatsapp = linked.whatsapp

    async def start(self, folder: Path) -> Engine:
        engine = await self._linked.start()
        for phone, policy in self._CONTACTS.values():
            await self._whatsapp.contact(phone, **policy)
        refused, timelocked = self._CONTACTS["refused"][0], self._CONTACTS["timelocked"][0]
        await self._whatsapp.set_faults(
            ack_error={refused: "479", timelocked: "463"}, drop_acks=[self._CONTACTS["no_answer"][0]]
        )
        return engine

    async def confirm(self, session: EngineSession, watched: Watched, phone: str) -> None:
        assert isinstance(session, RemoteSession)
        if watched.states()[-1] == "pairing_code":
            device = await self._whatsapp.enter_code(phone, watched.last("pairing_code").pairing_code or "")
        else:
            device = await self._whatsapp.scan(watched.last("qr").qr or "", phone)
        await self._linked.linked(session.spec, device)

    def contact(self, behaviour: Behaviour) -> str:
        phone = "628000000000" if behaviour == "not_on_whatsapp" else self._CONTACTS[behaviour][0]
        return f"{phone}@s.whatsapp.net"

    async def befall(self, session: EngineSession, misfortune: Misfortune) -> None:
        assert isinstance(session, RemoteSession)
        spec = await self._linked.find(session.spec.device)
        assert spec is not None
        assert spec.jid is not None
        device = spec.jid.partition("@")[0]
        if misfortune == "unlinked":
            await self._whatsapp.remove(device)
            return
        if misfortune == "banned":
            ban = {"reason": "402", "code": "101", "expire": "3600"}
            await self._whatsapp.set_faults(login_failure={device.partition(":")[0]: ban})
        await self._whatsapp.drop(device)

    async def provoke(self, session: EngineSession, happening: Happening) -> None:
        assert isinstance(session, RemoteSession)
        whatsapp, friend = self._whatsapp, self._CONTACTS["friendly"][0]
        me = self._PHONES[session.spec.device]
        match happening:
            case "typing":
                await whatsapp.type(friend, me)
                await whatsapp.type(friend, me, is_typing=False)
            case "call":
                await whatsapp.end_call(await whatsapp.call(friend, me), reason="timeout")
            case "ringing":
                await whatsapp.call(friend, me)
            case "lost_file":
                await whatsapp.set_faults(download_status=410)
                await whatsapp.send_media(friend, me, "document", b"%PDF-1.7", "application/pdf")
            case "new_picture":
                await whatsapp.contact(friend, picture=b"")
                await whatsapp.contact(friend, picture=b"a picture")
            case "group_life":
                other = self._CONTACTS["echoes"][0]
                group = await whatsapp.create_group("Choir", friend, [me])
                for change in ({"subject": "Big choir"}, {"add": [other]}, {"promote": [other]}):
                    await whatsapp.change_group(group, friend, **change)
                await whatsapp.change_group(group, other, leave=True)
            case "removed":
                group = await whatsapp.create_group("Choir", friend, [me])
                await whatsapp.change_group(group, friend, remove=[me])

    async def rejected_calls(self, session: EngineSession) -> list[str]:
        return [entry["call"] for entry in await self._whatsapp.journal("call.reject")]

    async def invitation_of_others(self) -> str:
        friend = self._CONTACTS["friendly"][0]
        group = await self._whatsapp.create_group("Choir", friend, [])
        return str((await self._whatsapp.groups())[group]["invite_code"])

    async def paired(self, engine: Engine, watched: Watched, device: str = "d1") -> tuple[EngineSession, SessionSpec]:
        spec = await self._linked.find(device)
        if spec is None:
            session = await engine.open(a_spec(device), watched)
            await watched.until_state("qr")
            await self.confirm(session, watched, self._PHONES[device])
            await watched.until_state("connected")
            spec = await self._linked.find(device)
            assert spec is not None
            return session, spec
        session = await engine.open(spec, watched)
        await watched.until_state("connected")
        return session, spec

    async def stop(self) -> None:
        if not self._linked.engine.is_stopped:
            await self._linked.engine.close_sessions()


WORLDS: tuple[type[World], ...] = (SandboxWorld, NeonizeWorld)
