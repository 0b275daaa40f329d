"""Somebody's webhook receiver as a process of its own, in whatever language it is written.

Node and Go come with the dependency group `receivers`, PHP with deploy/system-packages; `make test` installs all three.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import httpx

from tests.support.conditions import until
from tests.support.server_process import free_port

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "tests" / "contract" / "receivers" / "node"
INSTALLED = ROOT / ".tools" / "receivers"
STARTED_WITHIN_S = 60.0
_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def runtime(name: str) -> str:
    """The path of `node`, `npm`, `go` or `php`. Raises AssertionError where it is not installed."""
    found = shutil.which(name, path=_PATH)
    assert found is not None, f"{name} is not installed; `make test` does it"
    return found


def node_modules() -> Path:
    """Where the packages of package-lock.json are installed; installs them when they are not."""
    digest = hashlib.sha256((PACKAGES / "package-lock.json").read_bytes()).hexdigest()
    stamp = INSTALLED / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGES / name, INSTALLED)
        install = [runtime("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        ran = subprocess.run(
            install, cwd=INSTALLED, env=program_environment({}), capture_output=True, text=True, timeout=110
        )
        assert ran.returncode == 0, ran.stderr
        stamp.write_text(digest)
    return INSTALLED / "node_modules"


def built_with_go(source: Path) -> Path:
    """The program made of one Go file. The library is built once and kept: the first time takes a minute."""
    program = source.with_suffix("")
    environment = program_environment(
        {
            "GOCACHE": str(ROOT / ".tools" / "go-cache"),
            "GOPATH": str(ROOT / ".tools" / "go"),
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
    )
    build = [runtime("go"), "build", "-o", str(program), str(source)]
    ran = subprocess.run(build, cwd=source.parent, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return program


class ReceiverProgram:
    """A running receiver."""

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def url(self, path: str = "/webhook") -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def handled(self) -> list[str]:
        """The ids of events that it says to have handled, in order."""
        return re.findall(r"handled (\S+)\s", self.log())  # two of its threads may share a line


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], folder: Path, secret: str, **environment: str
) -> AsyncIterator[ReceiverProgram]:
    """Start a receiver and wait until it answers; `{port}` in `command` is where it is to listen. Killed at the end."""
    port = free_port()
    log = folder / "receiver.log"
    given = program_environment({"PORT": str(port), "WEBHOOK_SECRET": secret, "TMPDIR": str(folder), **environment})
    with log.open("wb") as output:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            cwd=folder,
            env=given,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program = ReceiverProgram(port, log)

    async def answers() -> bool:
        assert process.poll() is None, program.log()
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                await client.get(program.url())
            return True
        return False

    try:
        await until("the receiver answers", answers, within_s=STARTED_WITHIN_S, seen=program.log)
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):  # its children too: php and the wheels' node start some
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait, 10)


def program_environment(added: Mapping[str, str]) -> dict[str, str]:
    """What a program is started with: the runtimes of this environment go before others of their names."""
    return {**os.environ, "PATH": _PATH, "PYTHONUNBUFFERED": "1", **added}
