"""`kurir devices` moves keys whole or not at all, from devices that nobody uses, and says what it did and why not."""

import asyncio
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest

from kurir.contracts.records import Device, Session
from kurir.contracts.streams import AUDIT
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus
from kurir.runtime.secrets import new_master_key
from kurir.session_node.engines.neonize.key_rows import Keys, read_postgres
from kurir.session_node.keys import at_rest
from tests.support.conditions import until
from tests.support.key_stores import KeyStores
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.session_nodes import TENANT, Gateway, LocalShard

JID = "628111000001:7@s.whatsapp.net"
PEER, OTHER_PEER = ("88001", "628999000001"), ("88002", "628999000002")
WORDS = "correct horse battery staple"
DONE_WITHIN_S = 60.0


class Finished(NamedTuple):
    code: int
    stdout: str
    stderr: str


class System:
    """A gateway without nodes, and the folder of keys of those that it would have."""

    def __init__(self, gateway: Gateway, home: Path) -> None:
        self.gateway = gateway
        self.stores = KeyStores(home / "devices")
        self.out = home / "out"
        self.words = home / "words"
        self.words.write_text(WORDS + "\n")
        (home / "tmp").mkdir()
        self.settings = {
            "NATS_URL": gateway.url,
            "KURIR_DEVICE_STORE_DIR": str(self.stores.folder),
            "TMPDIR": str(home / "tmp"),
        }

    async def start(self, *arguments: str, **settings: str) -> asyncio.subprocess.Process:
        """Begin `kurir devices …`."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from kurir.session_node.keys.commands import devices; devices()",
            *arguments,
            env={**os.environ, **self.settings, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, **settings: str) -> Finished:
        process = await self.start(*arguments, **settings)
        out, err = await asyncio.wait_for(process.communicate(), DONE_WITHIN_S)
        return Finished(process.returncode or 0, out.decode(), err.decode())

    async def export(self, *more: str, **settings: str) -> Finished:
        key = () if "--master-key" in more else ("--passphrase-file", str(self.words))
        return await self.run("export", "--tenant", TENANT, "--to", str(self.out), *key, *more, **settings)

    async def import_(self, *more: str, device: str = "d1", **settings: str) -> Finished:
        file = str(self.out / f"{device}.keys")
        return await self.run("import", file, "--passphrase-file", str(self.words), *more, **settings)

    async def linked(self, device: str = "d1", jid: str = JID, *peers: tuple[str, str], **known: Any) -> Keys:
        """A device with keys in a file, which its tenant disconnected unless told otherwise."""
        facts: dict[str, Any] = {"engine": "neonize", "wanted": "disconnected"} | known
        await self.gateway.add_device(device, jid=jid, **facts)
        return self.stores.make(device, jid, *(peers or (PEER,)))

    async def told(self) -> list[str]:
        """What the audit log was told."""
        stored = await self.gateway.bus.read_from(AUDIT.name, "kurir.aud.>", 1, 100)
        return [msgspec.json.decode(one.data)["what"] for one in stored]


@pytest.fixture
async def system(bus: Bus, nats_server: NatsServer, tmp_path: Path) -> System:
    return System(await Gateway.open(bus, nats_server.url), tmp_path)


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    server = PostgresServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def in_postgres(postgres: PostgresServer, jid: str) -> Keys:
    connection = await postgres.connect()
    try:
        async with connection.transaction():
            return await read_postgres(connection, jid)
    finally:
        await connection.close()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["passphrase", "master key"])
async def test_keys_come_back_from_a_file_as_they_were(system: System, lock: str) -> None:
    keys = await system.linked()
    settings = {"KURIR_MASTER_KEY": new_master_key()}
    option = ("--master-key",) if lock == "master key" else ()
    done = await system.export("d1", "--move", *option, **settings)
    assert (done.code, done.stderr) == (0, "")
    session = await system.gateway.session("d1")
    assert (session.paired, session.jid) == (False, None)
    assert not list(system.stores.file("d1").parent.glob("d1*"))
    assert ((system.out / "d1.keys").stat().st_mode & 0o777) == 0o600
    back = await system.import_(**settings)
    assert (back.code, back.stderr) == (0, "")
    assert system.stores.keys("d1", JID) == keys
    session = await system.gateway.session("d1")
    assert (session.paired, session.jid, session.state) == (True, JID, "disconnected")
    assert await system.told() == ["device.keys_moved_away", "device.keys_imported"]


async def test_an_export_or_import_that_is_done_again_says_that_it_was_done(system: System) -> None:
    await system.linked()
    await system.export("d1")
    assert "is already in" in (await system.export("d1")).stdout
    assert "had these keys already" in (await system.import_()).stdout


async def test_an_import_that_died_before_it_wrote_the_record_is_finished_by_the_next(system: System) -> None:
    keys = await system.linked()
    await system.export("d1", "--move")
    unlinked = await system.gateway.session("d1")
    await system.import_()
    await keyvalue.put(system.gateway.bus, "sessions", f"{TENANT}.d1", msgspec.json.encode(unlinked))
    again = await system.import_()
    assert (again.code, "had these keys already" in again.stdout) == (0, True)
    assert (await system.gateway.session("d1")).jid == JID
    assert system.stores.keys("d1", JID) == keys


async def test_an_export_does_not_write_over_other_keys(system: System) -> None:
    await system.linked()
    await system.export("d1")
    system.stores.use("d1", JID)
    again = await system.export("d1")
    assert (again.code, "--replace" in again.stderr) == (1, True)
    assert (await system.export("d1", "--replace")).code == 0


async def test_an_import_never_takes_a_linked_devices_place_unasked(system: System) -> None:
    await system.linked()
    await system.export("d1", "--move")
    await system.linked("d2", "628111000002:1@s.whatsapp.net")
    theirs = system.stores.keys("d2", "628111000002:1@s.whatsapp.net")
    refused = await system.import_("--device", "d2", "--tenant", TENANT)
    assert (refused.code, "is linked as 628111000002:1" in refused.stderr) == (1, True)
    assert system.stores.keys("d2", theirs.jid) == theirs
    assert (await system.import_("--device", "d2", "--tenant", TENANT, "--replace")).code == 0
    assert system.stores.keys("d2", JID).jid == JID
    assert (await system.gateway.session("d2")).jid == JID


async def test_one_jid_is_not_given_to_two_devices(system: System) -> None:
    await system.linked()
    await system.export("d1")
    await system.gateway.add_device("d2", jid=None, engine="neonize", wanted="disconnected")
    refused = await system.import_("--device", "d2", "--tenant", TENANT)
    assert (refused.code, "is t1.d1 here already" in refused.stderr) == (1, True)
    assert not system.stores.file("d2").exists()


async def test_what_is_wrong_with_a_file_or_a_key_is_one_sentence_and_changes_nothing(system: System) -> None:
    keys = await system.linked()
    await system.export("d1", "--move")
    file = system.out / "d1.keys"
    whole = file.read_bytes()
    other_words = system.out / "other"
    other_words.write_text(WORDS + "!")
    wrong = await system.run("import", str(file), "--passphrase-file", str(other_words))
    assert (wrong.code, "not the one that the file was encrypted with" in wrong.stderr) == (1, True)
    for content, said in (
        (whole[:-100], "cut short"),
        (whole.replace(b"KEYS 1\n", b"KEYS 9\n", 1), "of format 9"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "damaged"),
        (b"something else", "not a file of"),
    ):
        file.write_bytes(content)
        refused = await system.import_()
        assert (refused.code, said in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    assert not system.stores.file("d1").exists()
    file.write_bytes(whole)
    assert (await system.import_()).code == 0
    assert system.stores.keys("d1", JID) == keys


async def test_what_has_no_keys_is_told_and_the_others_are_exported(system: System) -> None:
    await system.linked("d1")
    await system.gateway.add_device("d2", engine="sandbox", wanted="disconnected")
    await system.gateway.add_device("d3", jid=None, engine="neonize", wanted="disconnected")
    await system.gateway.add_device("d4", jid="628111000004:1@s.whatsapp.net", engine="neonize", wanted="disconnected")
    done = await system.export("d1", "d2", "d3", "d4", "d5")
    assert done.code == 1
    assert done.stdout.startswith("t1.d1: exported to")
    reasons = ("engine sandbox", "not linked", "d4.db is not here", "no such device")
    assert all(reason in line for reason, line in zip(reasons, done.stderr.splitlines(), strict=False))


async def test_a_device_that_is_to_be_connected_by_the_next_node_is_not_exported(system: System) -> None:
    await system.linked(wanted="connected")
    refused = await system.export("d1", "--move")
    assert (refused.code, "disconnect it first" in refused.stderr) == (1, True)
    assert (await system.gateway.session("d1")).paired


async def test_a_device_without_a_phone_gets_no_keys(system: System) -> None:
    await system.linked()
    await system.export("d1", "--move")
    await system.gateway.add_device("d2", jid=None, engine="sandbox", wanted="disconnected")
    refused = await system.import_("--device", "d2", "--tenant", TENANT)
    assert (refused.code, "engine sandbox" in refused.stderr) == (1, True)


async def test_keys_of_a_later_release_are_not_touched(system: System) -> None:
    await system.linked()
    with closing(sqlite3.connect(system.stores.file("d1"))) as store:
        store.execute("UPDATE whatsmeow_version SET version = 999, compat = 999")
        store.commit()
    refused = await system.export("d1")
    assert (refused.code, "library's version 999" in refused.stderr) == (1, True)


# --- devices that are used --------------------------------------------------------------------------------------------


async def test_a_device_that_a_shard_may_use_is_left_alone(system: System) -> None:
    await system.linked(wanted="connected", connect_generation=0)
    device = msgspec.structs.replace((await devices_record(system, "d1")), wanted="connected")
    async with LocalShard(system.gateway.url):
        await until("every partition is owned", lambda: owned(system))
        refused = await system.export("d1")
        assert (refused.code, "disconnect it first" in refused.stderr) == (1, True)
        await system.gateway.put_device(msgspec.structs.replace(device, wanted="disconnected", updated_at=now()))
        assert (await system.export("d1")).code == 0
    assert (await system.gateway.holders()) == {}


@pytest.mark.parametrize(
    ("said", "is_put_away"),
    [
        ({"state": "connected"}, False),
        ({"state": "disconnected", "reason": "connection_lost"}, False),  # the library may still be reconnecting
        ({"state": "disconnected", "reason": "requested", "generation": 0}, False),  # of the disconnect before
        ({"state": "disconnected", "reason": "requested", "generation": 1}, True),
    ],
)
async def test_a_device_is_put_away_when_its_owner_says_so(said: dict[str, Any], is_put_away: bool) -> None:
    device = Device(
        id="d1",
        tenant=TENANT,
        name="d1",
        engine="neonize",
        created_at=now(),
        updated_at=now(),
        wanted="disconnected",
        connect_generation=1,
    )
    session = Session(device="d1", tenant=TENANT, at=now(), **said)
    assert at_rest.is_put_away(device, session, is_settled=False) == is_put_away
    assert at_rest.is_put_away(device, session, is_settled=True) == (said["state"] != "connected")


async def owned(system: System) -> bool:
    return len(await system.gateway.holders()) == 64


async def devices_record(system: System, device: str) -> Any:
    stored = await keyvalue.read(system.gateway.bus, "devices", f"{TENANT}.{device}")
    assert stored is not None
    return msgspec.json.decode(stored.data, type=Device)


def now() -> datetime:
    return datetime.now(UTC)


async def test_the_shard_that_owns_an_imported_device_takes_over_who_it_is(system: System) -> None:
    await system.linked()
    await system.export("d1", "--move")
    async with LocalShard(system.gateway.url) as local:
        await until("every partition is owned", lambda: owned(system))
        await system.gateway.add_device("d9", jid=None, engine="neonize", wanted="disconnected", connect_generation=0)
        session = await found(local, "d9")
        done = await system.import_("--device", "d9", "--tenant", TENANT)
        assert (done.code, done.stderr) == (0, "")
        session = await found(local, "d9")
        await until("its owner knows", lambda: session._record.now.jid == JID)
        assert session._record.now.paired


async def found(local: LocalShard, device: str) -> Any:
    sessions: list[Any] = []

    def is_there() -> bool:
        sessions[:] = [
            one for partition in local.shard.partitions.values() if (one := partition.session(TENANT, device))
        ]
        return bool(sessions)

    await until(f"{device} is known", is_there)
    return sessions[0]


async def test_while_keys_are_copied_no_shard_can_take_the_device(system: System) -> None:
    """Its partition's lease is the command's, seen from outside while it waits for the lock of the file."""
    await system.linked()
    with closing(sqlite3.connect(system.stores.file("d1"), isolation_level=None)) as blocking:
        blocking.execute("PRAGMA locking_mode = EXCLUSIVE")
        blocking.execute("BEGIN EXCLUSIVE")
        process = await system.start(
            "export", "d1", "--tenant", TENANT, "--to", str(system.out), "--passphrase-file", str(system.words)
        )

        async def is_held() -> bool:
            return any(holder.startswith("command-line") for holder in (await system.gateway.holders()).values())

        await until("the command holds the lease", is_held, within_s=DONE_WITHIN_S)
        blocking.execute("ROLLBACK")
    await asyncio.wait_for(process.communicate(), DONE_WITHIN_S)
    assert process.returncode == 0
    assert await system.gateway.holders() == {}


# --- to PostgreSQL ----------------------------------------------------------------------------------------------------


async def test_a_migration_that_is_killed_again_and_again_loses_nothing(
    system: System, postgres: PostgresServer
) -> None:
    devices = {f"d{n}": f"6281110001{n:02d}:1@s.whatsapp.net" for n in range(12)}
    before = {device: await system.linked(device, jid, PEER, wanted="connected") for device, jid in devices.items()}
    kills = 0
    while True:
        process = await system.start("migrate", "--all", "--to", postgres.url)
        if kills < 8:
            kills += 1
            try:
                await asyncio.wait_for(process.wait(), random.uniform(0.3, 1.8))
            except TimeoutError:
                process.kill()
        out, err = await asyncio.wait_for(process.communicate(), DONE_WITHIN_S)
        for device, keys in before.items():
            file = system.stores.file(device)
            assert (file.exists() and system.stores.keys(device, keys.jid) == keys) or (
                (await in_postgres(postgres, keys.jid)).own == keys.own
            )
        if process.returncode == 0:
            break
        held = (await system.gateway.holders()).values()
        for holder in held:  # a killed command's lease runs out by itself
            assert holder.startswith("command-line")
        for key in await system.gateway.holders():
            await keyvalue.delete(system.gateway.bus, "leases", key)
    assert len(out.decode().splitlines()) == len(devices), err.decode()
    for device, keys in before.items():
        assert (await in_postgres(postgres, keys.jid)) == keys
        assert not system.stores.file(device).exists()
    again = await system.run("migrate", "--all", "--to", postgres.url)
    assert (again.code, again.stdout.count("was migrated before")) == (0, len(devices))


async def test_a_database_of_many_devices_gives_each_its_own_peers_alone(
    system: System, postgres: PostgresServer
) -> None:
    one = await system.linked("d1", JID, PEER)
    two = await system.linked("d2", "628111000002:1@s.whatsapp.net", OTHER_PEER)
    await system.run("migrate", "--tenant", TENANT, "--all", "--to", postgres.url)
    done = await system.export("--all", DEVICE_STORE_URL=postgres.url)
    assert (done.code, done.stderr) == (0, "")
    await postgres.restart()
    for device in ("d1", "d2"):
        await keyvalue.delete(system.gateway.bus, "sessions", f"{TENANT}.{device}")
        assert (await system.import_(device=device)).code == 0
    assert (system.stores.keys("d1", one.jid), system.stores.keys("d2", two.jid)) == (one, two)


async def test_keys_that_differ_on_both_sides_are_left_to_the_operator(
    system: System, postgres: PostgresServer
) -> None:
    await system.linked()
    await system.run("migrate", "d1", "--tenant", TENANT, "--to", postgres.url)
    newer = system.stores.make("d1", JID, PEER)
    refused = await system.run("migrate", "d1", "--tenant", TENANT, "--to", postgres.url)
    assert (refused.code, "they differ" in refused.stderr) == (1, True)
    assert system.stores.keys("d1", JID) == newer
    assert (await system.run("migrate", "d1", "--tenant", TENANT, "--to", postgres.url, "--replace")).code == 0
    assert (await in_postgres(postgres, JID)).own == newer.own


async def test_a_database_that_cannot_be_used_is_named_without_its_password(system: System) -> None:
    await system.linked()
    for url, said in (
        ("postgres://kurir:s3cret@127.0.0.1:1/kurir?sslmode=disable", "PostgreSQL"),
        ("mysql://kurir:s3cret@host/kurir", "not a postgres://"),
    ):
        refused = await system.run("migrate", "--all", "--to", url)
        assert (refused.code, said in refused.stderr, "s3cret" in refused.stderr) == (1, True, False)
        assert "Traceback" not in refused.stderr
    assert system.stores.file("d1").exists()


async def test_a_database_of_another_release_is_not_brought_to_ours(system: System, postgres: PostgresServer) -> None:
    await system.linked()
    await system.run("migrate", "--all", "--to", postgres.url)
    connection: asyncpg.Connection[Any] = await postgres.connect()
    await connection.execute("UPDATE whatsmeow_version SET version = 14")
    refused = await system.export("d1", DEVICE_STORE_URL=postgres.url)
    assert (refused.code, "library's version 14" in refused.stderr) == (1, True)
    assert await connection.fetchval("SELECT version FROM whatsmeow_version") == 14
    await connection.close()
