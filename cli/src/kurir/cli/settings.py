"""What the embedded system needs to know: ports and folders of this machine."""

import shlex
from pathlib import Path

from pydantic import Field, field_validator

from kurir.runtime.settings import RuntimeSettings


class UpSettings(RuntimeSettings):
    """Settings of `kurir up`. Every port may be changed by its variable, e.g. KURIR_API_PORT=8081."""

    state: Path = Path(".state")
    api_port: int = Field(8080, ge=1, le=65535)
    nats_port: int = Field(4222, ge=1, le=65535)
    mongo_port: int = Field(27017, ge=1, le=65535)
    receiver_port: int = Field(8099, ge=1, le=65535)
    health_ports: int = Field(9101, ge=1, le=65000)  # the first of four: api, session-node, dispatcher, scheduler
    shards: int = Field(2, ge=1, le=16)
    # Put before the session-node's command, to run it under or inside something: "nice -n 5", "strace -f -o trace".
    session_node_prefix: str = ""

    @field_validator("session_node_prefix")
    @classmethod
    def _readable(cls, prefix: str) -> str:
        shlex.split(prefix)
        return prefix
