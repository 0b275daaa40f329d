"""Session nodes under test: shards in this process or in their own, devices, commands, and the events they lead to."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from kurir.contracts import commands, events, ids, subjects
from kurir.contracts.commands import Command, SendMessage
from kurir.contracts.content import Text
from kurir.contracts.events import AnyEvent, ConnectionUpdate, MessageSending, MessageStatusChanged
from kurir.contracts.records import Device, Holder, Session
from kurir.contracts.streams import COMMANDS, EVENTS
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus, Outgoing, PubAck
from kurir.runtime.metrics import Metrics
from kurir.runtime.partitions import partition_of
from kurir.session_node.engines.engine import Engine
from kurir.session_node.engines.sandbox.client import Pace, SandboxEngine
from kurir.session_node.settings import SessionNodeSettings
from kurir.session_node.shard import Shard

TENANT = "t1"
FRIEND = "628111000001@s.whatsapp.net"
QUICK = Pace(
    login_s=0.001,
    ack_s=(0.0, 0.002),
    delivered_s=(0.0, 0.004),
    read_s=(0.0, 0.004),
    reply_s=(0.0, 0.004),
    reconnect_s=0.05,
    tick_s=0.001,
)
LEASE_TTL_S = 6  # twice the shortest: a busy machine stands still for seconds, and a lost lease ends a pairing


def a_message(device: str, to: str = FRIEND, text: str = "hello", **known: Any) -> SendMessage:
    facts: dict[str, Any] = {"id": ids.uuid7(), "accepted_at": datetime.now(UTC)} | known
    return SendMessage(tenant=TENANT, device=device, to=to, **({"content": Text(text=text)} | facts))


class Gateway:
    """What an api would do, and what a subscriber would see, on one bus."""

    def __init__(self, bus: Bus, url: str) -> None:
        self.bus = bus
        self.url = url

    @classmethod
    async def open(cls, bus: Bus, url: str) -> "Gateway":
        await topology.apply(bus)
        return cls(bus, url)

    async def add_device(self, device: str, *, jid: str | None = "628999@s.whatsapp.net", **known: Any) -> Device:
        """Write a device record; with `jid` it is paired already."""
        at = datetime.now(UTC)
        facts: dict[str, Any] = {
            "engine": "sandbox",
            "wanted": "connected",
            "pace_per_minute": 0,
            "connect_generation": 1,
        } | known
        record = Device(id=device, tenant=TENANT, name=device, created_at=at, updated_at=at, **facts)
        if jid is not None:
            session = Session(device=device, tenant=TENANT, state="disconnected", at=at, paired=True, jid=jid)
            await keyvalue.put(self.bus, "sessions", f"{TENANT}.{device}", msgspec.json.encode(session))
        await self.put_device(record)
        return record

    async def put_device(self, record: Device) -> None:
        await keyvalue.put(self.bus, "devices", f"{TENANT}.{record.id}", msgspec.json.encode(record))

    async def delete_device(self, device: str) -> None:
        await keyvalue.delete(self.bus, "devices", f"{TENANT}.{device}")

    async def order(self, *orders: Command) -> None:
        """Publish commands as the api does."""
        items = [
            Outgoing(
                subjects.command(
                    partition_of(order.device, subjects.COMMAND_PARTITIONS),
                    order.tenant,
                    order.device,
                    commands.kind_of(order),
                ),
                msgspec.json.encode(order),
                order.id,
            )
            for order in orders
        ]
        answers = await self.bus.publish_many(items)
        assert all(isinstance(answer, PubAck) for answer in answers), answers

    async def events(self, device: str = "*") -> list[AnyEvent]:
        """All events of a device (or of all) in stream order."""
        stored = await self.bus.read_from(EVENTS.name, subjects.events_of_device(TENANT, device), 1, 1_000_000)
        decoded = [events.decode(subjects.parse_event(s.subject).type, s.data) for s in stored]
        return [event for event in decoded if event is not None]

    async def statuses(self, device: str = "*") -> dict[str, list[MessageStatusChanged | MessageSending]]:
        """What was said about each message, in order."""
        said: dict[str, list[MessageStatusChanged | MessageSending]] = defaultdict(list)
        for event in await self.events(device):
            if isinstance(event, MessageStatusChanged | MessageSending):
                said[event.message_id].append(event)
        return said

    async def has_status(self, orders: Sequence[SendMessage], *wanted: str) -> bool:
        said = await self.statuses()
        return all(any(fact.status in wanted for fact in said[order.id]) for order in orders)

    async def state(self, device: str) -> str | None:
        stored = await keyvalue.read(self.bus, "sessions", f"{TENANT}.{device}")
        if stored is None or keyvalue.is_marker(stored.headers):
            return None
        return msgspec.json.decode(stored.data, type=Session).state

    async def session(self, device: str) -> Session:
        stored = await keyvalue.read(self.bus, "sessions", f"{TENANT}.{device}")
        assert stored is not None
        return msgspec.json.decode(stored.data, type=Session)

    async def connection_states(self, device: str) -> list[str]:
        return [event.state for event in await self.events(device) if isinstance(event, ConnectionUpdate)]

    async def commands_left(self) -> int:
        return int((await self.bus.js.stream_info(COMMANDS.name)).state.messages)

    async def holders(self) -> dict[str, str]:
        """Who holds each lease at this moment, by lease key."""
        held = await self.bus.last_by_subjects("KV_leases", "$KV.leases.>")
        return {
            keyvalue.key_in("leases", lease.subject): msgspec.json.decode(lease.data, type=Holder).holder
            for lease in held
            if not keyvalue.is_marker(lease.headers)
        }


class LocalShard:
    """A shard in this process, with a bus of its own and a quick sandbox."""

    def __init__(self, url: str, index: int = 0, node: str = "node", *, pace: Pace = QUICK, **settings: Any) -> None:
        known: dict[str, Any] = {"lease_ttl_s": LEASE_TTL_S, "shutdown_grace_s": 15.0} | settings
        self.settings = SessionNodeSettings(shard=index, node_name=node, nats_url=url, **known)
        self.engine = SandboxEngine(pace=pace)
        self.impostors: list[str] = []
        self.metrics = Metrics()
        self._bus: Bus | None = None
        self._shard: Shard | None = None

    @property
    def shard(self) -> Shard:
        assert self._shard is not None
        return self._shard

    def engines(self) -> dict[str, Callable[[], Engine]]:
        """The engines that this shard has."""
        return {"sandbox": lambda: self.engine}

    async def __aenter__(self) -> "LocalShard":
        self._bus = await Bus.connect(self.settings.nats_url, name=self.settings.shard_id)
        self._shard = Shard(
            self._bus,
            self.settings,
            self.metrics,
            self.engines(),
            on_impostor=self.impostors.append,
        )
        await self._shard.start()
        return self

    async def stop(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            await shard.stop()
        if self._bus is not None:
            await self._bus.close()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class NodeProcess:
    """A session node as it is started for real: a supervisor, or with `shard` one shard alone.

    `launcher` makes the command that runs it under another program.
    """

    def __init__(
        self,
        url: str,
        home: Path,
        *arguments: str,
        node: str = "node",
        env: dict[str, str] | None = None,
        launcher: Callable[..., Sequence[str]] = lambda *command: command,
    ) -> None:
        self.log_path = home / f"{node}-{'-'.join(arguments) or 'node'}-{time.monotonic_ns()}.log"
        settings = {
            "NATS_URL": url,
            "KURIR_NODE_NAME": node,
            "KURIR_LEASE_TTL_S": str(LEASE_TTL_S),
            "KURIR_DEVICE_STORE_DIR": str(home / "devices"),
            "KURIR_SHUTDOWN_GRACE_S": "15",
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                launcher(sys.executable, "-m", "kurir.session_node", *arguments),
                env=os.environ | settings | (env or {}),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def log_lines(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log_path.read_text(errors="replace").rpartition("\n")  # the last line may be half written
        lines = whole.splitlines()
        return [cast(dict[str, Any], msgspec.json.decode(line)) for line in lines if line.startswith("{")]

    def pids_of_shards(self) -> dict[int, int]:
        """The last known process id of each shard, from the supervisor's log."""
        return {
            line["shard"]: line["pid"] for line in self.log_lines() if line.get("event") == "supervisor.shard_started"
        }

    def health_url(self) -> str | None:
        for line in self.log_lines():
            if line.get("event") == "service.starting" and "shard" not in line:
                return str(line["health_url"])
        return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    async def terminate(self, within_s: float = 20.0) -> int:
        """SIGTERM, and wait for the end."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, within_s)

    async def end(self) -> None:
        """End it somehow, for the end of a test."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 20)
            except subprocess.TimeoutExpired:
                self.kill()


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone, or while it was read
        return False
    # A child that ended and was not waited for is no life.
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
