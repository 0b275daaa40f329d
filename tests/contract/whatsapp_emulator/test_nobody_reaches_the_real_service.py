"""A process that was started through the launcher can reach the emulator and nobody else."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.server_process import free_port
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.journal import Entry
from tests.support.whatsapp_emulator.neonize_clients import CallFailed, NeonizeClients
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.support.whatsapp_emulator.run_trusting import trusting_environment

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUN_TIMEOUT_S = 60.0


async def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int | None, str]:
    """Exit code and everything printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd, env=env
    )
    output, _ = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_S)
    return process.returncode, output.decode()


async def test_a_trusting_process_sees_no_network_but_loopback(emulator_process: EmulatorProcess) -> None:
    if emulator_process.address.network_of is None:
        # Where namespaces are not allowed, the other tests of this file say what holds instead.
        assert "no network namespace here" in emulator_process.log_file.read_text()
        return
    look = "import socket; print([name for _, name in socket.if_nameindex()])"
    code, output = await run(*emulator_process.trusting(sys.executable, "-c", look), cwd=emulator_process.cwd)
    assert (code, output.strip()) == (0, "['lo']")


async def test_children_of_a_trusting_process_trust_the_emulator_too(emulator_process: EmulatorProcess) -> None:
    child = "import neonize._binder as b; print(b.gocode.Neonize.__name__)"
    spawn = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    code, output = await run(*emulator_process.trusting(sys.executable, "-c", spawn), cwd=emulator_process.cwd)
    assert (code, output.strip()) == (0, "guarded")


async def test_the_root_is_replaced_once_or_the_library_is_refused(emulator_process: EmulatorProcess) -> None:
    again = (
        "import neonize._binder\nfrom tests.support.whatsapp_emulator import trust_root\ntrust_root.replace(bytes(32))"
    )
    code, output = await run(*emulator_process.trusting(sys.executable, "-c", again), cwd=emulator_process.cwd)
    assert code == 1
    assert "was found 0 times in the library" in output


async def test_the_library_is_refused_when_its_trust_was_not_set_at_exec(emulator_process: EmulatorProcess) -> None:
    late = (
        "import os\nos.environ['SSL_CERT_FILE'] = '/dev/null'\nos.environ['SSL_CERT_DIR'] = '/nonexistent'\n"
        "import neonize._binder"
    )
    environment = trusting_environment(emulator_process.address, dict(os.environ))
    del environment["SSL_CERT_FILE"], environment["SSL_CERT_DIR"]
    code, output = await run(sys.executable, "-c", late, cwd=emulator_process.cwd, env=environment)
    assert code == 1
    assert "were not replaced when this process was started" in output


async def test_a_client_with_a_proxy_elsewhere_is_refused(
    whatsapp: EmulatorClient, emulator_process: EmulatorProcess
) -> None:
    dial = (
        "import asyncio, os\n"
        "from neonize._binder import ProxySettings\n"
        "from neonize.aioze.client import NewAClient\n"
        "async def main():\n"
        "    client = NewAClient(':memory:', uuid='x')\n"
        "    task = await client.connect(ProxySettings('http://192.0.2.1:3128'))\n"
        "    try:\n        await task\n"
        "    except PermissionError as error:\n        print('refused:', error, flush=True)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    code, output = await run(*emulator_process.trusting(sys.executable, "-c", dial), cwd=emulator_process.cwd)
    assert code == 0
    assert "refused: a client without a proxy on loopback" in output


async def test_a_client_without_a_proxy_of_its_own_goes_to_the_emulator(
    whatsapp: EmulatorClient, clients: NeonizeClients
) -> None:
    await clients.do("no-proxy", "open", database=clients.database("no-proxy"), proxy=False)
    code = (await clients.until("no-proxy", "QR"))["data"]
    assert await whatsapp.scan(code, "628446000001") == "628446000001:1"


async def test_the_proxy_lets_through_to_nobody_else(
    whatsapp: EmulatorClient, emulator_process: EmulatorProcess
) -> None:
    port = int(emulator_process.address.proxy.rpartition(":")[2])
    mark = await whatsapp.mark()
    for target in ("example.org:443", "web.whatsapp.com:80", "127.0.0.1:443"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()
    refused: list[Entry] = await whatsapp.until_journal("proxy.refused", after=mark, count=3)
    assert [entry["target"] for entry in refused] == ["example.org:443", "web.whatsapp.com:80", "127.0.0.1:443"]


async def test_a_door_lets_the_namespace_reach_one_port_outside(
    whatsapp: EmulatorClient, emulator_process: EmulatorProcess
) -> None:
    if emulator_process.address.network_of is None:
        return

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello from outside")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ask = f"import socket; print(socket.create_connection(('127.0.0.1', {port})).recv(99).decode())"
    command = emulator_process.trusting(sys.executable, "-c", ask)
    async with server:
        code, output = await run(*command, cwd=emulator_process.cwd)
        assert code == 1
        assert "refused" in output
        await whatsapp.open_door(port)
        code, output = await run(*command, cwd=emulator_process.cwd)
    assert (code, output.strip()) == (0, "hello from outside")


async def test_a_window_lets_a_program_be_reached_from_outside_and_a_door_is_opened_at_its_start(
    emulator_process: EmulatorProcess,
) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello from outside")
        writer.close()

    outside = await asyncio.start_server(greet, "127.0.0.1", 0)
    door, window = outside.sockets[0].getsockname()[1], free_port()
    serve = f"""
import socket
greeting = socket.create_connection(("127.0.0.1", {door})).recv(99)
server = socket.create_server(("127.0.0.1", {window}))
print("listening", flush=True)
server.accept()[0].sendall(greeting + b", and back")
"""
    command = emulator_process.trusting(sys.executable, "-c", serve, doors=[door], windows=[window])
    async with outside:
        program = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, cwd=emulator_process.cwd
        )
        assert program.stdout is not None
        assert await asyncio.wait_for(program.stdout.readline(), RUN_TIMEOUT_S) == b"listening\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", window)
        assert await asyncio.wait_for(reader.read(), RUN_TIMEOUT_S) == b"hello from outside, and back"
        writer.close()
        assert await asyncio.wait_for(program.wait(), RUN_TIMEOUT_S) == 0


async def test_a_failed_call_names_the_error_of_the_library(clients: NeonizeClients, ayu: str) -> None:
    with pytest.raises(CallFailed, match="no LID found"):
        await clients.do(ayu, "send_text", to="628000000000", text="nobody has this number")
