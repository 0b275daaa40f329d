"""A real nats-server for one test: own free port, own temporary JetStream store."""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.server_process import ServerProcess


def server_binary() -> str:
    """Path of the nats-server that was installed beside this interpreter, or the one in PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found is not None, "no nats-server: install the development dependencies"
    return found


class NatsServer(ServerProcess):
    """One nats-server; its store survives `kill` and `restart`."""

    name = "nats-server"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        config = self.home / "server.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.home / "store"}", max_mem: 256MB, max_file: 4GB }}\n'
            "max_payload: 2MB\n"
        )
        return [server_binary(), "-c", config]

    async def answers(self) -> bool:
        """Whether the server greets a client."""
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                greeting = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        return greeting.startswith(b"INFO")
