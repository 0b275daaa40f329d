"""The real library where there is no network: it is never downloaded, never blocks and says what is wrong."""

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.device_store import StoreUnavailable
from kurir.session_node.engines.neonize.library import LibraryUnavailable
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore

DEAD_PROXY = "http://127.0.0.1:9"
JID = "628111222333:4@s.whatsapp.net"


def alone() -> list[str]:
    """The prefix of a command that runs it in a network namespace of its own, where that is allowed."""
    try:
        allowed = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return []
    return ["unshare", "-n"] if allowed else []


def in_child(script: str, *args: str, **env: str) -> str:
    """Run `script` in a process of its own without a network, and return what it said last."""
    ran = subprocess.run(
        [*alone(), sys.executable, "-c", script, *args],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **env},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.strip().splitlines()[-1]


def test_the_binary_of_the_wheel_is_the_one_that_is_asked_for() -> None:
    library._require_binary()


def test_another_version_of_neonize_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SUPPORTED_VERSION", "9.9.9")
    with pytest.raises(LibraryUnavailable, match="9\\.9\\.9"):
        library._require_binary()


def test_a_missing_binary_is_refused_before_neonize_can_download_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_binary_name", lambda: "neonize-plan9-mips.so")
    monkeypatch.setattr(library.GoLibrary, "loaded", None)
    with pytest.raises(LibraryUnavailable, match=r"lacks neonize-plan9-mips\.so"):
        library.load()


WITHOUT_BINARY = """
import os, socket, sys, sysconfig
from pathlib import Path

here, tried = Path(sys.argv[1]), []
real = Path(sysconfig.get_path("purelib")) / "neonize"
(here / "neonize").mkdir()
for part in real.iterdir():
    if part.suffix != ".so":
        (here / "neonize" / part.name).symlink_to(part)
sys.path.insert(0, str(here))
sys.addaudithook(lambda event, _: tried.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
from kurir.session_node.engines.neonize import library
try:
    library.load()
except library.LibraryUnavailable as error:
    assert "lacks neonize-" in str(error), error
    assert not tried, tried
    assert "neonize._binder" not in sys.modules
    assert not list(here.rglob("*.so"))
    print("refused")
"""


def test_a_wheel_without_its_binary_is_refused_and_nothing_is_asked_for_on_the_network(tmp_path: Path) -> None:
    assert in_child(WITHOUT_BINARY, str(tmp_path)) == "refused"


WITH_BINARY = """
import sys
tried = []
sys.addaudithook(lambda event, _: tried.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
from kurir.session_node.engines.neonize import library
library.load()
import gc
print(tried, [one for one in gc.get_objects() if type(one).__name__ in ("NewClient", "NewAClient")])
"""


def test_loading_the_library_asks_the_network_for_nothing_and_makes_no_client_with_a_finalizer() -> None:
    assert in_child(WITH_BINARY) == "[] []"


def test_a_broken_binary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_binary_name", lambda: "__init__.py")
    with pytest.raises(LibraryUnavailable, match="cannot be loaded"):
        library._require_binary()


LOAD = """
import logging, sys
from kurir.session_node.engines.neonize import engine, library
assert not any(name == "neonize" or name.startswith("neonize.") for name in sys.modules), "imported too early"
library.load()
root = logging.getLogger()
print(len(root.handlers), root.level, library.load() is library.load())
"""


def test_loading_leaves_logging_as_it_was_and_importing_the_engine_loads_nothing() -> None:
    assert in_child(LOAD) == f"0 {logging.WARNING} True"


PROBE = """
import asyncio, json, sys, time
from pathlib import Path
from kurir.session_node.engines.engine import SessionSpec
from kurir.session_node.engines.neonize.engine import NeonizeEngine
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore

async def main(folder, proxy, jid):
    seen = {"new": [], "stored": []}
    engine = NeonizeEngine(SqliteStore(Path(folder)), proxy=proxy)
    await engine.start()
    beats = 0
    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1
    beating = asyncio.create_task(beat())
    def watch(name):
        return lambda seen_now: seen[name].append([seen_now.state, seen_now.reason])
    await engine.open(SessionSpec(tenant="t", device="new", name="K"), watch("new"))
    await engine.open(SessionSpec(tenant="t", device="stored", name="K", jid=jid), watch("stored"))
    gone = ["disconnected", "server_unavailable"]
    async with asyncio.timeout(60):
        while gone not in seen["new"] or seen["stored"].count(gone) < 2:
            await asyncio.sleep(0.01)
    await engine.stop()
    beating.cancel()
    print(json.dumps({"seen": seen, "beats": beats}))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_without_a_network_sessions_say_so_try_again_and_block_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await asyncio.to_thread(a_real_store_with, store, "stored", JID)
    said: dict[str, Any] = json.loads(await asyncio.to_thread(in_child, PROBE, str(tmp_path), DEAD_PROXY, JID))
    gone = ["disconnected", "server_unavailable"]
    assert said["seen"]["new"] == [["connecting", None], gone]
    assert said["seen"]["stored"][:4] == [["connecting", None], gone, ["connecting", None], gone]
    assert said["beats"] > 50


MAKE_STORE = """
import asyncio, os, sys, threading
from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from pathlib import Path

class Nobody:
    def on_event(self, kind, data): pass
    def on_qr(self, text): pass
    def on_pairing_status(self, status): pass

go = library.load()
from kurir.session_node.engines.neonize import to_whatsapp
database = asyncio.run(SqliteStore(Path(sys.argv[1])).database("t", sys.argv[2]))
print(go.run_client(b"x", library.Opening(
    database=database, jid=None, device_props=to_whatsapp.device_props("K"), proxy=sys.argv[3]), Nobody()))
sys.stdout.flush()
os._exit(0)
"""


def a_real_store_with(store: SqliteStore, device: str, jid: str | None) -> None:
    """The library's own tables, and in them a device whose keys are noise."""
    assert "dial" in in_child(MAKE_STORE, str(store.file("t", device).parent.parent), device, DEAD_PROXY)
    if jid is None:
        return
    noise = os.urandom
    row = {
        "jid": jid,
        "registration_id": 1,
        "noise_key": noise(32),
        "identity_key": noise(32),
        "signed_pre_key": noise(32),
        "signed_pre_key_id": 1,
        "signed_pre_key_sig": noise(64),
        "adv_key": noise(32),
        "adv_details": noise(8),
        "adv_account_sig": noise(64),
        "adv_account_sig_key": noise(32),
        "adv_device_sig": noise(64),
        "platform": "android",
    }
    database = sqlite3.connect(store.file("t", device))
    with database:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        database.execute(f"INSERT INTO whatsmeow_device ({names}) VALUES ({marks})", tuple(row.values()))
    database.close()


async def test_a_store_knows_whose_keys_it_has(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await asyncio.to_thread(a_real_store_with, store, "d", JID)
    assert await store.has("t", "d", JID)
    assert not await store.has("t", "d", "628111222333:5@s.whatsapp.net")
    # The library in this process would have the file open now, so another process looks.
    await store.database("t", "d")
    assert await store.has("t", "d", JID)
    assert not await store.has("t", "d", "628111222333:5@s.whatsapp.net")
    await store.forget("t", "d")
    await store.forget("t", "d")
    assert list(tmp_path.rglob("d.db*")) == []


async def test_a_file_that_is_not_here_is_elsewhere_and_its_device_not_logged_out(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="mount the volume"):
        await SqliteStore(tmp_path).has("t", "d", JID)


async def test_a_file_without_tables_has_no_keys(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.database("t", "d")
    store.file("t", "d").touch()
    assert not await store.has("t", "d", JID)


async def test_a_file_that_is_no_database_is_an_error_and_not_a_missing_device(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.database_for_child("t", "d")
    store.file("t", "d").write_bytes(b"x" * 4096)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.has("t", "d", JID)
    await store.database("t", "d")
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.has("t", "d", JID)
