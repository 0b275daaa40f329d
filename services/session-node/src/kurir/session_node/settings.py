"""Settings of a session node and of each of its shards, read from the environment once at start."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator

from kurir.contracts.records import node_key
from kurir.runtime.settings import RuntimeSettings


class SessionNodeSettings(RuntimeSettings):
    """What a node that holds sessions needs to know. `shard` is set by the supervisor for the processes it starts."""

    shards: int = Field(2, ge=1, le=64)  # processes; a crash of the engine ends the sessions of one of them
    shard: int | None = Field(None, ge=0)
    shard_life: int = Field(0, ge=0)  # how many processes have been this shard before, each replaced by the next
    shard_capacity: int = Field(200, ge=1)  # sessions; weighs the shard among others
    shard_max_sessions: int = Field(400, ge=1)  # at WhatsApp; twice what it is meant for, for when another one is gone
    memory_reserve_mb: int = Field(
        150, ge=0
    )  # below it no session is opened: what 8 uploads of large media need; 0 off
    lease_ttl_s: int = Field(15, ge=3)  # a dead node's devices are claimed after it; renewed at a third of it
    logins_per_s: float = Field(40.0, gt=0)  # WhatsApp sees a restarted shard's devices come back one by one
    silent_after_s: float = Field(300.0, gt=0)  # then a session is asked whether it is still there
    # A shard is replaced by a fresh process when it reaches one of these; 0 is off. See recycling.py.
    recycle_age_s: float = Field(7 * 24 * 3600.0, ge=0)  # what grows unseen; rare, for what is sent again is forgotten
    recycle_closed_clients: int = Field(1000, ge=0)  # each leaves two descriptors and 0.4 MB behind
    recycle_descriptors: int = Field(4000, ge=0)  # 200 sessions have 600; hosts allow 4,096 at the least
    recycle_memory_mb: int = Field(1500, ge=0)  # 200 sessions have 250 MB, and 8 uploads at once some 1,000 for a while
    device_store_dir: Path = Path("devices")  # the engines' key material, when it is kept in files
    # postgres://…, the same for all nodes: keys are kept there instead. Secret as a whole, for what its query may say.
    device_store_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("DEVICE_STORE_URL", "KURIR_DEVICE_STORE_URL")
    )
    whatsapp_proxy: str | None = None  # http, https or socks5 URL, for devices without one; unset dials directly
    send_timeout_s: float = Field(40.0, gt=0, lt=75)  # then a send is unknown; whatsmeow itself gives up after 75 s
    inbound_media_max_bytes: int = Field(100 * 1024 * 1024, ge=1)  # WhatsApp's own limit for most kinds
    egress_allow: str = ""  # networks, split by commas, that previews and devices' proxies may be in though not public
    egress_proxy: str = ""  # http://user:password@host:port, for those; it then has to guard the addresses
    egress_ca_file: str | None = None  # PEM, instead of the public certificate authorities

    @property
    def egress_allowed(self) -> tuple[str, ...]:
        return tuple(entry.strip() for entry in self.egress_allow.split(",") if entry.strip())

    @field_validator("device_store_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            postgres_url(url.get_secret_value())
        return url

    @property
    def shard_id(self) -> str:
        """Stable over restarts, so that a restarted shard is known by its name. Raises ValueError in a supervisor."""
        return shard_id(self.node_name, self._index, self.shard_life)

    @property
    def shard_slot(self) -> str:
        """The same for a shard and for who replaces it. Raises ValueError in a supervisor."""
        return shard_id(self.node_name, self._index)

    @property
    def _index(self) -> int:
        if self.shard is None:
            raise ValueError("this process is not a shard")
        return self.shard


def postgres_url(url: str) -> str:
    """The URL itself. Raises ValueError, never quoting it, when it is no postgres:// URL that names a database."""
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in ("postgres", "postgresql") and bool(parts.hostname) and len(parts.path) > 1
        _ = parts.port
    except ValueError:
        is_complete = False
    if not is_complete:
        raise ValueError(
            "not a postgres://user:password@host/database URL, with reserved characters percent-encoded; "
            "unset, keys are kept in files of KURIR_DEVICE_STORE_DIR"
        )
    return url


def shard_id(node: str, index: int, life: int = 0) -> str:
    """The id of a node's shard, fit to be a subject token: a host name's dots become dashes."""
    slot = f"{node_key(node)}-{index}"
    return f"{slot}_{life}" if life else slot  # no slot has an underscore
