"""WhatsApp for benchmarks: the tests' emulator, accounts with stored devices, and a network with nobody else in it.

What is measured runs inside the emulator's network namespace, nats-server and load included, so that no door between
inside and outside stands in the way of the bytes. The emulator is Python and shares the machine's cores; what it costs
is told with each figure.
"""

import asyncio
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.support.whatsapp_emulator.address import EmulatorAddress
from tests.support.whatsapp_emulator.neonize_clients import NeonizeClients
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.support.whatsapp_emulator.provisioned_store import StoreTemplate

TENANT = "bench"
FRIEND = "628999000001"
"""A contact with a phone that tells that it got what it gets."""

INSIDE = "--inside"
ANSWER = "figures.pickle"


class Stored(msgspec.Struct, frozen=True):
    """A device that is linked with the emulator, and the store of its keys."""

    phone: str
    jid: str
    file: str


class World(msgspec.Struct, frozen=True):
    """What the inner process is told. `emulator_pid` is for measuring it."""

    folder: str
    proxy: str
    emulator_pid: int
    devices: list[Stored]


def measured(module: str, devices: int, arguments: Sequence[str] = (), *, ack_delay_s: float = 0.0) -> list[Any]:
    """Run `python -m <module> --inside …` on an emulator with so many stored devices; the figures of its `answer`.

    The emulator acknowledges a message after `ack_delay_s`. Raises RuntimeError when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="kurir-bench-") as folder:
        home = Path(folder)
        (home / "emulator").mkdir()
        with EmulatorProcess(home / "emulator") as emulator:
            world = asyncio.run(_made(emulator, home, devices, ack_delay_s))
            (home / "world.json").write_bytes(msgspec.json.encode(world))
            command = emulator.trusting(sys.executable, "-m", module, INSIDE, folder, *arguments)
            if subprocess.run(command, cwd=emulator.cwd, check=False).returncode:
                raise RuntimeError(f"{module} failed")
        figures: list[Any] = pickle.loads((home / ANSWER).read_bytes())
        return figures


def world_of(folder: str) -> World:
    """What `measured` has prepared."""
    return msgspec.json.decode((Path(folder) / "world.json").read_bytes(), type=World)


def answer(folder: str, figures: Sequence[object]) -> None:
    """What `measured` returns."""
    (Path(folder) / ANSWER).write_bytes(pickle.dumps(list(figures)))


async def _made(emulator: EmulatorProcess, home: Path, count: int, ack_delay_s: float) -> World:
    await emulator.client.contact(FRIEND, name="Vera", delivered=True, read=False)
    clients = NeonizeClients(emulator, home)
    await clients.start()
    await clients.pair("template", "628000000000")
    await clients.stop()
    template = StoreTemplate(clients.file("template"), home)
    devices = []
    for number in range(count):
        phone, file = f"62811{number:07}", home / "stores" / f"{number}.db"
        provided = await template.write(file, emulator.client, phone, name=f"Bench {number}")
        devices.append(Stored(phone, provided.jid, str(file)))
    await emulator.client.set_faults(ack_delay_s=ack_delay_s)
    address = EmulatorAddress.read(home / "emulator")
    return World(str(home), address.proxy, address.pid, devices)


def node_environment(world: World, nats_url: str, store: Path) -> dict[str, str]:
    """Of a session node whose devices talk to the emulator."""
    return {
        "NATS_URL": nats_url,
        "KURIR_NODE_NAME": "bench",
        "KURIR_DEVICE_STORE_DIR": str(store),
        "KURIR_WHATSAPP_PROXY": world.proxy,
    }


def put_store(stored: Stored, store: Path, tenant: str, device: str) -> None:
    """Give a device of Kurir the keys of this stored device."""
    file = store / "neonize" / tenant / f"{device}.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    os.replace(stored.file, file)
