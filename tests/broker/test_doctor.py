"""`kurir doctor`: each fault that is planted is found, and its cure named; a system without faults has none.

The system is records and streams on a real server, as services leave them; what stands there is what the doctor reads.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import SecretStr

from kurir.cli.doctor.command import Report
from kurir.cli.doctor.examination import DoctorSettings, examine
from kurir.contracts import subjects
from kurir.contracts.records import Device, Endpoint, Holder, Node, SealedSecret, Session, Shard
from kurir.contracts.subjects import COMMAND_PARTITIONS
from kurir.runtime import keyvalue, topology
from kurir.runtime.broker import Bus
from kurir.runtime.clock import SystemClock
from kurir.runtime.diagnosis import Finding
from kurir.runtime.mongo import Mongo
from kurir.runtime.secrets import MasterKey, endpoint_context, new_master_key
from kurir.runtime.settings import load
from kurir.webhook_dispatcher.audit import INDEXES
from tests.support.conditions import until
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.server_process import free_port
from tests.support.session_nodes import Gateway, LocalShard

AT = datetime.now(UTC) - timedelta(hours=2)
MASTER_KEY = new_master_key()
JID = "628111@s.whatsapp.net"


class ClockAhead(SystemClock):
    """A machine whose clock is a minute fast, and half a second: what is measured is off by the way to the others."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=60.5)

    def time(self) -> float:
        return super().time() + 60.5


class Patient:
    """A system, healthy until something is planted, and the doctor's settings for it."""

    def __init__(
        self, bus: Bus, nats: NatsServer, mongo: MongoServer, home: Path, environment: pytest.MonkeyPatch
    ) -> None:
        self.environment = environment
        self.bus = bus
        self.mongo = mongo
        self.nats = nats
        self.store = home / "devices"
        self.settings = load(DoctorSettings, nats_url=nats.url, mongodb_url=mongo.url, master_key=SecretStr(MASTER_KEY))
        self.clock = SystemClock()
        self.backlog_age_s = 60.0

    async def put(self, bucket: str, key: str, value: msgspec.Struct, ttl_s: int | None = None) -> None:
        await keyvalue.put(self.bus, bucket, key, msgspec.json.encode(value), ttl_s=ttl_s)

    async def put_shard(self, name: str, **known: Any) -> None:
        facts: dict[str, Any] = {"node": "node", "started_at": AT, "capacity": 200} | known
        await self.put("shards", name, Shard(id=name, **facts), ttl_s=600)

    async def put_lease(self, partition: int, holder: str, ttl_s: int | None = 600) -> None:
        lease = Holder(holder=holder, node="node", since=AT)
        await self.put("leases", f"p{partition:02d}", lease, ttl_s)

    async def put_device(self, name: str, *, session: dict[str, Any] | None, engine: Any = "neonize") -> None:
        device = Device(
            id=name, tenant="t1", name=name, engine=engine, created_at=AT, updated_at=AT, wanted="connected"
        )
        await self.put("devices", f"t1.{name}", device)
        if session is not None:
            await self.put("sessions", f"t1.{name}", Session(device=name, tenant="t1", at=AT, **session))

    async def put_webhook(self, name: str, key: str) -> None:
        sealed = MasterKey.parse(key).seal("whsec_x", endpoint_context("t1", name))
        secret = SealedSecret(id="s1", sealed=sealed, created_at=AT)
        at: dict[str, Any] = {"created_at": AT, "updated_at": AT}
        await self.put(
            "endpoints", f"t1.{name}", Endpoint(id=name, tenant="t1", url="https://e", secrets=(secret,), **at)
        )

    def paired_file(self, name: str, mode: str = "WAL", jid: str = JID) -> Path:
        path = self.store / "neonize" / "t1" / f"{name}.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path)
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("CREATE TABLE whatsmeow_device (jid text)")
        database.execute("INSERT INTO whatsmeow_device VALUES (?)", (jid,))
        database.commit()
        database.close()
        return path

    async def findings(self) -> list[Finding]:
        return await examine(self.settings, self.clock, backlog_age_s=self.backlog_age_s)

    def change(self, **settings: Any) -> None:
        self.settings = self.settings.model_copy(update=settings)


@pytest.fixture
async def patient(
    bus: Bus, nats_server: NatsServer, mongo_server: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Patient:
    await topology.apply(bus)
    found = Patient(bus, nats_server, mongo_server, tmp_path, monkeypatch)
    monkeypatch.setenv("KURIR_DEVICE_STORE_DIR", str(found.store))
    monkeypatch.delenv("DEVICE_STORE_URL", raising=False)
    await found.put_shard("node-0")
    await asyncio.gather(*(found.put_lease(partition, "node-0") for partition in range(COMMAND_PARTITIONS)))
    await found.put("leaders", "scheduler", Holder(holder="scheduler-1", node="n", since=AT), ttl_s=600)
    await found.put_device("well", session={"state": "connected", "shard": "node-0", "paired": True, "jid": JID})
    found.paired_file("well")
    await found.put_webhook("we1", MASTER_KEY)
    return found


class Fault(NamedTuple):
    """`text` and `cure` are parts of what has to be said of it."""

    check: str
    plant: Callable[[Patient], Awaitable[None]]
    text: str
    cure: str


async def a_stream_is_gone(patient: Patient) -> None:
    await patient.bus.js.delete_stream("DEAD")


async def a_consumer_is_gone(patient: Patient) -> None:
    await patient.bus.js.delete_consumer("EVENTS", "fanout")


async def a_bucket_differs(patient: Patient) -> None:
    config = (await patient.bus.js.stream_info("KV_devices")).config
    await patient.bus.js.update_stream(config.evolve(max_age=3600))


async def an_event_that_nobody_takes(patient: Patient) -> None:
    await patient.bus.publish(subjects.event("t1", "d1", "connection.update"), b"{}")
    patient.backlog_age_s = 0.0


async def a_stream_that_is_nearly_full(patient: Patient) -> None:
    config = (await patient.bus.js.stream_info("EVENTS")).config
    await patient.bus.js.update_stream(config.evolve(max_bytes=2000))
    await patient.bus.publish(subjects.event("t1", "d1", "connection.update"), b"x" * 1850)


async def a_dead_letter(patient: Patient) -> None:
    await patient.bus.publish(subjects.dead("deliveries", "t1", "we1"), b"{}")


async def a_partition_without_an_owner(patient: Patient) -> None:
    await keyvalue.delete(patient.bus, "leases", "p07")


async def a_lease_of_a_dead_shard(patient: Patient) -> None:
    await patient.put_lease(9, "ghost-0")


async def an_eternal_lease_of_a_dead_shard(patient: Patient) -> None:
    await patient.put_lease(9, "ghost-0", ttl_s=None)


async def two_shards_in_a_slot(patient: Patient) -> None:
    await patient.put_shard("node-0_1", slot="node-0")


async def every_node_cordoned(patient: Patient) -> None:
    await patient.put("nodes", "node", Node(name="node", state="cordoned", at=AT, by="me"))


async def a_node_that_was_forgotten(patient: Patient) -> None:
    at = datetime.now(UTC) - timedelta(days=3)
    await patient.put("nodes", "old", Node(name="old", state="drained", at=at, by="me"))


async def no_shard_at_all(patient: Patient) -> None:
    await keyvalue.delete(patient.bus, "shards", "node-0")


async def a_device_that_is_away(patient: Patient) -> None:
    await patient.put_device(
        "lost", session={"state": "disconnected", "reason": "server_unavailable"}, engine="sandbox"
    )


async def a_device_whose_engine_is_missing(patient: Patient) -> None:
    await patient.put_device(
        "lost", session={"state": "disconnected", "reason": "engine_unavailable"}, engine="sandbox"
    )


async def a_device_without_room(patient: Patient) -> None:
    await patient.put_device("lost", session={"state": "disconnected", "reason": "no_capacity"}, engine="sandbox")


async def mongo_is_down(patient: Patient) -> None:
    await patient.mongo.kill()


async def indexes_are_missing(patient: Patient) -> None:
    mongo = Mongo.connect(patient.mongo.url)
    await mongo.insert_facts("events", [{"_id": "e1", "at_ms": int(datetime.now(UTC).timestamp() * 1000)}])
    await mongo.close()


async def history_that_nobody_deletes(patient: Patient) -> None:
    mongo = Mongo.connect(patient.mongo.url)
    await mongo.insert_facts("changes", [{"_id": "c1", "at_ms": 0}])
    await mongo.close()


async def a_clock_is_ahead(patient: Patient) -> None:
    patient.clock = ClockAhead()


async def another_master_key(patient: Patient) -> None:
    patient.change(master_key=SecretStr(new_master_key()))


async def no_master_key(patient: Patient) -> None:
    patient.change(master_key=None)


async def keys_are_missing(patient: Patient) -> None:
    await patient.put_device("away", session={"state": "connected", "shard": "node-0", "paired": True, "jid": JID})


async def a_file_that_is_no_database(patient: Patient) -> None:
    patient.paired_file("well2").write_bytes(b"not a database at all" * 100)
    await patient.put_device("well2", session={"state": "connected", "shard": "node-0", "paired": True, "jid": JID})


async def a_file_without_wal(patient: Patient) -> None:
    patient.paired_file("well2", mode="DELETE")
    await patient.put_device("well2", session={"state": "connected", "shard": "node-0", "paired": True, "jid": JID})


async def postgres_is_down(patient: Patient) -> None:
    url = f"postgres://kurir:x@127.0.0.1:{free_port()}/kurir?sslmode=disable"
    patient.environment.setenv("DEVICE_STORE_URL", url)


async def no_scheduler(patient: Patient) -> None:
    await keyvalue.delete(patient.bus, "leaders", "scheduler")


async def a_record_of_another_version(patient: Patient) -> None:
    await keyvalue.put(patient.bus, "tenants", "t9", b'{"id": 9}')


FAULTS = (
    Fault("streams", a_stream_is_gone, "missing: DEAD", "kurir topology apply"),
    Fault("streams", a_consumer_is_gone, "missing: EVENTS/fanout", "kurir topology apply"),
    Fault("streams", a_bucket_differs, "KV_devices: max_age", "kurir topology apply"),
    Fault("consumers", an_event_that_nobody_takes, "EVENTS/fanout: 1 messages wait", "start the webhook-dispatcher"),
    Fault("room", a_stream_that_is_nearly_full, "stream EVENTS is 9", "Raise max_bytes of EVENTS"),
    Fault("dead letters", a_dead_letter, "1 in the last day, of deliveries", "/replays"),
    Fault("leases", a_partition_without_an_owner, "1 of 64 partitions without an owner: p07", "Start a session-node"),
    Fault("leases", a_lease_of_a_dead_shard, "p09 (ghost-0)", "KURIR_LEASE_TTL_S"),
    Fault("leases", an_eternal_lease_of_a_dead_shard, "for ever", "nats kv del leases"),
    Fault("shards", two_shards_in_a_slot, "two in slot node-0: node-0 on node, node-0_1", "KURIR_NODE_NAME"),
    Fault("shards", no_shard_at_all, "none is alive", "kurir session-node"),
    Fault("nodes", every_node_cordoned, "no node is open", "kurir nodes uncordon"),
    Fault("nodes", a_node_that_was_forgotten, "old is drained, for up to 72 h", "kurir nodes uncordon"),
    Fault("devices", a_device_that_is_away, "1 wanted connected are disconnected (server_unav", "reach WhatsApp"),
    Fault("devices", a_device_whose_engine_is_missing, "engine_unavailable", "Install the engine"),
    Fault("devices", a_device_without_room, "no_capacity", "Run another session-node"),
    Fault("history database", mongo_is_down, "mongodb://127.0.0.1", "Start MongoDB"),
    Fault("history indexes", indexes_are_missing, "events by message_id", "Restart the webhook-dispatcher"),
    Fault("retention", history_that_nobody_deletes, "changes reach back", "scheduler"),
    Fault("clocks", a_clock_is_ahead, "this machine is +60", "NTP"),
    Fault("master key", another_master_key, "opens 0 of 1 values, not webhook we1", "Put back the key"),
    Fault("master key", no_master_key, "No master key", "KURIR_MASTER_KEY_FILE"),
    Fault("device store", keys_are_missing, "1 files are missing: t1.away", "Mount the volume"),
    Fault("device store", a_file_that_is_no_database, "t1.well2", "paired again"),
    Fault("device store", a_file_without_wal, "journal mode delete: t1.well2", "a login puts it right"),
    Fault("device store", postgres_is_down, "PostgreSQL", "DEVICE_STORE_URL"),
    Fault("scheduler", no_scheduler, "nobody leads", "Start a scheduler"),
    Fault("records", a_record_of_another_version, "bucket tenants cannot be read: t9", "run one version"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__)
async def test_a_fault_that_is_planted_is_found_and_its_cure_named(patient: Patient, fault: Fault) -> None:
    await fault.plant(patient)
    findings = await patient.findings()
    told = [finding for finding in findings if finding.check == fault.check and finding.verdict != "ok"]
    assert any(fault.text in finding.text and fault.cure in finding.cure for finding in told), findings
    assert all(finding.cure for finding in findings if finding.verdict != "ok")


async def test_a_system_without_faults_has_no_failure(patient: Patient) -> None:
    findings = await patient.findings()
    assert [finding for finding in findings if finding.verdict == "fail"] == []
    # What no client is told of is not called well.
    assert [finding.check for finding in findings if finding.verdict == "warn"] == ["room"]


async def test_history_that_the_dispatcher_has_written_has_its_indexes(patient: Patient) -> None:
    mongo = Mongo.connect(patient.mongo.url)
    for collection, indexes in INDEXES.items():
        await mongo.ensure_indexes(collection, indexes)
        at_ms = int(datetime.now(UTC).timestamp() * 1000)
        await mongo.insert_facts(collection, [{"_id": "f1", "at_ms": at_ms}])
    await mongo.close()
    (found,) = [finding for finding in await patient.findings() if finding.check == "history indexes"]
    assert found.verdict == "ok", found


async def test_a_server_that_can_be_asked_tells_how_much_room_there_is(patient: Patient) -> None:
    port = free_port()
    program = f"""
import http.server, json
class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/jsz" else 404); self.end_headers()
        self.wfile.write(json.dumps({{"storage": 97, "config": {{"max_storage": 100}}}}).encode())
http.server.HTTPServer(("127.0.0.1", {port}), Told).serve_forever()
"""
    monitoring = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until("it listens", lambda: listens(port), within_s=20)
        patient.change(nats_monitoring_url=f"http://127.0.0.1:{port}/")
        (found,) = [finding for finding in await patient.findings() if finding.check == "room"]
    finally:
        monitoring.kill()
        await monitoring.wait()
    assert (found.verdict, "97% full" in found.text) == ("fail", True), found


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"storage": 97, "limits": {"max_storage": 100}}, "the account's store, 0 MB of 0 MB is 97% full"),
        (
            {
                "storage": 0,
                "limits": {"max_storage": 0},
                "tiers": {
                    "R1": {"storage": 10, "limits": {"max_storage": 100}},
                    "R3": {"storage": 96, "limits": {"max_storage": 100}},
                },
            },
            "the account's store for R3, 0 MB of 0 MB is 96% full",
        ),
    ],
    ids=["an account with a limit", "an account with tiers"],
)
async def test_jetstream_itself_tells_how_full_an_account_with_limits_is(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, account: dict[str, Any], said: str
) -> None:
    async def told(_: Bus) -> dict[str, Any]:
        return account

    monkeypatch.setattr(topology, "account_info", told)
    (found,) = [finding for finding in await patient.findings() if finding.check == "room"]
    assert (found.verdict, found.text) == ("fail", said)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_shards_that_run_are_found_well(bus: Bus, nats_server: NatsServer, mongo_server: MongoServer) -> None:
    gateway = await Gateway.open(bus, nats_server.url)
    async with LocalShard(gateway.url) as shard:
        await until("it owns every partition", lambda: len(shard.shard.owned) == COMMAND_PARTITIONS)
        settings = load(DoctorSettings, nats_url=nats_server.url, mongodb_url=mongo_server.url)
        findings = {finding.check: finding for finding in await examine(settings, SystemClock(), backlog_age_s=60)}
    assert (findings["leases"].verdict, findings["shards"].verdict) == ("ok", "ok"), findings


async def test_keys_in_postgres_are_looked_for(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer()
    await server.start()
    try:
        monkeypatch.setenv("DEVICE_STORE_URL", server.url)
        connection = await server.connect()
        await connection.execute("CREATE TABLE whatsmeow_device (jid text)")
        await connection.execute("CREATE TABLE kurir_device_keys (jid text, tenant text, device text)")
        without = {finding.check: finding for finding in await patient.findings()}["device store"]
        await connection.execute("INSERT INTO whatsmeow_device VALUES ($1)", JID)
        await connection.execute("INSERT INTO kurir_device_keys VALUES ($1, 't1', 'well')", JID)
        with_keys = {finding.check: finding for finding in await patient.findings()}["device store"]
        await connection.close()
    finally:
        await server.stop()
    assert (without.verdict, with_keys.verdict) == ("fail", "ok"), (without, with_keys)
    assert "t1.well" in without.text


async def test_a_system_of_which_nothing_answers_is_told_of_within_its_time(tmp_path: Path) -> None:
    environment = {
        "NATS_URL": f"nats://127.0.0.1:{free_port()}",
        "MONGODB_URL": f"mongodb://127.0.0.1:{free_port()}/kurir",
        "DEVICE_STORE_URL": f"postgres://u:s3cret@127.0.0.1:{free_port()}/kurir?sslmode=disable",
    }
    code, output = await kurir_doctor(tmp_path, "--json", **environment)
    report = msgspec.json.decode(output, type=Report)
    assert (code, report.verdict) == (1, "fail")
    failed = {finding.check for finding in report.findings if finding.verdict == "fail"}
    assert {"nats", "history database", "device store", "master key"} <= failed
    unseen = [finding for finding in report.findings if finding.check == "leases"]
    assert [finding.text for finding in unseen] == ["not looked at: NATS does not answer"]
    assert b"s3cret" not in output


async def test_the_command_prints_a_line_for_each_check_and_its_exit_code_tells(
    patient: Patient, tmp_path: Path
) -> None:
    environment = {
        "NATS_URL": patient.nats.url,
        "MONGODB_URL": patient.mongo.url,
        "KURIR_MASTER_KEY": MASTER_KEY,
        "KURIR_DEVICE_STORE_DIR": str(patient.store),
    }
    code, output = await kurir_doctor(tmp_path, **environment)
    lines = output.decode().splitlines()
    assert code == 0, output
    assert "ok   leases: all 64 partitions have an owner that is alive" in lines
    await a_partition_without_an_owner(patient)
    code, output = await kurir_doctor(tmp_path, **environment)
    assert code == 1
    assert "fail leases: 1 of 64 partitions without an owner: p07 → Start a session-node" in output.decode()


async def kurir_doctor(home: Path, *arguments: str, **environment: str) -> tuple[int, bytes]:
    """Exit code and standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kurir.cli", "doctor", *arguments,
        env={**os.environ, **environment}, cwd=home, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode or 0, output
