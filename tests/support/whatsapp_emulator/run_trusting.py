"""Starts a program whose neonize library trusts the emulator, and whose children do: it becomes that program.

    python -m tests.support.whatsapp_emulator.run_trusting --emulator FOLDER [--door PORT] [--window PORT] -- PROGRAM …

Go reads the environment that a process was started with, so this happens at exec. The program runs in the emulator's
network namespace, where there is only loopback: it reaches ports outside through doors, and is reached through windows.
Without namespaces, or with --shared-network, it is kept from the real service by what trust_root.py does alone.
"""

import argparse
import ctypes
import json
import os
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.whatsapp_emulator import loopback_only
from tests.support.whatsapp_emulator.address import EmulatorAddress
from tests.support.whatsapp_emulator.trust_root import PROXY_VARIABLE, ROOT_VARIABLE

REPOSITORY = Path(__file__).parents[3]
NO_FOLDER = "/nonexistent"
CONTROL_TIMEOUT_S = 10.0

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # prctl(2)


def trusting_environment(emulator: EmulatorAddress, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which neonize trusts the emulator, and reaches it unless it has another proxy."""
    path = [str(Path(__file__).parent / "trusting"), str(REPOSITORY), base.get("PYTHONPATH", "")]
    return {
        **base,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "SSL_CERT_FILE": emulator.authority_file,
        "SSL_CERT_DIR": NO_FOLDER,
        ROOT_VARIABLE: emulator.root_file,
        PROXY_VARIABLE: emulator.proxy,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def open_port(emulator: EmulatorAddress, kind: str, port: int) -> None:
    """Open a door or a window of the namespace; harmless when it is open. Raises SystemExit when it cannot be."""
    connection = HTTPConnection(urlsplit(emulator.control).netloc, timeout=CONTROL_TIMEOUT_S)
    try:
        connection.request("POST", f"/{kind}s", json.dumps({"port": port}))
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"no {kind} to port {port}: {answer.read().decode()}")
    finally:
        connection.close()


def enter_network(pid: int) -> None:
    """Into the namespace, and still end with our parent if that was asked for: a change of rights forgets it."""
    libc = ctypes.CDLL(None, use_errno=True)
    ends_by = ctypes.c_int(0)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(ends_by))
    loopback_only.enter(pid)
    libc.prctl(_PR_SET_PDEATHSIG, ends_by.value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="run_trusting", description=__doc__.partition("\n")[0])
    parser.add_argument("--emulator", type=Path, required=True, help="the folder that the emulator was started with")
    parser.add_argument("--door", type=int, action="append", default=[], help="a port outside that it reaches")
    parser.add_argument("--window", type=int, action="append", default=[], help="a port of it that is reached outside")
    parser.add_argument("--shared-network", action="store_true", help="stay in the network of this process")
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    emulator = EmulatorAddress.read(arguments.emulator)
    if emulator.network_of is not None and not arguments.shared_network:
        for door in arguments.door:
            open_port(emulator, "door", door)
        for window in arguments.window:
            open_port(emulator, "window", window)
        enter_network(emulator.network_of)
    os.execvpe(arguments.program[0], arguments.program, trusting_environment(emulator))


if __name__ == "__main__":
    main()
