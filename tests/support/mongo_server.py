"""A real MongoDB-protocol server (nx-27017 over one SQLite file) on a free port."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.server_process import ServerProcess


class MongoServer(ServerProcess):
    """One nx-27017; its file survives `kill` and `restart`."""

    name = "nx-27017"

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/kurir"

    def command(self) -> Sequence[str | Path]:
        pid_file = self.home / "server.pid"
        pid_file.unlink(missing_ok=True)  # left by a kill, and refused if another process has that pid by now
        server = Path(sys.executable).parent / "nx-27017"
        where: list[str | Path] = ["--db", self.home / "kurir.db", "--port", str(self.port), "--pid-file", pid_file]
        return [server, *where, "--log-file", "/dev/null"]

    async def answers(self) -> bool:
        """It listens only once its database is open, so a connection means that it answers."""
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True
