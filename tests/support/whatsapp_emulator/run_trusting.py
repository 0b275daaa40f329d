"""Starts a program whose neonize library trusts the emulator, and whose children do: it becomes that program.

    python -m tests.support.whatsapp_emulator.run_trusting --emulator FOLDER -- PROGRAM ARGUMENTS…

Go reads the environment that a process was started with, so this happens at exec. The program runs in the emulator's
network namespace, where there is only loopback. Without namespaces, or with --shared-network, it is kept from the
real service by what trust_root.py does alone.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from tests.support.whatsapp_emulator import loopback_only
from tests.support.whatsapp_emulator.address import EmulatorAddress
from tests.support.whatsapp_emulator.trust_root import PROXY_VARIABLE, ROOT_VARIABLE

REPOSITORY = Path(__file__).parents[3]
NO_FOLDER = "/nonexistent"


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="run_trusting", description=__doc__.partition("\n")[0])
    parser.add_argument("--emulator", type=Path, required=True, help="the folder that the emulator was started with")
    parser.add_argument("--shared-network", action="store_true", help="stay in the network of this process")
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    emulator = EmulatorAddress.read(arguments.emulator)
    if emulator.network_of is not None and not arguments.shared_network:
        loopback_only.enter(emulator.network_of)
    os.execvpe(arguments.program[0], arguments.program, trusting_environment(emulator))


if __name__ == "__main__":
    main()
