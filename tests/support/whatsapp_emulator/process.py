"""The emulator as a process of its own, for tests, and the way to start programs that believe in it.

emulator = EmulatorProcess(tmp_path_factory.mktemp("whatsapp"))
emulator.start()
node = subprocess.Popen(emulator.trusting("kurir", "session-node"), cwd=emulator.cwd)
await emulator.client.scan(qr, "628111222333")
emulator.stop()
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.whatsapp_emulator.address import EmulatorAddress
from tests.support.whatsapp_emulator.client import EmulatorClient
from tests.support.whatsapp_emulator.run_trusting import REPOSITORY

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOOK_AGAIN_S = 0.01


class EmulatorProcess:
    """Ports are free ones. `folder` must be of this emulator alone; it holds the emulator's log, too."""

    cwd = REPOSITORY
    """Where the commands of `trusting` have to be started."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._client: EmulatorClient | None = None

    def start(self) -> None:
        """Returns when it is ready. Blocks; raises RuntimeError with its log when it does not come up."""
        command = [sys.executable, "-m", "tests.support.whatsapp_emulator", "--folder", str(self.folder)]
        command += ["--proxy-port", "0", "--control-port", "0", "--until-stdin-ends", *self._arguments]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                # Ctrl-C in a terminal ends its clients first; it ends when we close its stdin, or end.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the emulator did not start:\n{self.log_file.read_text()}")
            with suppress(FileNotFoundError):
                address = EmulatorAddress.read(self.folder)
                if address.pid == self._process.pid:  # and not one that was killed
                    self._client = EmulatorClient(address)
                    return
            time.sleep(LOOK_AGAIN_S)

    def stop(self) -> None:
        """End it and its namespace's keeper."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def client(self) -> EmulatorClient:
        """The control API."""
        assert self._client is not None, "the emulator was not started"
        return self._client

    @property
    def address(self) -> EmulatorAddress:
        return self.client.address

    @property
    def log_file(self) -> Path:
        return self.folder / "emulator.log"

    def trusting(self, *program: str, doors: Sequence[int] = (), windows: Sequence[int] = ()) -> list[str]:
        """The command that runs a program so that neonize, in it and in its children, has only this WhatsApp.

        Start it in `cwd`. It runs where only loopback exists: it reaches the ports outside that `doors` names, and is
        reached from outside at those that `windows` names. Without a program: what to put before one.
        """
        launcher = "tests.support.whatsapp_emulator.run_trusting"
        ports = [f"--door={port}" for port in doors] + [f"--window={port}" for port in windows]
        return [sys.executable, "-m", launcher, "--emulator", str(self.folder), *ports, "--", *program]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
