"""A linked device goes to another system, or from files into PostgreSQL, and is the same device there: on the real
library it sends and receives without a QR code, within the encryption sessions that it had.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kurir.contracts import ids
from kurir.contracts.commands import Logout
from kurir.contracts.content import Text
from kurir.contracts.events import ConnectionUpdate, MessageUpserted
from kurir.contracts.records import Device
from kurir.runtime.broker import Bus
from kurir.runtime.secrets import new_master_key
from tests.support.conditions import until
from tests.support.emulated_nodes import EmulatedNodes
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.session_nodes import TENANT, Gateway, a_message
from tests.support.whatsapp_emulator.process import EmulatorProcess

AYU = "628445000001"
READER, READER_JID = "628999000020", "628999000020@s.whatsapp.net"
STRANGER, STRANGER_JID = "628999000021", "628999000021@s.whatsapp.net"
NO_PREKEYS = {"encrypt:get:key": ["503", "no new session can be set up"]}
DONE_WITHIN_S = 60.0


@dataclass
class System:
    """A gateway with its own bus and its own folder of keys."""

    nodes: EmulatedNodes
    home: Path
    began: int
    """The mark in WhatsApp's journal, which is of all tests."""

    @property
    def gateway(self) -> Gateway:
        return self.nodes.gateway

    async def devices(self, *arguments: str, **settings: str) -> str:
        """`kurir devices …`: what it said. It has to succeed."""
        code, said = await self.asked(*arguments, **settings)
        assert code == 0, said
        return said

    async def asked(self, *arguments: str, **settings: str) -> tuple[int, str]:
        known = {"NATS_URL": self.gateway.url, "KURIR_DEVICE_STORE_DIR": str(self.home / "devices")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from kurir.session_node.keys.commands import devices; devices()",
            *arguments,
            env={**os.environ, **known, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), DONE_WITHIN_S)
        return process.returncode or 0, out.decode()

    async def want(self, device: Device, wanted: Any) -> Device:
        """Have it connected or disconnected, as the api does, and wait until it is."""
        generation = device.connect_generation + (wanted == "connected")
        known = msgspec.structs.replace(
            device, wanted=wanted, connect_generation=generation, updated_at=datetime.now(UTC)
        )
        await self.gateway.put_device(known)
        await self.nodes.until_state(device.id, wanted)
        return known

    async def until_heard(self, device: str, text: str) -> None:
        async def was_heard() -> bool:
            return any(
                isinstance(event, MessageUpserted) and event.content == Text(text=text)
                for event in await self.gateway.events(device)
            )

        await until(f"{text!r} was heard", was_heard, within_s=30)

    async def until_delivered(self, device: str, text: str) -> None:
        """Send it, and wait until the other phone has read it."""
        message = a_message(device, READER_JID, text)
        await self.gateway.order(message)
        await self.nodes.until_status(message, "read")

    async def codes_shown(self, device: str) -> int:
        events = await self.gateway.events(device)
        return sum(isinstance(event, ConnectionUpdate) and event.qr is not None for event in events)


@pytest.fixture
async def system(emulator: EmulatorProcess, bus: Bus, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[System]:
    async for made in a_system(emulator, bus, nats_server, tmp_path / "here"):
        yield made


@pytest.fixture
async def other_system(emulator: EmulatorProcess, tmp_path: Path) -> AsyncIterator[System]:
    server = NatsServer()
    await server.start()
    bus = await Bus.connect(server.url, name="test")
    try:
        async for made in a_system(emulator, bus, server, tmp_path / "there"):
            yield made
    finally:
        await bus.close()
        await server.kill()
        await server.stop()


async def a_system(emulator: EmulatorProcess, bus: Bus, server: NatsServer, home: Path) -> AsyncIterator[System]:
    home.mkdir()
    nodes = EmulatedNodes(emulator, await Gateway.open(bus, server.url), home)
    await nodes.whatsapp.reset_faults()
    await nodes.whatsapp.contact(READER, delivered=True, read=True, unreadable=0, reply=None)
    try:
        yield System(nodes, home, await nodes.whatsapp.mark())
    finally:
        await nodes.end()
        await nodes.whatsapp.reset_faults()


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    server = PostgresServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_an_exported_device_goes_on_in_another_system_without_a_code(
    system: System, other_system: System, tmp_path: Path
) -> None:
    await system.nodes.start()
    await other_system.nodes.start()
    device = await system.nodes.link("ayu", AYU)
    await system.until_delivered("ayu", "from the first system")
    await system.nodes.whatsapp.say(READER, AYU, "hello there")
    await system.until_heard("ayu", "hello there")
    words = tmp_path / "words"
    words.write_text("a passphrase of some length\n")
    lock = ("--passphrase-file", str(words))
    out = ("export", "ayu", "--tenant", TENANT, "--to", str(tmp_path / "out"), "--move", *lock)

    code, said = await system.asked(*out)
    assert (code, "disconnect it first" in said) == (1, True)
    await system.want(device, "disconnected")
    await system.devices(*out)
    assert not (await system.gateway.session("ayu")).paired
    await system.nodes.whatsapp.say(READER, AYU, "while you moved")

    there = await other_system.gateway.add_device(
        "budi", jid=None, engine="neonize", wanted="disconnected", connect_generation=0
    )
    file = str(tmp_path / "out" / "ayu.keys")
    await other_system.devices("import", file, "--tenant", TENANT, "--device", "budi", *lock)
    await system.nodes.whatsapp.set_faults(iq_errors=NO_PREKEYS)
    await other_system.want(there, "connected")
    await other_system.until_heard("budi", "while you moved")
    await other_system.until_delivered("budi", "from the other system")
    await system.nodes.whatsapp.say(READER, AYU, "welcome")
    await other_system.until_heard("budi", "welcome")
    assert await other_system.codes_shown("budi") == 0
    assert not await system.nodes.whatsapp.journal("message.unreadable", after=system.began)
    # All that within the sessions that the device brought along: what needs a new one can be read by nobody.
    await system.nodes.whatsapp.contact(STRANGER, read=True)
    await other_system.gateway.order(a_message("budi", STRANGER_JID))

    # The first system has let go of it: deleting it there unlinks nothing.
    await system.gateway.delete_device("ayu")
    await other_system.until_delivered("budi", "still linked")
    assert STRANGER not in {
        entry["phone"] for entry in await system.nodes.whatsapp.journal("message.read", after=system.began)
    }


async def test_devices_go_from_files_into_postgres_and_out_of_it_again(
    system: System, other_system: System, postgres: PostgresServer, tmp_path: Path
) -> None:
    first = await system.nodes.start("with-files")
    device = await system.nodes.link("citra", "628445000002")
    await system.until_delivered("citra", "from a file")
    await first.terminate()
    await system.nodes.whatsapp.say(READER, "628445000002", "while you migrate")

    await system.devices("migrate", "--all", "--to", postgres.url)
    assert not (system.home / "devices" / "neonize" / TENANT / "citra.db").exists()
    await system.nodes.whatsapp.set_faults(iq_errors=NO_PREKEYS)
    await system.nodes.whatsapp.open_door(postgres.port)
    await system.nodes.start("with-postgres", DEVICE_STORE_URL=postgres.url)
    await system.nodes.until_state("citra", "connected")
    await system.until_heard("citra", "while you migrate")
    await system.until_delivered("citra", "from PostgreSQL")
    assert await system.codes_shown("citra") == 1

    key = {"KURIR_MASTER_KEY": new_master_key()}
    await system.want(device, "disconnected")
    arguments = ("export", "citra", "--tenant", TENANT, "--to", str(tmp_path / "out"), "--master-key", "--move")
    await system.devices(*arguments, DEVICE_STORE_URL=postgres.url, **key)
    await other_system.nodes.start()
    there = await other_system.gateway.add_device(
        "citra", jid=None, engine="neonize", wanted="disconnected", connect_generation=0
    )
    await other_system.devices("import", str(tmp_path / "out" / "citra.keys"), **key)
    await other_system.want(there, "connected")
    await other_system.until_delivered("citra", "from a file again")
    assert await other_system.codes_shown("citra") == 0
    assert not await system.nodes.whatsapp.journal("message.unreadable", after=system.began)


async def test_a_device_whose_file_is_elsewhere_waits_for_it_and_asks_for_no_code(
    system: System, tmp_path: Path
) -> None:
    first = await system.nodes.start("with-the-volume")
    device = await system.nodes.link("dewi", "628445000003")
    await first.terminate()
    file = system.home / "devices" / "neonize" / TENANT / "dewi.db"
    elsewhere = tmp_path / "elsewhere.db"
    file.rename(elsewhere)
    await system.nodes.start("without-it")

    async def says_why() -> bool:
        session = await system.gateway.session("dewi")
        return (session.state, session.reason) == ("disconnected", "device_store_unavailable")

    await until("it says that the keys are away", says_why, within_s=DONE_WITHIN_S)
    session = await system.gateway.session("dewi")
    assert (session.paired, session.jid is not None) == (True, True)
    # A tenant who presses connect again loses nothing either.
    pressed = msgspec.structs.replace(device, connect_generation=device.connect_generation + 1)
    await system.gateway.put_device(pressed)
    elsewhere.rename(file)
    await system.nodes.until_state("dewi", "connected", within_s=DONE_WITHIN_S)
    await system.until_delivered("dewi", "here I am")
    assert await system.codes_shown("dewi") == 1


async def test_a_device_whose_keys_are_lost_for_good_is_logged_out_and_linked_anew(system: System) -> None:
    first = await system.nodes.start("with-the-volume")
    device = await system.nodes.link("eka", "628445000004")
    await first.terminate()
    for file in (system.home / "devices" / "neonize" / TENANT).glob("eka.db*"):
        file.unlink()
    await system.nodes.start("without-it")
    await system.nodes.until_state("eka", "disconnected", within_s=DONE_WITHIN_S)
    logout = Logout(id=ids.uuid7(), tenant=TENANT, device="eka", accepted_at=datetime.now(UTC))
    await system.gateway.order(logout)
    await system.nodes.until_state("eka", "logged_out", within_s=DONE_WITHIN_S)
    pressed = msgspec.structs.replace(device, connect_generation=device.connect_generation + 1)
    await system.gateway.put_device(pressed)
    await system.nodes.until_state("eka", "qr", within_s=DONE_WITHIN_S)
